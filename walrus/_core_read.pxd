"""What reading gives: entries, batches of them, and an iterator that moves no cursor.

Layer: the Python border.
"""
from walrus._core_topic cimport TopicHandle
from walrus._libc cimport uint32_t, uint64_t
from walrus._read cimport Reader
from walrus._take cimport Taken

cdef class Entry:
    cdef readonly uint64_t offset
    cdef readonly bytes data
    cdef readonly uint64_t timestamp_ns

cdef class Batch:
    cdef Taken taken                # payloads, positions, offsets, times: this object's own
    cdef readonly str topic

    cdef bytes payload(self, uint32_t i)
    cdef Entry entry(self, uint32_t i)
    cdef bytes position_bytes(self)

cdef class EntryIterator:
    cdef TopicHandle topic
    cdef Reader *reader
    cdef uint64_t following         # offset of the next entry
    cdef uint64_t end
    cdef Batch batch
    cdef uint32_t index             # in the batch
    cdef uint64_t cuts              # cuts() before it was read
    cdef bint busy

    cdef int refill(self) except -1

# Entries from `first` up to `end`, an empty batch if there is none; between log.enter() and log.leave(). One thread per
# reader.
cdef Batch batch_taken(TopicHandle topic, Reader *reader, uint64_t first, uint64_t end, uint64_t max_bytes, uint32_t max_entries)
cdef Batch empty_batch(TopicHandle topic)
cdef Reader *reader_made(TopicHandle topic) except NULL
cdef uint64_t checked_bytes(object max_bytes) except? 0
cdef uint32_t checked_entries(object max_entries) except 0
# An int of 0 or more, at most 2^64 - 1: TypeError, ValueError.
cdef uint64_t checked_offset(object offset) except? 0
