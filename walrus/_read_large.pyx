"""Large frames: pieces in chunks and on disk, put together again, checked for completeness, read a piece at a time.

Invariants. A large frame is given out only if each of its pieces 0 .. n - 1 has a group of its first offset and stamp, the last
one says n, and the lengths of its entries sum up to the body; each piece is verified, and compared with what it must be, when
it is held. A group of a piece has the bytes of its part of the body as payload_bytes. Memory: the lengths (8,000 bytes at
most), 8 bytes for each piece, and the one piece at hand; whatever the frame's size.

Threads: those of the reader. No GIL.
"""
from walrus._extent cimport GROUP_KIND_PIECE
from walrus._frame cimport FRAME_KIND_PIECE, MAX_BATCH_ENTRIES
from walrus._libc cimport free, malloc, memcpy, realloc, walrus_lock, walrus_unlock
from walrus._log_state cimport LOG_CORRUPT, LOG_NO_MEMORY
from walrus._read_source cimport (SOURCE_PLACE, place_from, source_blame,
                                  source_find_piece, source_forget, source_frame, source_rest, source_resume)
from walrus._staging cimport Chunk


cdef extern from *:
    """
    #define START_UNKNOWN UINT64_MAX
    """
    const uint64_t START_UNKNOWN


# ----------------------------------------------------------------------------------------------------------- the pieces

cdef inline bint is_piece(const GroupHeader *group, const LargeFrame *large) noexcept nogil:
    return (group.kind == GROUP_KIND_PIECE and group.count == large.count and group.stamp == large.stamp
            and group.first == large.first)


cdef void piece_note(LargeFrame *large, const GroupHeader *group, bint measure) noexcept nogil:
    """Counts it, or takes its size. A piece may be found twice, in a chunk and in a place."""
    if not measure:
        large.found += 1
        if group.pieces:
            large.pieces = group.pieces
    elif group.piece < large.pieces and (group.piece + 1 == large.pieces) == (group.pieces != 0):
        large.starts[group.piece + 1] = group.payload_bytes


cdef void pieces_note(Topic *topic, LargeFrame *large, bint measure) noexcept nogil:
    cdef uint64_t at
    cdef uint32_t i
    cdef Chunk *chunk
    walrus_lock(&topic.lock)
    at = place_from(topic, large.first, 0)
    while at < topic.places_count and topic.places[at].group.first == large.first:
        if is_piece(&topic.places[at].group, large):
            piece_note(large, &topic.places[at].group, measure)
        at += 1
    chunk = topic.oldest
    while chunk != NULL:
        for i in range(chunk.groups):
            if is_piece(&chunk.group[i], large):
                piece_note(large, &chunk.group[i], measure)
        chunk = chunk.newer
    walrus_unlock(&topic.lock)


cdef int incomplete(LargeFrame *large, ReadFailure *failure) noexcept nogil:
    failure.next_offset = large.first + large.count
    failure.file[0] = 0
    failure.position = 0
    failure.code = 0
    return LOG_CORRUPT


cdef int pieces_measure(Topic *topic, LargeFrame *large, ReadFailure *failure) noexcept nogil:
    """Fills starts, pieces and body_bytes."""
    cdef uint64_t *starts
    cdef uint32_t i
    large.pieces = 0
    large.found = 0
    pieces_note(topic, large, False)
    if large.pieces == 0 or large.found < large.pieces:     # so the table is no larger than what there is
        return incomplete(large, failure)
    starts = <uint64_t *>realloc(large.starts, (<uint64_t>large.pieces + 1) * 8)
    if starts == NULL:
        return LOG_NO_MEMORY
    large.starts = starts
    starts[0] = 0
    for i in range(large.pieces):
        starts[i + 1] = START_UNKNOWN
    pieces_note(topic, large, True)
    for i in range(large.pieces):
        if starts[i + 1] == START_UNKNOWN:
            return incomplete(large, failure)
        starts[i + 1] += starts[i]
    large.body_bytes = starts[large.pieces]
    return 0


cdef bint piece_view(Topic *topic, LargeFrame *large, uint32_t number) noexcept nogil:
    """Looks at the piece that is held: is it what it must be?"""
    cdef FrameView *view = &large.view
    large.viewed = (source_frame(&large.source, topic.seed, large.source.group.position, view) == 1
                    and view.kind == FRAME_KIND_PIECE and view.first == large.first and view.stamp == large.stamp
                    and view.number == number and view.count == large.count
                    and view.body_bytes == large.starts[number + 1] - large.starts[number])
    return large.viewed


cdef int large_piece(Log *log, Topic *topic, LargeFrame *large, uint32_t number, ReadFailure *failure) noexcept nogil:
    cdef int attempt, result
    if large.viewed and large.number == number:
        if large.source.held:
            return 0
        if source_resume(log, topic, &large.source) and piece_view(topic, large, number):
            return 0
    large.number = number
    for attempt in range(2):                        # a bad checksum is read once more from the disk
        large.viewed = False
        source_forget(log, &large.source)
        result = source_find_piece(log, topic, large.first, large.stamp, number, attempt == 1, &large.source, failure)
        if result:
            if result == LOG_CORRUPT:
                failure.next_offset = large.first + large.count
            return result
        if piece_view(topic, large, number):
            return 0
        if large.source.kind != SOURCE_PLACE:
            break
    source_blame(log, &large.source, large.source.group.position, failure)
    failure.next_offset = large.first + large.count
    source_forget(log, &large.source)
    return LOG_CORRUPT


cdef uint32_t large_number(const LargeFrame *large, uint64_t at) noexcept nogil:
    cdef uint32_t low = 0, high = large.pieces - 1, middle
    if large.viewed and large.starts[large.number] <= at < large.starts[large.number + 1]:
        return large.number
    while low < high:
        middle = low + (high - low) // 2
        if large.starts[middle + 1] <= at:
            low = middle + 1
        else:
            high = middle
    return low


cdef int large_copy(Log *log, Topic *topic, LargeFrame *large, uint64_t begin, uint64_t length, uint8_t *target,
                    ReadFailure *failure) noexcept nogil:
    cdef uint64_t part, inside
    cdef uint32_t number
    cdef int result
    while length:
        number = large_number(large, begin)
        result = large_piece(log, topic, large, number, failure)
        if result:
            return result
        inside = begin - large.starts[number]
        part = large.view.body_bytes - inside
        if part > length:
            part = length
        memcpy(target, large.view.body + inside, part)
        target += part
        begin += part
        length -= part
    return 0


# ----------------------------------------------------------------------------------------------------------- the entries

cdef int lengths_read(Log *log, Topic *topic, LargeFrame *large, ReadFailure *failure) noexcept nogil:
    """Of a frame of more than one entry; they must sum up to the body."""
    cdef uint64_t bytes = 4 * <uint64_t>large.count, sum = bytes
    cdef uint32_t i
    cdef int result
    if large.count > MAX_BATCH_ENTRIES or large.body_bytes < bytes:
        return incomplete(large, failure)
    if large.lengths == NULL:
        large.lengths = <uint32_t *>malloc(4 * MAX_BATCH_ENTRIES)
        if large.lengths == NULL:
            return LOG_NO_MEMORY
    result = large_copy(log, topic, large, 0, bytes, <uint8_t *>large.lengths, failure)
    if result:
        return result
    for i in range(large.count):
        sum += large.lengths[i]
    if sum != large.body_bytes:
        return incomplete(large, failure)
    large.begin = bytes
    return 0


cdef int large_open(Log *log, Topic *topic, LargeFrame *large, const GroupHeader *piece, ReadFailure *failure) noexcept nogil:
    cdef int result
    large_forget(log, large)
    large.first = piece.first
    large.stamp = piece.stamp
    large.count = piece.count
    result = pieces_measure(topic, large, failure)
    if result:
        return result
    result = large_piece(log, topic, large, 0, failure)
    if result:
        return result
    large.time_ns = large.view.time_ns
    large.index = 0
    large.begin = 0
    if large.count > 1:
        result = lengths_read(log, topic, large, failure)
        if result:
            return result
    large.open = True
    return 0


cdef void large_entry(LargeFrame *large, uint32_t index, uint64_t *begin, uint64_t *length) noexcept nogil:
    if large.count == 1:
        begin[0] = 0
        length[0] = large.body_bytes
        return
    if index < large.index:
        large.index = 0
        large.begin = 4 * <uint64_t>large.count
    while large.index < index:
        large.begin += large.lengths[large.index]
        large.index += 1
    begin[0] = large.begin
    length[0] = large.lengths[index]


cdef void large_rest(Log *log, LargeFrame *large) noexcept nogil:
    source_rest(log, &large.source)


cdef void large_forget(Log *log, LargeFrame *large) noexcept nogil:
    source_forget(log, &large.source)
    large.open = False
    large.viewed = False


cdef void large_free(Log *log, LargeFrame *large) noexcept nogil:
    large_forget(log, large)
    free(large.starts)
    free(large.lengths)
    large.starts = NULL
    large.lengths = NULL
