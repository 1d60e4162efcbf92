"""Taking entries out of the log in one go: payloads back to back, with offsets and times beside them.

Invariants: positions[0] is 0 and positions[count] the payload's size. The reader rests when take() or take_many()
returns, so nothing stays pinned while Python runs. Nothing is cut: a payload is copied whole or its entry is not taken.

Threads: see _take.pxd. No GIL.
"""
from walrus._libc cimport free, memcpy, memset, realloc
from walrus._log_state cimport LOG_END, LOG_NO_MEMORY, LOG_OUT_OF_RANGE
from walrus._read cimport (ReadEntry, read_large, reader_next, reader_offset, reader_prefetch, reader_rest,
                           reader_seek)

cdef enum:
    ENTRIES_FIRST = 16
    PAYLOAD_FIRST = 4096


cdef bint grown(void **memory, uint64_t bytes) noexcept nogil:
    cdef void *larger = realloc(memory[0], bytes)
    if larger == NULL:
        return False
    memory[0] = larger
    return True


cdef bint entries_room(Taken *taken) noexcept nogil:
    cdef uint32_t room = taken.room * 4 if taken.room else <uint32_t>ENTRIES_FIRST
    if taken.count < taken.room:
        return True
    if not (grown(<void **>&taken.positions, (room + 1) * sizeof(int64_t))
            and grown(<void **>&taken.offsets, room * sizeof(uint64_t))
            and grown(<void **>&taken.times_ns, room * sizeof(uint64_t))):
        return False
    taken.room = room
    taken.positions[0] = 0
    return True


cdef bint payload_room(Taken *taken, uint64_t used, uint64_t bytes) noexcept nogil:
    cdef uint64_t room = taken.payload_room * 2 if taken.payload_room else <uint64_t>PAYLOAD_FIRST
    if used + bytes <= taken.payload_room:
        return True
    if room < used + bytes:
        room = used + bytes
    if not grown(<void **>&taken.payload, room):
        return False
    taken.payload_room = room
    return True


cdef int copy_entry(Reader *reader, const ReadEntry *entry, Taken *taken) noexcept nogil:
    cdef uint64_t used
    cdef int result
    if not entries_room(taken):
        return LOG_NO_MEMORY
    used = <uint64_t>taken.positions[taken.count]
    if not payload_room(taken, used, entry.length):
        return LOG_NO_MEMORY
    if entry.data != NULL:
        memcpy(taken.payload + used, entry.data, entry.length)
    elif entry.length:
        result = read_large(reader, entry, taken.payload + used)
        if result:
            return result
    taken.offsets[taken.count] = entry.offset
    taken.times_ns[taken.count] = entry.time_ns
    taken.count += 1
    taken.positions[taken.count] = <int64_t>(used + entry.length)
    return 0


cdef int take_all(Reader *reader, uint64_t end, uint64_t max_bytes, uint32_t max_entries, bint durable_only,
                  Taken *taken) noexcept nogil:
    cdef ReadEntry entry
    cdef int result
    if max_bytes == 0:
        max_entries = 1                             # what follows may lie elsewhere: it is not looked at
    while taken.count < max_entries:
        if reader_offset(reader) >= end:
            return LOG_END
        result = reader_next(reader, &entry, durable_only)
        if result:
            return result
        if entry.offset >= end:
            return LOG_END
        if taken.count and <uint64_t>taken.positions[taken.count] + entry.length > max_bytes:
            return 0
        result = copy_entry(reader, &entry, taken)
        if result:
            return result
    return 0


cdef int take(Reader *reader, uint64_t first, uint64_t end, uint64_t max_bytes, uint32_t max_entries, bint durable_only,
              Taken *taken) noexcept nogil:
    cdef int result = 0
    taken.count = 0
    if first >= end:
        return LOG_END
    if reader_offset(reader) != first:
        result = reader_seek(reader, first)
    if result == 0:
        result = take_all(reader, end, max_bytes, max_entries, durable_only, taken)
    reader_rest(reader)
    return 0 if taken.count else result


cdef int take_at(Reader *reader, uint64_t offset, bint durable_only, Taken *taken) noexcept nogil:
    cdef ReadEntry entry
    cdef int result = reader_seek(reader, offset)
    if result == 0:
        result = reader_next(reader, &entry, durable_only)
    if result == LOG_END:
        return LOG_OUT_OF_RANGE
    return result if result else copy_entry(reader, &entry, taken)


cdef int take_many(Reader *reader, const uint64_t *offsets, uint32_t count, bint durable_only,
                   Taken *taken) noexcept nogil:
    cdef uint32_t covered = 0
    cdef int result = 0
    taken.count = 0
    while result == 0 and taken.count < count:
        result = reader_prefetch(reader, offsets + taken.count, count - taken.count, &covered)
        covered += taken.count
        while result == 0 and taken.count < covered:
            result = take_at(reader, offsets[taken.count], durable_only, taken)
    reader_rest(reader)
    return result


cdef void taken_free(Taken *taken) noexcept nogil:
    free(taken.payload)
    free(taken.positions)
    free(taken.offsets)
    free(taken.times_ns)
    memset(taken, 0, sizeof(Taken))
