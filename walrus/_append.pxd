"""Appending: frames into chunks; what does not fit a chunk becomes pieces; back-pressure.

Layer: the log. Any thread. With wait=False nothing blocks (LOG_WOULD_BLOCK is given instead), so it may be called with the GIL
held; with wait=True the caller does not hold the GIL. A wait lasts until deadline_ns (CLOCK_MONOTONIC; 0: for ever), in slices:
LOG_INTERRUPTED after each, so that the caller may look at signals and call again. A failed append leaves nothing.
"""
from walrus._libc cimport uint8_t, uint32_t, uint64_t
from walrus._log_state cimport Log
from walrus._staging cimport Chunk
from walrus._topics cimport Topic

ctypedef struct AppendRequest:      # one frame: `count` entries
    const uint8_t **data            # count pointers; or NULL, and `packed` holds the payloads back to back
    const uint8_t *packed
    const uint64_t *lengths
    uint32_t count
    uint64_t payload_bytes          # sum of lengths
    # progress of a large frame over LOG_INTERRUPTED; zero to begin with
    uint64_t piece_stamp
    uint32_t piece_number
    uint64_t body_done
    bint busy_held

cdef int append_one(Log *log, Topic *topic, const uint8_t *data, uint64_t length, bint wait, uint64_t deadline_ns,
                    uint64_t *offset) noexcept nogil
# A batch: all or nothing. After LOG_INTERRUPTED call again with the same request, or append_abandon it.
cdef int append_batch(Log *log, Topic *topic, AppendRequest *request, bint wait, uint64_t deadline_ns,
                      uint64_t *first) noexcept nogil
cdef void append_abandon(Log *log, Topic *topic, AppendRequest *request) noexcept nogil
# Room for all of several batches at once, before the first is published (a full disk changes nothing): 0, LOG_FULL, ...
cdef int append_reserve(Log *log, uint64_t bytes) noexcept nogil
# Queues a sealed chunk for the I/O thread (its topic's list is the caller's business): state, sequence, outstanding list.
cdef void chunk_enqueue(Log *log, Chunk *chunk) noexcept nogil
# Into the list of topics that the next sync looks at. Caller holds topic.lock, and knows that it is in no list.
cdef void topic_mark_dirty(Log *log, Topic *topic) noexcept nogil
# Seals the topic's current chunk and queues it for the I/O thread. Caller holds topic.lock.
cdef void topic_seal(Log *log, Topic *topic) noexcept nogil
