"""Where frames are read from: a chunk of the staging, pinned, or a group of a log file, held in the cache.

Invariants. A chunk is pinned while its bytes are looked at: its memory is not given back meanwhile. A file is pinned under
topic.lock while a place in it is listed, and until the read is over: who recycles a file first drops its places under that
lock, then looks at the pins. What a source gives has proved itself by its checksum, seeded with log and topic, before it is
handed out; where it lay is remembered for the error. Staged frames are looked for first: a chunk is unlinked only after its
places have been entered, so an offset is always in one of the two.

Threads: any; a Source belongs to one reader. topic.lock is held for look-ups only, never during a read. No GIL.
"""
from walrus._device cimport DEVICE_BATCH_MAX, file_drop_cache
from walrus._extent cimport GROUP_KIND_PIECE, GROUP_KIND_RUN
from walrus._frame cimport frame_peek, frame_read
from walrus._libc cimport (ENOMEM, free, malloc, memcpy, memset, walrus_add32, walrus_load32, walrus_load64, walrus_lock,
                           walrus_store64, walrus_unlock)
from walrus._log_state cimport LOG_CORRUPT, LOG_NO_MEMORY, LOG_OUT_OF_RANGE
from walrus._logfiles cimport LogFile
from walrus._read_cache cimport (ReadCache, cache_ahead, cache_discard, cache_goes_ahead, cache_load, cache_load_many, cache_lookup,
                                 cache_unreference, range_blocks)
from walrus._staging cimport CHUNK_OPEN, CHUNK_SEALED, CHUNK_WRITING, chunk_unpin
from walrus._topics cimport Place, place_find
from libc.string cimport strncpy

cdef enum:
    AHEAD_PLACES = 256              # of a window
    AHEAD_BYTES_MIN = 262144        # the first one is twice that, and each twice the one before
    AHEAD_BYTES_MAX = 4194304


# ------------------------------------------------------------------------------------------------------------ looking up

cdef inline bint group_has(const Chunk *chunk, const GroupHeader *group, uint64_t offset) noexcept nogil:
    """Of a large frame it is the first piece that has its offsets. Groups without entries are of abandoned frames."""
    if group.count == 0 or offset < group.first or offset - group.first >= group.count:
        return False
    if group.kind == GROUP_KIND_RUN:
        return offset < chunk.end
    return group.piece == 0


cdef const GroupHeader *chunk_group(const Chunk *chunk, uint64_t offset) noexcept nogil:
    cdef uint32_t i = chunk.groups
    while i > 0:
        i -= 1
        if group_has(chunk, &chunk.group[i], offset):
            return &chunk.group[i]
    return NULL


cdef const GroupHeader *staged_find(const Topic *topic, uint64_t offset, Chunk **where) noexcept nogil:
    """The newest that has it: after a truncation older chunks may have frames beyond the cut."""
    cdef const GroupHeader *found = NULL
    cdef const GroupHeader *group
    cdef Chunk *chunk = topic.current
    if chunk != NULL:
        found = chunk_group(chunk, offset)
        if found != NULL:
            where[0] = chunk
            return found
    chunk = topic.oldest
    while chunk != NULL:
        group = chunk_group(chunk, offset)
        if group != NULL:
            found = group
            where[0] = chunk
        chunk = chunk.newer
    return found


cdef const GroupHeader *staged_piece(const Topic *topic, uint64_t first, uint64_t stamp, uint32_t number,
                                     Chunk **where) noexcept nogil:
    cdef Chunk *chunk = topic.oldest
    cdef const GroupHeader *group
    cdef uint32_t i
    while chunk != NULL:
        for i in range(chunk.groups):
            group = &chunk.group[i]
            if (group.kind == GROUP_KIND_PIECE and group.count and group.stamp == stamp and group.piece == number
                    and group.first == first):
                where[0] = chunk
                return group
        chunk = chunk.newer
    return NULL


cdef uint64_t place_from(const Topic *topic, uint64_t first, uint32_t piece) noexcept nogil:
    cdef uint64_t low = topic.places_from, high = topic.places_count, middle
    cdef const GroupHeader *group
    while low < high:
        middle = (low + high) // 2
        group = &topic.places[middle].group
        if group.first < first or (group.first == first and group.piece < piece):
            low = middle + 1
        else:
            high = middle
    return low


cdef Place *place_of_piece(Topic *topic, uint64_t first, uint64_t stamp, uint32_t number) noexcept nogil:
    cdef uint64_t at = place_from(topic, first, number)
    cdef Place *place
    while at < topic.places_count:
        place = &topic.places[at]
        if place.group.first != first or place.group.piece != number:
            break
        if place.group.kind == GROUP_KIND_PIECE and place.group.stamp == stamp:
            return place
        at += 1
    return NULL


cdef uint64_t range_end(const Topic *topic, uint64_t offset) noexcept nogil:
    cdef uint32_t i
    for i in range(topic.range_count):
        if topic.ranges[i].first <= offset < topic.ranges[i].end:
            return topic.ranges[i].end
    return 0


cdef uint64_t damage_end(Topic *topic, uint64_t offset) noexcept nogil:
    cdef uint64_t end
    walrus_lock(&topic.lock)
    end = range_end(topic, offset)
    walrus_unlock(&topic.lock)
    return end


cdef void blame_neighbour(const Topic *topic, uint64_t offset, ReadFailure *failure) noexcept nogil:
    """The bytes that should be there follow those of the place before: so did they when they were written."""
    cdef uint64_t i
    cdef const Place *place = NULL
    for i in range(topic.places_from, topic.places_count):
        if topic.places[i].end > offset and place != NULL:
            break
        place = &topic.places[i]
    if place == NULL:
        return
    strncpy(failure.file, place.file.file.name, sizeof(failure.file) - 1)
    failure.position = place.group.position
    if place.end <= offset:
        failure.position += place.group.bytes


cdef int nowhere(const Topic *topic, uint64_t offset, ReadFailure *failure) noexcept nogil:
    """Neither chunk nor place has it: a damaged range, or at least up to where the next frames begin."""
    cdef uint64_t end = range_end(topic, offset), at
    cdef const Chunk *chunk = topic.oldest
    cdef uint32_t i
    memset(failure, 0, sizeof(ReadFailure))
    if end == 0:
        end = walrus_load64(&topic.end)
        at = place_from(topic, offset + 1, 0)
        if at < topic.places_count and topic.places[at].group.first < end:
            end = topic.places[at].group.first
        while chunk != NULL:
            for i in range(chunk.groups):
                if offset < chunk.group[i].first < end:
                    end = chunk.group[i].first
            chunk = chunk.newer
    failure.next_offset = end
    blame_neighbour(topic, offset, failure)
    return LOG_CORRUPT


# --------------------------------------------------------------------------------------------------------------- holding

cdef void hold_chunk(Source *source, Chunk *chunk, const GroupHeader *group) noexcept nogil:
    """Holds topic.lock, and the chunk is in the topic's list: it is not given back before the pin is seen."""
    walrus_add32(&chunk.pins, 1)
    source.kind = SOURCE_CHUNK
    source.held = True
    source.group = group[0]
    source.end = group.first + group.count
    source.base = chunk.base
    source.chunk = chunk
    source.generation = chunk.slot.generation


cdef inline void key_of(const Place *place, RangeKey *key) noexcept nogil:
    key.file = place.file
    key.number = place.file.number
    key.position = place.group.position
    key.bytes = place.group.bytes


cdef void pin_place(Source *source, const Place *place) noexcept nogil:
    """Holds topic.lock. The file stays pinned until the range is in the cache."""
    walrus_add32(&place.file.pins, 1)
    source.kind = SOURCE_PLACE
    source.held = False
    source.group = place.group
    source.group.position = 0
    source.end = place.end
    key_of(place, &source.key)


cdef inline void unpin(LogFile *file) noexcept nogil:
    walrus_add32(&file.pins, <uint32_t>-1)


cdef inline bint precedes(uint64_t first, uint32_t piece, uint64_t other_first, uint32_t other_piece) noexcept nogil:
    return first < other_first or (first == other_first and piece < other_piece)


cdef uint32_t window_take(Topic *topic, ReadAhead *ahead, RangeKey *keys) noexcept nogil:
    """The places of the next window, from end_first on, with their files pinned."""
    cdef uint64_t at, bytes = 0
    cdef const GroupHeader *group
    cdef uint32_t count = 0
    ahead.next_first = ahead.end_first
    ahead.next_piece = ahead.end_piece
    ahead.bytes = ahead.bytes * 2 if ahead.bytes * 2 < AHEAD_BYTES_MAX else AHEAD_BYTES_MAX
    walrus_lock(&topic.lock)
    at = place_from(topic, ahead.end_first, ahead.end_piece)
    while at < topic.places_count and count < AHEAD_PLACES:
        group = &topic.places[at].group
        bytes += group.bytes
        if count and bytes > ahead.bytes:
            break
        key_of(&topic.places[at], &keys[count])
        walrus_add32(&keys[count].file.pins, 1)
        ahead.end_first = group.first
        ahead.end_piece = group.piece + 1
        count += 1
        at += 1
    walrus_unlock(&topic.lock)
    return count


cdef void read_ahead(Log *log, Topic *topic, Source *source) noexcept nogil:
    """A reader that reaches the newest window asks for the next: one is being read while another is on its way. Where nothing can
    be on its way, whoever misses a place waits for a window. A range that fails is read once more, by whoever wants it."""
    cdef ReadCache *cache = <ReadCache *>log.read_cache
    cdef ReadAhead *ahead = &source.ahead
    cdef RangeKey keys[AHEAD_PLACES]
    cdef uint64_t first = source.group.first
    cdef uint32_t piece = source.group.piece, i, count
    cdef bint waits = not cache_goes_ahead(&log.device, &source.key)
    if waits and source.cached != NULL:
        return
    if ahead.bytes and not waits and precedes(first, piece, ahead.next_first, ahead.next_piece):
        return
    if ahead.bytes == 0 or waits or precedes(ahead.end_first, ahead.end_piece, first, piece):
        ahead.end_first = first
        ahead.end_piece = piece
    if ahead.bytes == 0:
        ahead.bytes = AHEAD_BYTES_MIN
    count = window_take(topic, ahead, keys)
    if waits and count > 1:
        cache_load_many(cache, &log.device, keys, count)
    elif not waits and count:
        cache_ahead(cache, &log.device, keys, count)
    for i in range(count):
        unpin(keys[i].file)


cdef int load(Log *log, Topic *topic, bint ahead, bint fresh, Source *source, ReadFailure *failure) noexcept nogil:
    """The place's bytes, from the cache or the disk; its file is pinned, and unpinned here."""
    cdef ReadCache *cache = <ReadCache *>log.read_cache
    cdef LogFile *file = source.key.file
    cdef int code = LOG_CORRUPT
    source.cached = NULL
    if fresh:
        cache_discard(cache, &source.key)
        if not file.file.direct:
            file_drop_cache(&log.device, &file.file)
    else:
        source.cached = cache_lookup(cache, &source.key)
        if ahead:
            read_ahead(log, topic, source)
        else:
            source.ahead.bytes = 0
    if source.cached == NULL and source.key.position + source.key.bytes <= file.file.size:
        source.cached = cache_load(cache, &log.device, &source.key, &code)
    if source.cached != NULL:
        source.held = True
        source.base = source.cached.base
        unpin(file)
        return 0
    memset(failure, 0, sizeof(ReadFailure))
    memcpy(failure.file, file.file.name, sizeof(failure.file))
    failure.position = source.key.position
    failure.next_offset = source.end
    failure.code = -code if code != LOG_CORRUPT else 0
    unpin(file)
    source.kind = SOURCE_NONE
    return LOG_NO_MEMORY if code == -ENOMEM else code


cdef int source_find(Log *log, Topic *topic, uint64_t offset, bint ahead, bint fresh, Source *source,
                     ReadFailure *failure) noexcept nogil:
    cdef Chunk *chunk = NULL
    cdef const GroupHeader *group
    cdef uint64_t at
    cdef int result = 0
    source.kind = SOURCE_NONE
    walrus_lock(&topic.lock)
    if offset < topic.low:
        walrus_unlock(&topic.lock)
        return LOG_OUT_OF_RANGE
    group = staged_find(topic, offset, &chunk)
    if group != NULL:
        hold_chunk(source, chunk, group)
    else:
        at = place_find(topic, offset)
        if at < topic.places_count:
            pin_place(source, &topic.places[at])
        else:
            result = nowhere(topic, offset, failure)
    walrus_unlock(&topic.lock)
    if source.kind == SOURCE_PLACE:
        return load(log, topic, ahead, fresh, source, failure)
    return result


cdef int source_find_piece(Log *log, Topic *topic, uint64_t first, uint64_t stamp, uint32_t number, bint fresh,
                           Source *source, ReadFailure *failure) noexcept nogil:
    cdef Chunk *chunk = NULL
    cdef const GroupHeader *group
    cdef Place *place
    cdef int result = 0
    source.kind = SOURCE_NONE
    walrus_lock(&topic.lock)
    group = staged_piece(topic, first, stamp, number, &chunk)
    if group != NULL:
        hold_chunk(source, chunk, group)
    else:
        place = place_of_piece(topic, first, stamp, number)
        if place != NULL:
            pin_place(source, place)
        elif first < topic.low:
            result = LOG_OUT_OF_RANGE
        else:
            result = nowhere(topic, first, failure)
    walrus_unlock(&topic.lock)
    if source.kind == SOURCE_PLACE:
        return load(log, topic, True, fresh, source, failure)
    return result


cdef void source_rest(Log *log, Source *source) noexcept nogil:
    if not source.held:
        return
    source.held = False
    if source.kind == SOURCE_CHUNK:
        chunk_unpin(&log.staging, source.chunk)
    else:
        cache_unreference(<ReadCache *>log.read_cache, source.cached)
        source.cached = NULL


cdef bint chunk_resume(Log *log, Topic *topic, Source *source) noexcept nogil:
    """The pin first, then the look: who gives the chunk back marks it as written first, then looks at the pins."""
    cdef Chunk *chunk = source.chunk
    cdef uint32_t state
    walrus_add32(&chunk.pins, 1)
    state = walrus_load32(&chunk.state)
    if ((state == CHUNK_OPEN or state == CHUNK_SEALED or state == CHUNK_WRITING) and chunk.topic == topic
            and walrus_load32(&chunk.slot.generation) == source.generation):
        source.held = True
        return True
    chunk_unpin(&log.staging, chunk)
    return False


cdef bint source_resume(Log *log, Topic *topic, Source *source) noexcept nogil:
    if source.held:
        return True
    if source.kind == SOURCE_CHUNK and chunk_resume(log, topic, source):
        return True
    if source.kind == SOURCE_PLACE:                 # in the cache: so its file has not been reused
        source.cached = cache_lookup(<ReadCache *>log.read_cache, &source.key)
        if source.cached != NULL:
            source.base = source.cached.base
            source.held = True
            return True
    source.kind = SOURCE_NONE
    return False


cdef void source_forget(Log *log, Source *source) noexcept nogil:
    source_rest(log, source)
    source.kind = SOURCE_NONE


# ---------------------------------------------------------------------------------------------------------------- frames

cdef uint64_t source_room(const Source *source) noexcept nogil:
    if source.kind == SOURCE_PLACE:
        return source.cached.have
    if source.group.kind == GROUP_KIND_PIECE:       # of a frame that is published, in a chunk that may say nothing of it
        return source.group.position + source.group.bytes
    return walrus_load32(&source.chunk.used)


cdef int source_frame(const Source *source, uint32_t seed, uint64_t at, FrameView *view) noexcept nogil:
    cdef uint64_t room = source_room(source), verified
    cdef int result
    if at >= room:
        return 0
    if source.kind != SOURCE_PLACE:
        return frame_read(source.base + at, room - at, seed, view)
    verified = walrus_load64(&source.cached.verified)
    if at < verified:
        return frame_peek(source.base + at, room - at, view)
    result = frame_read(source.base + at, room - at, seed, view)
    if result == 1 and at == verified:              # another reader may store less: then some is verified twice
        walrus_store64(&source.cached.verified, at + view.size)
    return result


cdef void source_blame(Log *log, const Source *source, uint64_t at, ReadFailure *failure) noexcept nogil:
    memset(failure, 0, sizeof(ReadFailure))
    failure.next_offset = source.end
    if source.kind == SOURCE_CHUNK:
        memcpy(failure.file, log.staging.file.name, sizeof(failure.file))
        failure.position = <uint64_t>(source.base - log.staging.memory) + at
    elif source.kind == SOURCE_PLACE:
        memcpy(failure.file, source.cached.name, sizeof(failure.file))
        failure.position = source.key.position + at


# ----------------------------------------------------------------------------------------------------------- prefetching

cdef bint prefetch_pin(Topic *topic, uint64_t offset, RangeKey *key) noexcept nogil:
    """The place of an offset that is on disk only, its file pinned."""
    cdef Chunk *chunk = NULL
    cdef uint64_t at
    cdef bint found = False
    walrus_lock(&topic.lock)
    if staged_find(topic, offset, &chunk) == NULL:
        at = place_find(topic, offset)
        if at < topic.places_count:
            key_of(&topic.places[at], key)
            walrus_add32(&key.file.pins, 1)
            found = True
    walrus_unlock(&topic.lock)
    return found


cdef int sources_prefetch(Log *log, Topic *topic, const uint64_t *offsets, uint32_t count,
                          uint32_t *covered) noexcept nogil:
    cdef ReadCache *cache = <ReadCache *>log.read_cache
    cdef RangeKey *keys
    cdef uint32_t i, found = 0
    cdef uint64_t bytes = 0
    covered[0] = count if count < DEVICE_BATCH_MAX else <uint32_t>DEVICE_BATCH_MAX
    keys = <RangeKey *>malloc((covered[0] + 1) * sizeof(RangeKey))
    if keys == NULL:
        return LOG_NO_MEMORY
    for i in range(covered[0]):
        if not prefetch_pin(topic, offsets[i], &keys[found]):
            continue
        if keys[found].position + keys[found].bytes > keys[found].file.file.size:
            unpin(keys[found].file)                 # a reader of that offset is told
            continue
        if found == 0 or keys[found].position != keys[found - 1].position or keys[found].file != keys[found - 1].file:
            bytes += range_blocks(&keys[found])
        if found and bytes > cache.bytes_max:
            unpin(keys[found].file)
            covered[0] = i
            break
        found += 1
    if found:
        cache_load_many(cache, &log.device, keys, found)
    for i in range(found):
        unpin(keys[i].file)
    free(keys)
    return 0
