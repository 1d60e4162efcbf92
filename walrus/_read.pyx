"""Reading: entries by offset from staging and from disk alike, through a cache shared by the log's readers.

Invariants. While `framed`, `view` is a frame of reader.source that has been verified, `at` is where it begins, and its first
offset is `walked`; else the frame that begins at `at` must have `walked` as its first offset. Offsets are dense: a frame that
does not validate, or has another first offset, is damage once it has been read from the disk again. What the reader remembers
while it rests is void when the topic was truncated (`cut`), its chunk was used again, or its range has left the cache.

An entry is found in O(1) behind the one before; elsewhere in a chunk or group by stepping over frame headers; the frame whose
bytes are given out is verified in any case.

Threads: a Reader is one thread's at a time; topic.end, durable and low are read without a lock. No GIL.
"""
from walrus._extent cimport GROUP_KIND_PIECE, GroupHeader
from walrus._frame cimport FRAME_KIND_PIECE, FrameView, frame_peek, frame_read, frame_search
from walrus._libc cimport calloc, free, walrus_load64, walrus_lock, walrus_unlock
from walrus._log_state cimport LOG_CORRUPT, LOG_END, LOG_NO_MEMORY, LOG_OUT_OF_RANGE
from walrus._read_large cimport (large_copy, large_entry, large_forget, large_free, large_has,
                                 large_number, large_open, large_piece, large_rest)
from walrus._read_source cimport (SOURCE_CHUNK, SOURCE_NONE, SOURCE_PLACE, damage_end, source_blame,
                                  source_find, source_forget, source_frame, source_rest, source_resume, source_room,
                                  sources_prefetch)

cdef enum:
    NOT_HELD = 1                    # the entry lies elsewhere than what is held: the taking stops before it
    SUM_ENTRIES = 64                # entries that read_payload_bytes looks at in one go


cdef Reader *reader_new(Log *log, Topic *topic) noexcept nogil:
    cdef Reader *reader = <Reader *>calloc(1, sizeof(Reader))
    if reader != NULL:
        reader.log = log
        reader.topic = topic
        reader.offset = walrus_load64(&topic.low)
        reader.rested = True
    return reader


cdef void reader_free(Reader *reader) noexcept nogil:
    if reader == NULL:
        return
    source_forget(reader.log, &reader.source)
    large_free(reader.log, &reader.large)
    free(reader)


cdef uint64_t reader_offset(const Reader *reader) noexcept nogil:
    return reader.offset


cdef ReadFailure *reader_failure(Reader *reader) noexcept nogil:
    return &reader.failure


cdef uint64_t reader_end(const Reader *reader, bint durable_only) noexcept nogil:
    cdef uint64_t end = walrus_load64(&reader.topic.end), durable
    if durable_only:
        durable = walrus_load64(&reader.topic.durable)
        if durable < end:
            end = durable
    return end


cdef int reader_seek(Reader *reader, uint64_t offset) noexcept nogil:
    if offset < walrus_load64(&reader.topic.low) or offset > walrus_load64(&reader.topic.end):
        return LOG_OUT_OF_RANGE
    reader.offset = offset
    return 0


# ------------------------------------------------------------------------------------------------------ resting, waking

cdef void forget(Reader *reader) noexcept nogil:
    source_forget(reader.log, &reader.source)
    reader.framed = False
    reader.before = False


cdef void reader_rest(Reader *reader) noexcept nogil:
    source_rest(reader.log, &reader.source)
    large_rest(reader.log, &reader.large)
    reader.rested = True


cdef uint64_t newest_cut(Topic *topic) noexcept nogil:
    cdef uint64_t cut = 0
    walrus_lock(&topic.lock)
    if topic.epoch_count:
        cut = topic.epochs[topic.epoch_count - 1].epoch
    walrus_unlock(&topic.lock)
    return cut


cdef void wake(Reader *reader) noexcept nogil:
    """Holds again what was held before the rest, if it is still what it was."""
    cdef uint64_t cut
    if not reader.rested:
        return
    reader.rested = False
    cut = newest_cut(reader.topic)
    if cut != reader.cut:
        reader.cut = cut
        forget(reader)
        large_forget(reader.log, &reader.large)
        return
    if reader.source.kind == SOURCE_NONE:
        return
    if not source_resume(reader.log, reader.topic, &reader.source):
        forget(reader)
    elif reader.framed and reader.source.kind == SOURCE_PLACE:      # perhaps read anew, to another place in memory
        if source_frame(&reader.source, reader.topic.seed, reader.at, &reader.view) != 1:
            forget(reader)


# ------------------------------------------------------------------------------------------------------ finding a frame

cdef void step(Reader *reader, const FrameView *view) noexcept nogil:
    reader.before = True
    reader.before_at = reader.at
    reader.before_first = view.first
    reader.at += view.size
    reader.walked = view.first + view.count
    reader.framed = False


cdef bint walk(Reader *reader) noexcept nogil:
    """Steps on to the frame that holds reader.offset and verifies it. False: the source does not have it, or is damaged."""
    cdef Source *source = &reader.source
    cdef FrameView *view = &reader.view
    cdef uint64_t offset = reader.offset, room = source_room(source)
    cdef int result
    if offset >= (source.end if source.kind == SOURCE_PLACE else walrus_load64(&source.chunk.end)):
        return False                                # behind the end of a chunk there may be frames that were truncated
    if reader.framed:
        step(reader, view)
    while reader.at < room:
        if reader.walked == offset:
            result = source_frame(source, reader.topic.seed, reader.at, view)
        else:
            result = frame_peek(source.base + reader.at, room - reader.at, view)
        if result != 1 or view.kind == FRAME_KIND_PIECE or view.first != reader.walked:
            return False
        if offset - view.first < view.count:
            if reader.walked != offset and source_frame(source, reader.topic.seed, reader.at, view) != 1:
                return False
            reader.framed = True
            reader.index = 0
            reader.begin = 0
            return True
        step(reader, view)
    return False


cdef bint walk_damaged(Reader *reader, uint64_t *next_offset) noexcept nogil:
    """All of the source, frame by frame, over what does not validate. False: reader.offset is in a hole; where it ends."""
    cdef Source *source = &reader.source
    cdef FrameView *view = &reader.view
    cdef uint64_t at = source.group.position, expected = source.group.first, room = source_room(source)
    cdef uint32_t seed = reader.topic.seed
    reader.framed = False
    reader.before = False
    reader.at = at                                  # where it breaks, for the error
    next_offset[0] = source.end
    while at < room:
        if (frame_read(source.base + at, room - at, seed, view) != 1 or view.kind == FRAME_KIND_PIECE
                or view.first < expected or view.first + view.count > source.end):
            if expected <= reader.offset:
                reader.at = at
            at += 8
            if at < room:
                at += frame_search(source.base + at, room - at, seed, view)
            continue
        if reader.offset < view.first:
            next_offset[0] = view.first
            return False
        reader.walked = view.first
        if reader.offset - view.first < view.count:
            reader.at = at
            reader.framed = True
            reader.index = 0
            reader.begin = 0
            return True
        at += view.size
        expected = view.first + view.count
        reader.at = at
    return False


cdef int damaged(Reader *reader, uint64_t next_offset) noexcept nogil:
    """The source that is held should have the offset, and has not."""
    cdef uint64_t end = damage_end(reader.topic, reader.offset)
    source_blame(reader.log, &reader.source, reader.at, &reader.failure)
    reader.failure.next_offset = end if end > next_offset else next_offset
    forget(reader)
    return LOG_CORRUPT


cdef int find(Reader *reader) noexcept nogil:
    """Finds the frame that holds reader.offset by the offset alone."""
    cdef bint ahead = reader.source.kind == SOURCE_PLACE and reader.offset == reader.source.end
    cdef GroupHeader piece
    cdef uint64_t next_offset = 0
    cdef int attempt, result
    for attempt in range(2):                        # a bad checksum is read once more from the disk
        forget(reader)
        result = source_find(reader.log, reader.topic, reader.offset, ahead, attempt == 1, &reader.source,
                             &reader.failure)
        if result:
            return result
        if reader.source.group.kind == GROUP_KIND_PIECE:
            piece = reader.source.group
            forget(reader)
            return large_open(reader.log, reader.topic, &reader.large, &piece, &reader.failure)
        reader.at = reader.source.group.position
        reader.walked = reader.source.group.first
        if walk(reader) or walk_damaged(reader, &next_offset):
            return 0
        if reader.source.kind == SOURCE_CHUNK:
            break
    return damaged(reader, next_offset)


cdef inline int stand(Reader *reader, bint elsewhere) noexcept nogil:
    """Makes the frame at hand the one that holds reader.offset; NOT_HELD if that would let go and not `elsewhere`."""
    cdef uint64_t offset = reader.offset
    if reader.framed and offset - reader.view.first < reader.view.count:
        return 0
    if large_has(&reader.large, offset):
        return 0
    if reader.source.kind != SOURCE_NONE:
        if reader.before and offset < reader.walked and offset >= reader.before_first:
            reader.at = reader.before_at
            reader.walked = reader.before_first
            reader.framed = False
            reader.before = False
        if offset >= reader.walked and walk(reader):
            return 0
    if not elsewhere:
        return NOT_HELD
    return find(reader)


# ---------------------------------------------------------------------------------------------------- handing out entries

cdef int entry_of_large(Reader *reader, ReadEntry *entry, bint elsewhere) noexcept nogil:
    cdef LargeFrame *large = &reader.large
    cdef uint64_t begin = 0
    cdef uint32_t number
    cdef int result
    large_entry(large, <uint32_t>(reader.offset - large.first), &begin, &entry.length)
    entry.offset = reader.offset
    entry.time_ns = large.time_ns
    entry.data = <const uint8_t *>reader            # no bytes: any address but NULL
    if entry.length == 0:
        return 0
    number = large_number(large, begin)
    if begin + entry.length > large.starts[number + 1]:
        entry.data = NULL
        return 0
    if not elsewhere and not (large.viewed and large.source.held and large.number == number):
        return NOT_HELD
    result = large_piece(reader.log, reader.topic, large, number, &reader.failure)
    if result == 0:
        entry.data = large.view.body + (begin - large.starts[number])
    return result


cdef inline int entry_of_frame(Reader *reader, ReadEntry *entry) noexcept nogil:
    cdef FrameView *view = &reader.view
    cdef uint32_t index = <uint32_t>(reader.offset - view.first)
    entry.offset = reader.offset
    entry.time_ns = view.time_ns
    if view.lengths == NULL:
        entry.data = view.body
        entry.length = view.body_bytes
        return 0
    if index < reader.index:
        reader.index = 0
        reader.begin = 0
    while reader.index < index:
        reader.begin += view.lengths[reader.index]
        reader.index += 1
    entry.data = view.body + reader.begin
    entry.length = view.lengths[index]
    return 0


cdef inline int entry_at(Reader *reader, ReadEntry *entry, bint elsewhere) noexcept nogil:
    cdef int result = stand(reader, elsewhere)
    if result:
        return result
    if large_has(&reader.large, reader.offset):
        return entry_of_large(reader, entry, elsewhere)
    return entry_of_frame(reader, entry)


cdef int failed(Reader *reader, int result) noexcept nogil:
    reader.failure.offset = reader.offset
    if reader.failure.next_offset <= reader.offset:
        reader.failure.next_offset = reader.offset + 1
    return result


cdef int reader_take(Reader *reader, uint64_t max_bytes, uint32_t max_entries, ReadEntry *entries, uint32_t *count,
                     bint durable_only) noexcept nogil:
    cdef uint64_t end = reader_end(reader, durable_only), bytes = 0
    cdef ReadEntry *entry
    cdef int result
    count[0] = 0
    if reader.offset < walrus_load64(&reader.topic.low):
        return LOG_OUT_OF_RANGE
    if reader.offset >= end:
        return LOG_END
    wake(reader)
    while count[0] < max_entries and reader.offset < end:
        entry = entries + count[0]
        result = entry_at(reader, entry, count[0] == 0)
        if result and count[0]:
            break                                   # what is wrong there is told when that entry is the first
        if result:
            return failed(reader, result)
        if count[0] and (entry.data == NULL or bytes + entry.length > max_bytes):
            break
        bytes += entry.length
        reader.offset += 1
        count[0] += 1
        if entry.data == NULL:
            break
    return 0


cdef int reader_next(Reader *reader, ReadEntry *entry, bint durable_only) noexcept nogil:
    cdef uint32_t count = 0
    return reader_take(reader, <uint64_t>-1, 1, entry, &count, durable_only)


cdef int read_large(Reader *reader, const ReadEntry *entry, uint8_t *target) noexcept nogil:
    cdef uint64_t standing = reader.offset, begin = 0, length = 0
    cdef int result = 0
    if entry.offset < walrus_load64(&reader.topic.low):
        return LOG_OUT_OF_RANGE
    wake(reader)
    reader.offset = entry.offset
    if not large_has(&reader.large, entry.offset):
        result = find(reader)
        if result == 0 and not large_has(&reader.large, entry.offset):
            result = LOG_OUT_OF_RANGE               # truncated, and another entry stands there now
    if result == 0:
        large_entry(&reader.large, <uint32_t>(entry.offset - reader.large.first), &begin, &length)
        if length != entry.length:
            result = LOG_OUT_OF_RANGE
    if result == 0:
        result = large_copy(reader.log, reader.topic, &reader.large, begin, length, target, &reader.failure)
    if result:
        failed(reader, result)
    reader.offset = standing
    return result


cdef int reader_prefetch(Reader *reader, const uint64_t *offsets, uint32_t count, uint32_t *covered) noexcept nogil:
    return sources_prefetch(reader.log, reader.topic, offsets, count, covered)


# ------------------------------------------------------------------------------------------------------- without a reader

cdef int read_payload_bytes(Log *log, Topic *topic, uint64_t first, uint64_t end, uint64_t *bytes) noexcept nogil:
    cdef ReadEntry entries[SUM_ENTRIES]
    cdef Reader *reader = reader_new(log, topic)
    cdef uint32_t i, count = 0, wanted
    cdef int result = 0
    bytes[0] = 0
    if reader == NULL:
        return LOG_NO_MEMORY
    reader.offset = first
    while reader.offset < end:
        wanted = SUM_ENTRIES
        if end - reader.offset < wanted:
            wanted = <uint32_t>(end - reader.offset)
        result = reader_take(reader, <uint64_t>-1, wanted, entries, &count, False)
        if result:
            break
        for i in range(count):
            bytes[0] += entries[i].length
    reader_free(reader)
    return result


cdef bint read_is_border(Log *log, Topic *topic, uint64_t offset) noexcept nogil:
    cdef Reader *reader
    cdef bint border = False
    if offset == walrus_load64(&topic.end):
        return True
    reader = reader_new(log, topic)
    if reader == NULL:
        return False
    reader.offset = offset
    wake(reader)
    if stand(reader, True) == 0:
        border = reader.large.first == offset if large_has(&reader.large, offset) else reader.view.first == offset
    reader_free(reader)
    return border
