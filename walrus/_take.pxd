"""Taking entries out of the log in one go: payloads back to back, with offsets and times beside them.

Layer: the log. Without the GIL. A Taken belongs to its one holder; a Reader to one thread at a time.
"""
from walrus._libc cimport int64_t, uint8_t, uint32_t, uint64_t
from walrus._read cimport Reader

cdef enum:
    TAKE_ENTRIES_MAX = 2000

ctypedef struct Taken:
    uint8_t *payload
    uint64_t payload_room
    int64_t *positions              # count + 1: payload of entry i is [positions[i], positions[i + 1])
    uint64_t *offsets
    uint64_t *times_ns
    uint32_t room                   # entries
    uint32_t count

# Entries from offset `first` up to (not including) `end`: at least one if there is one, then as long as their payloads
# stay within `max_bytes`, at most `max_entries` (1 to TAKE_ENTRIES_MAX). 0, or LOG_END: none; else a code of
# reader_next, nothing taken. Trouble behind the first entry ends the taking without an error: the next one meets it.
cdef int take(Reader *reader, uint64_t first, uint64_t end, uint64_t max_bytes, uint32_t max_entries, bint durable_only,
              Taken *taken) noexcept nogil
# The entries at `count` offsets (at most TAKE_ENTRIES_MAX), in the order given: what is not in memory is read by one
# submission for as many of them as fit into the cache. 0, or a code of reader_next (never LOG_END) for the offset at index
# taken.count.
cdef int take_many(Reader *reader, const uint64_t *offsets, uint32_t count, bint durable_only,
                   Taken *taken) noexcept nogil
cdef void taken_free(Taken *taken) noexcept nogil
