"""What a caller gives to be appended, checked and held: buffers of Python objects as arrays for the engine.

Invariants. An iterable is collected first (at most 2,000 references and one more, to know that it is too long), then
every entry's type and size is looked at; only then does anything reach the engine. Sizes come from exported buffers,
never from `__len__`. The buffers stay exported until the batch is written; the engine reads each byte once, so a writer
that changes them meanwhile changes what is stored, never whether it validates.

Threads: with the GIL.
"""
cimport cython
from cpython.buffer cimport PyBUF_FORMAT, PyBUF_SIMPLE, PyBUF_ND, PyBuffer_Release, PyObject_CheckBuffer, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_GET_SIZE
from cpython.list cimport PyList_AsTuple, PyList_CheckExact
from cpython.tuple cimport PyTuple_CheckExact

from walrus._libc cimport calloc, free, malloc, memcpy, memset
from walrus.errors import EntryTooLargeError

MAX_BATCH_ENTRIES = ENTRIES_MAX
MAX_BATCH_BYTES = batch_bytes_max()
MAX_ENTRY_BYTES = entry_bytes_max()


@cython.no_gc
cdef class Gathered:

    def __dealloc__(self):
        cdef uint32_t i
        for i in range(self.views_held):
            PyBuffer_Release(&self.views[i])
        free(self.views)
        free(<void *>self.data)
        free(self.lengths)


cdef object too_large(object what, uint64_t bytes):
    return EntryTooLargeError(
        f"{what} has {bytes} bytes; the limit of one entry is MAX_ENTRY_BYTES = {MAX_ENTRY_BYTES} (1 GiB); nothing was "
        "appended: cut it "
        "into several entries")


cdef int buffer_of(object data, Py_buffer *view, object what) except -1:
    if isinstance(data, str):
        raise TypeError(f"{what} is a str, which has no bytes of its own: encode it first, as in append(text.encode())")
    if not PyObject_CheckBuffer(data):
        raise TypeError(f"{what} is a {type(data).__name__}; an entry is bytes, or any object with a contiguous buffer "
                        "(bytearray, "
                        "memoryview, array, numpy array)")
    try:
        PyObject_GetBuffer(data, view, PyBUF_SIMPLE)
    except (BufferError, ValueError) as error:
        raise BufferError(f"{what}: this {type(data).__name__} gives no contiguous buffer ({error}); append a contiguous "
                          "copy, as bytes(data) or numpy.ascontiguousarray(data)") from error
    if <uint64_t>view.len > entry_bytes_max():
        size = view.len
        PyBuffer_Release(view)
        raise too_large(what, size)
    return 0


cdef tuple collected(object entries):
    """References to the entries, no more of them than tell that there are too many."""
    if PyTuple_CheckExact(entries):
        return <tuple>entries
    if PyList_CheckExact(entries):
        return PyList_AsTuple(entries)
    if isinstance(entries, (str, bytes, bytearray, memoryview)):
        raise TypeError(f"a batch is an iterable of entries, not one {type(entries).__name__}: use append(), or "
                        "append_batch(data=, lengths=) for "
                        "entries back to back in one buffer")
    taken = []
    for entry in entries:
        taken.append(entry)
        if len(taken) > ENTRIES_MAX:
            break
    return PyList_AsTuple(taken)


cdef object too_many(object topic, object count):
    return ValueError(f"a batch for topic {topic!r} has {count} entries; the limit is MAX_BATCH_ENTRIES = "
                      f"{ENTRIES_MAX}; nothing was appended: "
                      "append several batches")


cdef object too_many_bytes(object topic, object bytes):
    return ValueError(f"a batch for topic {topic!r} has {bytes} bytes; the limit is MAX_BATCH_BYTES = "
                      f"{MAX_BATCH_BYTES} (10 GiB); nothing was "
                      "appended: append several batches")


cdef Gathered with_room(uint32_t count):
    cdef Gathered batch = Gathered.__new__(Gathered)
    batch.data = <const uint8_t **>malloc((count + 1) * sizeof(uint8_t *))
    batch.lengths = <uint64_t *>malloc((count + 1) * sizeof(uint64_t))
    if batch.data == NULL or batch.lengths == NULL:
        raise MemoryError("not enough memory for a batch")
    memset(&batch.request, 0, sizeof(AppendRequest))
    batch.request.data = batch.data
    batch.request.lengths = batch.lengths
    batch.request.count = count
    return batch


cdef int export(Gathered batch, uint32_t i, object entry) except -1:
    """Entry i is not bytes: its buffer is held until the batch is written."""
    if batch.views == NULL:
        batch.views = <Py_buffer *>calloc(batch.request.count, sizeof(Py_buffer))
        if batch.views == NULL:
            raise MemoryError("not enough memory for a batch")
    buffer_of(entry, &batch.views[batch.views_held], f"entry {i} of the batch")
    batch.data[i] = <const uint8_t *>batch.views[batch.views_held].buf
    batch.lengths[i] = <uint64_t>batch.views[batch.views_held].len
    batch.views_held += 1
    return 0


cdef Gathered gather_entries(object entries, object topic):
    cdef tuple held = collected(entries)
    cdef Py_ssize_t count = len(held), i
    cdef uint64_t total = 0
    cdef Gathered batch
    if count > ENTRIES_MAX:
        raise too_many(topic, count if isinstance(entries, (list, tuple)) else f"more than {ENTRIES_MAX}")
    batch = with_room(<uint32_t>count)
    batch.held = held
    for i in range(count):
        entry = held[i]
        if PyBytes_CheckExact(entry):
            batch.data[i] = <const uint8_t *>PyBytes_AS_STRING(entry)
            batch.lengths[i] = <uint64_t>PyBytes_GET_SIZE(entry)
            if batch.lengths[i] > entry_bytes_max():
                raise too_large(f"entry {i} of the batch", batch.lengths[i])
        else:
            export(batch, <uint32_t>i, entry)
        total += batch.lengths[i]
    if total > batch_bytes_max():
        raise too_many_bytes(topic, total)
    batch.request.payload_bytes = total
    return batch


cdef bint is_int64(Py_buffer *view):
    """Native signed or unsigned 64-bit integers?"""
    cdef bytes form = view.format if view.format != NULL else b"B"
    return view.itemsize == 8 and form.lstrip(b"@=<") in (b"q", b"Q", b"l", b"L", b"n", b"N")


cdef Gathered lengths_held(object lengths, object topic):
    """A batch that has only its lengths yet: out of an int64 buffer, or of any iterable of ints."""
    cdef Py_buffer view
    cdef Gathered batch
    cdef Py_ssize_t count, i
    cdef tuple items
    if PyObject_CheckBuffer(lengths) and not isinstance(lengths, (bytes, bytearray)):
        PyObject_GetBuffer(lengths, &view, PyBUF_ND | PyBUF_FORMAT)
        try:
            if is_int64(&view) and view.ndim == 1:
                count = view.len // 8
                if count > ENTRIES_MAX:
                    raise too_many(topic, count)
                batch = with_room(<uint32_t>count)
                memcpy(batch.lengths, view.buf, <size_t>view.len)
                return batch
        finally:
            PyBuffer_Release(&view)
    items = collected(lengths)
    count = len(items)
    if count > ENTRIES_MAX:
        raise too_many(topic, count)
    batch = with_room(<uint32_t>count)
    for i in range(count):
        if not hasattr(items[i], "__index__"):
            raise TypeError(f"lengths[{i}] is a {type(items[i]).__name__}: lengths are ints, of bytes")
        length = items[i].__index__()
        if not 0 <= length < 1 << 63:
            raise ValueError(f"lengths[{i}] is {length}: lengths are bytes, 0 or more")
        batch.lengths[i] = length
    return batch


cdef Gathered gather_packed(object data, object lengths, object topic):
    cdef Gathered batch = lengths_held(lengths, topic)
    cdef uint64_t total = 0
    cdef uint32_t i
    for i in range(batch.request.count):
        if batch.lengths[i] >> 63:
            raise ValueError(f"lengths[{i}] is {<int64_t>batch.lengths[i]}: lengths are bytes, 0 or more")
        if batch.lengths[i] > entry_bytes_max():
            raise too_large(f"entry {i} of the batch", batch.lengths[i])
        total += batch.lengths[i]
    if total > batch_bytes_max():
        raise too_many_bytes(topic, total)
    if isinstance(data, str) or not PyObject_CheckBuffer(data):
        raise TypeError(f"data= is a {type(data).__name__}; it is one contiguous buffer with the payloads back to back "
                        "(bytes, numpy array)")
    batch.views = <Py_buffer *>calloc(1, sizeof(Py_buffer))
    if batch.views == NULL:
        raise MemoryError("not enough memory for a batch")
    PyObject_GetBuffer(data, &batch.views[0], PyBUF_SIMPLE)
    batch.views_held = 1
    if <uint64_t>batch.views[0].len != total:
        raise ValueError(f"data= has {batch.views[0].len} bytes, lengths= sum up to {total}: they must be the same")
    batch.request.data = NULL
    batch.request.packed = <const uint8_t *>batch.views[0].buf
    batch.request.payload_bytes = total
    return batch
