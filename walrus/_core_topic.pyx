"""The handle of a topic: appending.

Invariants. A small `bytes` is appended with the GIL held, by one call that never waits; whatever may wait or takes long
lets go of the GIL and holds the caller's buffers meanwhile. A topic is made by the first append that has something to
append.

Threads: all methods from any thread; see _core.pyx for close.
"""
cimport cython
from cpython.buffer cimport Py_buffer, PyBuffer_Release
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_GET_SIZE

from walrus._append cimport append_abandon, append_batch, append_one, append_reserve
from walrus._core cimport readable_end
from walrus._core_errors cimport raise_code, raise_range
from walrus._core_gather cimport buffer_of, gather_entries, gather_packed
from walrus._frame cimport frame_batch_bytes
from walrus._libc cimport memset, uint8_t, walrus_load64
from walrus._log_state cimport LOG_INTERRUPTED, LOG_OUT_OF_RANGE, SCHEDULE_EACH
from walrus._read cimport reader_free
from walrus._topics cimport Topic
from walrus._truncate cimport topic_truncate

cdef enum:
    HOLD_GIL_BYTES = 4096           # below it, giving the GIL away and back costs more than the append
    NAME_BYTES_MAX = 1024


cdef bytes encoded_name(object name, str what):
    if not isinstance(name, str):
        raise TypeError(f"{what} is a str, not {type(name).__name__}")
    try:
        encoded = (<str>name).encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(f"{what} must be encodable as UTF-8; {name!r} has a lone surrogate at {error.start}") from error
    if not 1 <= len(encoded) <= NAME_BYTES_MAX:
        raise ValueError(f"{what} has {len(encoded)} bytes; the limits are 1 and {NAME_BYTES_MAX} bytes of UTF-8")
    return encoded


@cython.no_gc_clear
cdef class TopicHandle:
    """A named sequence of entries. Use ``log.topic(name)``."""

    def __cinit__(self, LogHandle log not None, name):
        self.encoded = encoded_name(name, "a topic's name")
        self.name = self.encoded.decode()           # a str itself: not of a subclass, as a StrEnum's members are
        self.log = log
        self.state = log.log
        self.topic = NULL
        log.enter("use a topic")
        try:
            self.exists()
        finally:
            log.leave()

    def __dealloc__(self):
        if self.reader != NULL:
            reader_free(self.reader)

    cdef bint exists(self) except -1:
        cdef Topic *found
        if self.topic == NULL:
            found = self.log.find(self.encoded, False)
            if found != NULL:                       # else another thread, which appends by it, may have set it meanwhile
                self.topic = found
        return self.topic != NULL

    # ------------------------------------------------------------------------------------------------------- appending

    @cython.binding(False)
    def append(self, data, timeout=None):
        """Appends one entry and returns its offset (int). `data`: bytes, or any object with a contiguous buffer; at
        most 1 GiB.

        Survives SIGKILL of this process when it returns; a power cut as the log's schedule says. `timeout`: seconds to
        wait for room when the disk does not keep up; None: as given to ``open()``, else for ever.

        Raises ``TypeError`` (a str), ``EntryTooLargeError``, ``StorageFullError``, ``WaitTimeoutError``,
        ``ClosedError``, ``LogFailedError``, ``CorruptionError`` (the topic is damaged and not repaired). Nothing was
        appended then, but where a flush failed or was interrupted: the exception's note says that the outcome is
        unknown.
        """
        cdef uint64_t offset = 0
        if (PyBytes_CheckExact(data) and PyBytes_GET_SIZE(data) < HOLD_GIL_BYTES and self.topic != NULL
                and not self.log.closing and self.state.options.schedule != SCHEDULE_EACH):
            if append_one(self.state, self.topic, <const uint8_t *>PyBytes_AS_STRING(data),
                          <uint64_t>PyBytes_GET_SIZE(data), False, 0, &offset) == 0:
                return offset
        return self.append_buffer(data, timeout)

    def append_batch(self, entries=None, timeout=None, *, data=None, lengths=None):
        """Appends a batch, all or nothing, and returns its first offset (int).

        `entries`: an iterable of at most 2,000 entries. Or, for numpy and Arrow, `data`: one buffer with the payloads
        back to back, and `lengths`: their lengths in bytes (an int64 array, or any iterable of ints). An empty batch
        changes nothing and returns the end. Errors as in ``append``, and ``ValueError`` naming ``MAX_BATCH_ENTRIES``
        (2,000) or ``MAX_BATCH_BYTES`` (10 GiB).
        """
        if entries is None:
            if data is None or lengths is None:
                raise TypeError("append_batch takes an iterable of entries, or data= and lengths=")
            return self.append_gathered(gather_packed(data, lengths, self.name), timeout)
        if data is not None or lengths is not None:
            raise TypeError("append_batch takes an iterable of entries, or data= and lengths=, not both")
        return self.append_gathered(gather_entries(entries, self.name), timeout)

    cdef object append_buffer(self, object data, object timeout):
        cdef Py_buffer view
        cdef AppendRequest request
        cdef uint64_t length, first
        buffer_of(data, &view, "the entry")
        try:
            length = <uint64_t>view.len
            memset(&request, 0, sizeof(request))
            request.packed = <const uint8_t *>view.buf
            request.lengths = &length
            request.count = 1
            request.payload_bytes = length
            self.log.enter("append")
            try:
                first = self.write(&request, self.log.deadline(timeout))
                if self.state.options.schedule == SCHEDULE_EACH:
                    self.log.make_durable("append", self.name, first, self.topic, first + 1, 0)
                return first
            finally:
                self.log.leave()
        finally:
            PyBuffer_Release(&view)

    cdef object append_gathered(self, Gathered batch, object timeout):
        cdef uint64_t first
        self.log.enter("append")
        try:
            if batch.request.count == 0:
                return readable_end(self.state, self.topic) if self.exists() else 0
            first = self.write(&batch.request, self.log.deadline(timeout))
            if self.state.options.schedule == SCHEDULE_EACH:
                self.log.make_durable("append", self.name, first, self.topic, first + batch.request.count, 0)
            return first
        finally:
            self.log.leave()

    cdef uint64_t write(self, AppendRequest *request, uint64_t deadline_ns) except? 0:
        """One frame, however long it takes; nothing of it stays when this raises."""
        cdef uint64_t first = 0
        cdef int code
        if not self.exists():
            self.topic = self.log.find(self.encoded, True)
        if request.payload_bytes < HOLD_GIL_BYTES:
            code = append_batch(self.state, self.topic, request, False, 0, &first)
            if code == 0:
                return first
        while True:
            with nogil:
                code = append_batch(self.state, self.topic, request, True, deadline_ns, &first)
            if code == 0:
                return first
            try:
                if code != LOG_INTERRUPTED:
                    raise_code(self.state, code, "append", self.name, None)
                self.log.check_signals()
            except BaseException:
                with nogil:
                    append_abandon(self.state, self.topic, request)
                raise

    # ----------------------------------------------------------------------------------------------------------- state

    def _truncate(self, uint64_t offset):
        """Drops the entries from `offset` on, a frame's border; durable when it returns. Without a public name yet: the cluster's business."""
        cdef int code = LOG_OUT_OF_RANGE
        self.log.enter("truncate")
        try:
            if self.exists():
                with nogil:
                    code = topic_truncate(self.state, self.topic, offset)
            if code == LOG_OUT_OF_RANGE:
                raise_range(self.state, self.topic, self.name, offset)
            if code:
                raise_code(self.state, code, "truncate", self.name, offset)
        finally:
            self.log.leave()

    @property
    def end_offset(self):
        """The offset that comes next: one more than that of the newest entry that can be read. 0 where there is no topic yet."""
        self.log.enter("use a topic")
        try:
            return readable_end(self.state, self.topic) if self.exists() else 0
        finally:
            self.log.leave()

    @property
    def oldest_offset(self):
        """The offset of the oldest entry kept (equal to ``end_offset`` where there is none)."""
        self.log.enter("use a topic")
        try:
            return walrus_load64(&self.topic.low) if self.exists() else 0
        finally:
            self.log.leave()

    @property
    def durable_offset(self):
        """Entries below this offset survive a power cut."""
        self.log.enter("use a topic")
        try:
            return walrus_load64(&self.topic.durable) if self.exists() else 0
        finally:
            self.log.leave()

    @property
    def size_bytes(self):
        """Payload bytes from the oldest entry kept to the end."""
        self.log.enter("use a topic")
        try:
            return walrus_load64(&self.topic.payload_bytes) if self.exists() else 0
        finally:
            self.log.leave()


def append_batches(LogHandle log not None, list pairs, timeout=None):
    """Appends ``[(TopicHandle, entries)]``: each batch whole, room for all made before the first. Gives first offsets."""
    cdef TopicHandle topic
    cdef Gathered batch
    cdef uint64_t bytes = 0, deadline_ns
    cdef int code
    batches = [(<TopicHandle?>handle, gather_entries(entries, handle.name)) for handle, entries in pairs]
    deadline_ns = log.deadline(timeout)
    firsts = []
    log.enter("append")
    try:
        for topic, batch in batches:
            if batch.request.count and not topic.exists():
                topic.topic = log.find(topic.encoded, True)
            bytes += frame_batch_bytes(batch.request.count, batch.request.payload_bytes)
        with nogil:
            code = append_reserve(log.log, bytes)
        if code:
            raise_code(log.log, code, "append batches", ", ".join(handle.name for handle, _ in batches), None)
        try:
            for topic, batch in batches:
                if batch.request.count:
                    firsts.append(topic.write(&batch.request, deadline_ns))
                else:
                    firsts.append(readable_end(log.log, topic.topic) if topic.exists() else 0)
        except BaseException as error:
            if firsts:
                error.add_note("Already appended, each batch whole: "
                               + ", ".join(f"{handle.name!r} at {first}" for (handle, _), first in zip(batches, firsts)))
            raise
        if log.log.options.schedule == SCHEDULE_EACH and firsts:
            log.make_durable("append", ", ".join(handle.name for handle, _ in batches), firsts[0], NULL, 0, 0)
        return firsts
    finally:
        log.leave()
