"""The handle of a cursor: a named one, or a topic's shared one.

Layer: the Python border.
"""
from walrus._core_read cimport Batch
from walrus._core_topic cimport TopicHandle
from walrus._libc cimport uint32_t, uint64_t
from walrus._read cimport Reader
from walrus._topics cimport Cursor

cdef class CursorHandle:
    cdef readonly TopicHandle topic
    cdef readonly str name          # None: the shared one
    cdef bytes encoded
    cdef uint32_t kind
    cdef uint32_t persist_every     # of the shared one: 0 strictly at once, else at least once
    cdef Cursor *cursor             # NULL until it is entered; stays as long as the log
    # Under cursor.lock:
    cdef Reader *reader
    cdef Batch ahead                # read, not yet handed out: what single reads come from
    cdef uint32_t ahead_index
    cdef uint64_t ahead_cuts        # cuts() before it was read

    cdef bint exists(self, bint make) except -1
    cdef int acquire(self) except -1
    cdef uint64_t standing(self) except? 0
    cdef Batch fetch(self, uint64_t first, uint64_t max_bytes, uint32_t max_entries)
    cdef bint fetch_ahead(self, uint64_t first) except -1
    cdef int store(self, uint64_t offset, bint durably) except -1
    cdef int hand_out(self, uint64_t first, uint64_t following, uint32_t count) except -1
    cdef int hand_out_strictly(self, uint64_t first, uint64_t following) except -1
    cdef object one(self, bint consume, bint as_entry)
    cdef Batch many(self, uint64_t max_bytes, uint32_t max_entries, bint consume)
    cdef int wait(self, uint64_t deadline_ns) except -1
    cdef bint has_entries(self) except -1
    cdef Batch unused(self, uint64_t max_bytes, uint32_t max_entries)
    cdef uint64_t checked(self, object offset) except? 0
    cdef uint64_t standing_unlocked(self) except? 0
