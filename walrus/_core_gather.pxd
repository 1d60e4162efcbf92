"""What a caller gives to be appended, checked and held: buffers of Python objects as arrays for the engine.

Layer: the Python border. With the GIL.
"""
from cpython.buffer cimport Py_buffer

from walrus._append cimport AppendRequest
from walrus._libc cimport int64_t, uint8_t, uint32_t, uint64_t

cdef enum:
    ENTRIES_MAX = 2000

cdef inline uint64_t entry_bytes_max() noexcept nogil:
    return <uint64_t>1 << 30

cdef inline uint64_t batch_bytes_max() noexcept nogil:
    return <uint64_t>10 << 30

cdef class Gathered:
    """One batch: references to its entries, their buffers exported, until this object goes."""
    cdef AppendRequest request
    cdef const uint8_t **data
    cdef uint64_t *lengths
    cdef Py_buffer *views
    cdef uint32_t views_held
    cdef tuple held

# The bytes of any contiguous buffer; to be released. TypeError, BufferError or EntryTooLargeError say what is wrong.
cdef int buffer_of(object data, Py_buffer *view, object what) except -1
# Collects, then checks type, count and size. Nothing has been written when it raises.
cdef Gathered gather_entries(object entries, object topic)
# The same of one buffer that holds the payloads back to back, and their lengths.
cdef Gathered gather_packed(object data, object lengths, object topic)
