"""What reading gives: entries, batches of them, and an iterator that moves no cursor.

Invariants. A batch owns its bytes: it stays valid after the log is closed, and views of it keep it alive. An entry is
taken whole. The disk is read without the GIL.

Threads: Entry and Batch never change, any thread may use them; an iterator is one thread's at a time (a second one gets
a ValueError).
"""
cimport cython
from cpython.array cimport array, clone, resize
from cpython.buffer cimport PyBuffer_FillInfo
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.number cimport PyNumber_AsSsize_t

from walrus._core cimport cuts, only_durable, readable_end
from walrus._core_errors cimport raise_code, raise_range, raise_read
from walrus._libc cimport memcpy, walrus_load64
from walrus._log_state cimport LOG_END, LOG_NO_MEMORY, Log
from walrus._read cimport reader_failure, reader_free, reader_new
from walrus._take cimport TAKE_ENTRIES_MAX, take, take_many, taken_free

from array import array as new_array

cdef enum:
    ITERATOR_BYTES = 262144         # what an iterator takes at once

cdef array int64_template = new_array("q")
cdef array uint64_template = new_array("Q")


@cython.freelist(256)
@cython.no_gc
cdef class Entry:
    """One entry: ``offset`` (int), ``data`` (bytes), ``timestamp_ns`` (int, when it was appended, nanoseconds since 1970)."""

    def __repr__(self):
        return f"Entry(offset={self.offset}, data={self.data!r}, timestamp_ns={self.timestamp_ns})"

    def __eq__(self, other):
        if not isinstance(other, Entry):
            return NotImplemented
        return (self.offset == (<Entry>other).offset and self.timestamp_ns == (<Entry>other).timestamp_ns
                and self.data == (<Entry>other).data)

    def __hash__(self):
        return hash((self.offset, self.timestamp_ns, self.data))


@cython.no_gc
cdef class Batch:
    """A sequence of entries' payloads (bytes), taken together. ``batch[i]`` is bytes, a slice a list of them.

    ``offsets`` and ``timestamps_ns`` stand beside them; ``entries()`` gives Entry objects. Its buffer is that of the
    payloads back to back, for ``memoryview(batch)``, ``to_numpy()`` and ``to_arrow()``, which copy nothing.
    """

    def __dealloc__(self):
        taken_free(&self.taken)

    def __len__(self):
        return self.taken.count

    cdef bytes payload(self, uint32_t i):
        cdef uint64_t begin = <uint64_t>self.taken.positions[i]
        return PyBytes_FromStringAndSize(<char *>self.taken.payload + begin,
                                         <Py_ssize_t>(<uint64_t>self.taken.positions[i + 1] - begin))

    cdef Entry entry(self, uint32_t i):
        cdef Entry made = Entry.__new__(Entry)
        made.offset = self.taken.offsets[i]
        made.timestamp_ns = self.taken.times_ns[i]
        made.data = self.payload(i)
        return made

    def __getitem__(self, index):
        cdef Py_ssize_t i
        if isinstance(index, slice):
            return [self.payload(<uint32_t>at) for at in range(*index.indices(self.taken.count))]
        i = PyNumber_AsSsize_t(index, IndexError)
        if i < 0:
            i += self.taken.count
        if not 0 <= i < self.taken.count:
            raise IndexError(f"batch index {index} out of range: it has {self.taken.count} entries")
        return self.payload(<uint32_t>i)

    def __iter__(self):
        cdef uint32_t i
        for i in range(self.taken.count):
            yield self.payload(i)

    def __repr__(self):
        if self.taken.count == 0:
            return f"Batch(topic={self.topic!r}, 0 entries)"
        return (f"Batch(topic={self.topic!r}, {self.taken.count} entries, {self.taken.positions[self.taken.count]} "
                "bytes, offsets "
                f"{self.taken.offsets[0]} to {self.taken.offsets[self.taken.count - 1]})")

    def __getbuffer__(self, Py_buffer *buffer, int flags):
        cdef Py_ssize_t size = <Py_ssize_t>self.taken.positions[self.taken.count] if self.taken.count else 0
        PyBuffer_FillInfo(buffer, self, <char *>self.taken.payload if size else <char *>b"", size, True, flags)

    def __releasebuffer__(self, Py_buffer *buffer):
        pass

    @property
    def offsets(self):
        """Offsets of the entries: ``array('q')``, as long as the batch."""
        return int64_array(self.taken.offsets, self.taken.count)

    @property
    def timestamps_ns(self):
        """When each entry was appended, nanoseconds since 1970: ``array('q')``, as long as the batch."""
        return int64_array(self.taken.times_ns, self.taken.count)

    @property
    def payload_bytes(self):
        """Sum of the payloads' lengths."""
        return self.taken.positions[self.taken.count] if self.taken.count else 0

    def tolist(self):
        """The payloads as a list of bytes."""
        cdef uint32_t i
        return [self.payload(i) for i in range(self.taken.count)]

    def entries(self):
        """The entries as a list of Entry."""
        cdef uint32_t i
        return [self.entry(i) for i in range(self.taken.count)]

    cdef bytes position_bytes(self):
        if self.taken.count == 0:
            return bytes(8)
        return PyBytes_FromStringAndSize(<char *>self.taken.positions, <Py_ssize_t>((self.taken.count + 1) * 8))

    def to_numpy(self):
        """``(payload, positions)``: uint8 of all payload bytes, int64 of n + 1; entry i is
        ``payload[positions[i]:positions[i + 1]]``.

        Read-only; the payload is not copied. ImportError where numpy is not installed.
        """
        numpy = needed("numpy", "to_numpy()", "pip install numpy")
        return numpy.frombuffer(self, dtype=numpy.uint8), numpy.frombuffer(self.position_bytes(), dtype=numpy.int64)

    def to_arrow(self):
        """A ``pyarrow.LargeBinaryArray`` of the payloads; nothing is copied. ImportError where pyarrow is not installed."""
        arrow = needed("pyarrow", "to_arrow()", "pip install pyarrow")
        return arrow.LargeBinaryArray.from_buffers(
            arrow.large_binary(), self.taken.count, [None, arrow.py_buffer(self.position_bytes()), arrow.py_buffer(self)])


cdef object needed(str module, str method, str command):
    try:
        return __import__(module)
    except ImportError as error:
        raise ImportError(f"Batch.{method} needs {module}, which is not installed: {command}") from error


cdef object int64_array(uint64_t *values, uint32_t count):
    cdef array made = clone(int64_template, count, False)
    if count:
        memcpy(made.data.as_chars, values, count * sizeof(uint64_t))
    return made


# --------------------------------------------------------------------------------------------------------- taking them

cdef Reader *reader_made(TopicHandle topic) except NULL:
    cdef Reader *reader
    with nogil:
        reader = reader_new(topic.state, topic.topic)
    if reader == NULL:
        raise_code(topic.state, LOG_NO_MEMORY, "read", topic.name, None)
    return reader


cdef Batch empty_batch(TopicHandle topic):
    cdef Batch batch = Batch.__new__(Batch)
    batch.topic = topic.name
    return batch


cdef Batch batch_taken(TopicHandle topic, Reader *reader, uint64_t first, uint64_t end, uint64_t max_bytes, uint32_t max_entries):
    cdef Batch batch = empty_batch(topic)
    cdef Log *log = topic.state
    cdef int code
    with nogil:
        code = take(reader, first, end, max_bytes, max_entries, only_durable(log), &batch.taken)
    if code and code != LOG_END:
        raise_read(log, topic.topic, reader_failure(reader), code, topic.name, first)
    return batch


cdef uint64_t checked_bytes(object max_bytes) except? 0:
    if isinstance(max_bytes, bool) or not hasattr(max_bytes, "__index__"):
        raise TypeError(f"max_bytes is an int, not {type(max_bytes).__name__}")
    if max_bytes < 0:
        raise ValueError(f"max_bytes={max_bytes}: payload bytes, 0 or more (at least one entry is given if there is "
                         "one)")
    return min(max_bytes.__index__(), (1 << 63) - 1)


cdef uint32_t checked_entries(object max_entries) except 0:
    if max_entries is None:
        return TAKE_ENTRIES_MAX
    if isinstance(max_entries, bool) or not hasattr(max_entries, "__index__"):
        raise TypeError(f"max_entries is an int, not {type(max_entries).__name__}")
    if not 1 <= max_entries <= TAKE_ENTRIES_MAX:
        raise ValueError(f"max_entries={max_entries}: from 1 to {TAKE_ENTRIES_MAX}")
    return max_entries


cdef uint64_t checked_offset(object offset) except? 0:
    if isinstance(offset, bool) or not hasattr(offset, "__index__"):
        raise TypeError(f"an offset is an int, not {type(offset).__name__}")
    value = offset.__index__()
    if value < 0:
        raise ValueError(f"offset {value}: offsets are 0 or more")
    return min(value, (1 << 64) - 1)                # beyond every end, as the message says then


cdef uint64_t start_of(TopicHandle topic, object start, uint64_t end) except? 0:
    """The offset to read from: `start`, or the oldest; OffsetOutOfRange where there is no such offset."""
    cdef uint64_t low = walrus_load64(&topic.topic.low) if topic.topic != NULL else 0, first
    if start is None:
        return low
    first = checked_offset(start)
    if not low <= first <= end:
        raise_range(topic.state, topic.topic, topic.name, first)
    return first


def read_batch(TopicHandle topic not None, start, max_bytes, max_entries=None):
    """Entries from `start` (None: the oldest) on, as a Batch; moves no cursor."""
    cdef uint64_t bytes_max = checked_bytes(max_bytes), first, end = 0
    cdef uint32_t entries_max = checked_entries(max_entries)
    cdef Reader *reader
    topic.log.enter("read")
    try:
        if topic.exists():
            end = readable_end(topic.state, topic.topic)
        first = start_of(topic, start, end)
        if first >= end:
            return empty_batch(topic)
        reader = topic.reader
        topic.reader = NULL
        if reader == NULL:
            reader = reader_made(topic)
        try:
            return batch_taken(topic, reader, first, end, bytes_max, entries_max)
        finally:
            if topic.reader == NULL:
                topic.reader = reader
            else:                                   # another thread's has come back meanwhile
                reader_free(reader)
    finally:
        topic.log.leave()


cdef array offsets_collected(object offsets):
    """Offsets as array('Q'): ints of 0 or more, at most TAKE_ENTRIES_MAX."""
    cdef array made = clone(uint64_template, TAKE_ENTRIES_MAX, False)
    cdef uint32_t count = 0
    for offset in offsets:
        if isinstance(offset, bool) or not hasattr(offset, "__index__"):
            raise TypeError(f"offsets[{count}] is a {type(offset).__name__}: an offset is an int")
        if offset < 0:
            raise ValueError(f"offsets[{count}] is {offset}: offsets are 0 or more")
        if count == TAKE_ENTRIES_MAX:
            raise ValueError(f"more than {TAKE_ENTRIES_MAX} offsets, the limit of one read_many(): call it several times")
        made.data.as_ulonglongs[count] = min(offset.__index__(), (1 << 64) - 1)
        count += 1
    resize(made, count)
    return made


def read_many(TopicHandle topic not None, offsets):
    """The entries at scattered offsets as a Batch, in the order asked; moves no cursor."""
    cdef array wanted = offsets_collected(offsets)
    cdef const uint64_t *values = <const uint64_t *>wanted.data.as_ulonglongs
    cdef uint32_t count = <uint32_t>len(wanted)
    cdef Batch batch = empty_batch(topic)
    cdef Reader *reader
    cdef int code
    topic.log.enter("read")
    try:
        if count and not topic.exists():
            raise_range(topic.state, NULL, topic.name, values[0])
        if count == 0:
            return batch
        reader = reader_made(topic)
        try:
            with nogil:
                code = take_many(reader, values, count, only_durable(topic.state), &batch.taken)
            if code:
                raise_read(topic.state, topic.topic, reader_failure(reader), code, topic.name,
                           values[batch.taken.count])
            return batch
        finally:
            with nogil:
                reader_free(reader)
    finally:
        topic.log.leave()


@cython.no_gc_clear
cdef class EntryIterator:
    """Entries (Entry) of a topic from `start` to what was there when it was made. Moves no cursor."""

    def __cinit__(self, TopicHandle topic not None, start=None):
        self.topic = topic
        self.index = 0
        topic.log.enter("read")
        try:
            self.end = readable_end(topic.state, topic.topic) if topic.exists() else 0
            self.following = start_of(topic, start, self.end)
        finally:
            topic.log.leave()

    def __dealloc__(self):
        if self.reader != NULL:
            reader_free(self.reader)

    def __iter__(self):
        return self

    def __next__(self):
        cdef Entry entry
        cdef Batch batch
        if self.busy:
            raise ValueError("this iterator is at work in another thread: give each thread its own read()")
        if self.batch is None or self.index >= self.batch.taken.count or self.cuts != cuts(self.topic.state):
            if self.following >= self.end:
                raise StopIteration
            self.refill()
            if self.batch.taken.count == 0:
                self.following = self.end
                raise StopIteration
        batch = self.batch                          # kept: making an entry may run a collection, and that a finalizer
        entry = batch.entry(self.index)
        self.index += 1
        self.following = entry.offset + 1
        return entry

    cdef int refill(self) except -1:
        self.busy = True
        self.batch = None
        self.index = 0
        try:
            self.topic.log.enter("read")
            try:
                if self.reader == NULL:
                    self.reader = reader_made(self.topic)
                self.cuts = cuts(self.topic.state)
                self.batch = batch_taken(self.topic, self.reader, self.following, self.end, ITERATOR_BYTES, TAKE_ENTRIES_MAX)
            finally:
                self.topic.log.leave()
        finally:
            self.busy = False
        return 0
