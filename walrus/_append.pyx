"""Appending: frames into chunks; what does not fit a chunk becomes pieces; back-pressure.

Invariants. A frame is written whole, header last, before slot.used, then the topic's end, are release-stored: readers see none or
all of it, and so does a recovery after SIGKILL (one_frame). A frame that fits no chunk of the largest class is a run of pieces
under one stamp; it is published when its last piece is staged, and a failed attempt is dead by its stamp. Nothing waits for
staging room while it holds a topic's lock; while a large frame is under way its topic is `busy`, so that syncs go on.

Threads: any; see _append.pxd for wait=False under the GIL. No GIL is taken.
"""
from walrus._control cimport ControlTopic, control_wake
from walrus._device cimport device_wake
from walrus._extent cimport GROUP_KIND_PIECE, GROUP_KIND_RUN, GroupHeader
from walrus._frame cimport (FRAME_HEADER_BYTES, FRAME_PIECE_BYTES, frame_batch_bytes, frame_claim, frame_padded,
                            frame_seal_piece, frame_single_bytes, frame_write_batch, frame_write_packed,
                            frame_write_single)
from walrus._libc cimport (EAGAIN, WALRUS_DEBUG, int64_t, uint16_t, memcpy, memset, walrus_add32, walrus_add64, walrus_futex_wait,
                           walrus_futex_wake, walrus_load32, walrus_load64, walrus_lock, walrus_monotonic_ns,
                           walrus_realtime_ns, walrus_store32, walrus_store64, walrus_trylock, walrus_unlock)
from walrus._log_state cimport (LOG_DAMAGED, LOG_FULL, LOG_INTERRUPTED, LOG_TIMEOUT, LOG_TOO_LARGE,
                                LOG_WOULD_BLOCK, log_check)
from walrus._rules cimport RULE_ONE_FRAME, rule_broken
from walrus._staging cimport (CHUNK_GROUPS, CHUNK_SEALED, REGION_BYTES, chunk_bind, chunk_data_start, chunk_take,
                              class_bytes)
from walrus._topics cimport places_forget_stamp

cdef enum:
    WAIT_SLICE_NS = 50000000        # a waiter looks up this often: signals, deadline
    GROW_WITHIN_NS = 100000000      # a chunk that filled within this time is followed by a larger one
    SHRINK_AFTER_NS = 2000000000    # ... one that took longer than this by a smaller one
    PIECE_BYTES_MIN = 4096          # the rest of a chunk is worth a piece from here on


# ------------------------------------------------------------------------------------------------------- sealing

cdef void chunk_enqueue(Log *log, Chunk *chunk) noexcept nogil:
    walrus_lock(&log.queue_lock)
    log.sealed += 1
    log.outstanding_bytes += chunk.bytes
    chunk.sequence = log.sealed
    chunk.state = CHUNK_SEALED
    chunk.queue_after = NULL
    chunk.queue_before = log.outstanding_last
    if log.outstanding_last != NULL:
        log.outstanding_last.queue_after = chunk
    else:
        log.outstanding_first = chunk
    log.outstanding_last = chunk
    if log.queue_first == NULL:
        log.queue_first = chunk
    walrus_unlock(&log.queue_lock)
    device_wake(&log.device)


cdef void topic_seal(Log *log, Topic *topic) noexcept nogil:
    cdef Chunk *chunk = topic.current
    if chunk == NULL:
        return
    topic.current = NULL
    chunk_enqueue(log, chunk)


cdef void class_adapt(Log *log, Topic *topic, uint64_t now) noexcept nogil:
    """Chunks grow with the topic's rate, and shrink with it."""
    cdef uint64_t took = now - topic.chunk_time_ns if now > topic.chunk_time_ns else 0
    cdef uint64_t half = <uint64_t>log.staging.regions * REGION_BYTES // 2
    if topic.chunk_time_ns == 0:
        pass
    elif took < GROW_WITHIN_NS and log.staging.free_bytes + log.outstanding_bytes > half:
        topic.chunk_class += 2                      # while open chunks hold less than half of the staging
    elif took > SHRINK_AFTER_NS and topic.chunk_class > 0:
        topic.chunk_class -= 1
    if topic.chunk_class > <int>log.options.chunk_class_max:
        topic.chunk_class = <int>log.options.chunk_class_max
    topic.chunk_time_ns = now


cdef bint chunk_next(Log *log, Topic *topic, uint64_t least, int chunk_class) noexcept nogil:
    """Seals the current chunk and takes another with room for `least` bytes; False: no room now. Holds topic.lock."""
    cdef Chunk *last = topic.current
    cdef Chunk *chunk = chunk_take(&log.staging, chunk_class, least, topic.name_bytes)
    cdef ControlTopic *shared = <ControlTopic *>topic.control
    if chunk == NULL:
        return False
    topic_seal(log, topic)
    if last == NULL:
        last = topic.oldest
        while last != NULL and last.newer != NULL:
            last = last.newer
    chunk_bind(chunk, topic, topic.id, topic.name, topic.name_bytes, topic.end, <uint32_t>log.catalog.epoch, last)
    if last != NULL:
        last.newer = chunk
    else:
        topic.oldest = chunk
    topic.current = chunk
    if shared != NULL:
        walrus_store32(&shared.current_generation, chunk.slot.generation)
        walrus_store32(&shared.current, chunk.index + 1)
    return True


# ---------------------------------------------------------------------------------------------------- publishing

cdef void group_add(Chunk *chunk, Topic *topic, uint64_t first, uint32_t count, uint32_t bytes, uint32_t payload,
                    uint64_t time_ns, uint32_t epoch) noexcept nogil:
    """Notes a whole frame: in the run that the chunk ends with, or in a new one."""
    cdef GroupHeader *group
    if chunk.groups and chunk.group[chunk.groups - 1].kind == GROUP_KIND_RUN:
        group = &chunk.group[chunk.groups - 1]
        group.count += count
        group.bytes += bytes
        group.payload_bytes += payload
        if time_ns > group.time_max:
            group.time_max = time_ns
        if time_ns < group.time_min:
            group.time_min = time_ns
        group.epoch = epoch
        return
    group = &chunk.group[chunk.groups]
    memset(group, 0, sizeof(GroupHeader))
    group.topic_id = topic.id
    group.first = first
    group.count = count
    group.epoch = epoch
    group.position = chunk.written
    group.bytes = bytes
    group.payload_bytes = payload
    group.time_min = time_ns
    group.time_max = time_ns
    group.kind = GROUP_KIND_RUN
    group.name_bytes = <uint16_t>topic.name_bytes
    chunk.groups += 1


cdef void topic_mark_dirty(Log *log, Topic *topic) noexcept nogil:
    """Into the list of the next sync. Holds topic.lock."""
    topic.dirty = True
    walrus_lock(&log.dirty_lock)
    topic.dirty_next = log.dirty_topics
    log.dirty_topics = topic
    walrus_unlock(&log.dirty_lock)


cdef inline void publish(Log *log, Topic *topic, Chunk *chunk, uint64_t end) noexcept nogil:
    """The one store that makes the frame readable, after everything that it needs. Holds topic.lock."""
    cdef ControlTopic *shared = <ControlTopic *>topic.control
    chunk.used = chunk.written
    chunk.end = end
    topic.appended += end - topic.end
    walrus_store64(&chunk.slot.end, end)
    walrus_store64(&chunk.slot.used, chunk.used)
    walrus_store64(&topic.end, end)
    if shared != NULL:
        shared.payload_bytes = topic.payload_bytes
        walrus_store64(&shared.end, end)
    if not topic.dirty:
        topic_mark_dirty(log, topic)
    if log.control.head != NULL and walrus_load32(&log.control.head.sleepers):
        control_wake(&log.control)
    if walrus_load32(&topic.waiters):
        walrus_add32(&topic.wake_word, 1)
        walrus_futex_wake(&topic.wake_word, 0x7FFFFFFF, 0)


# ------------------------------------------------------------------------------------------------------- waiting

cdef int slice_of(uint64_t deadline_ns, int64_t *left) noexcept nogil:
    """How long to sleep at most; LOG_TIMEOUT when the deadline is over."""
    cdef uint64_t now
    left[0] = WAIT_SLICE_NS
    if deadline_ns:
        now = walrus_monotonic_ns()
        if now >= deadline_ns:
            return LOG_TIMEOUT
        if deadline_ns - now < WAIT_SLICE_NS:
            left[0] = <int64_t>(deadline_ns - now)
    return 0


cdef int wait_for_room(Log *log, uint64_t deadline_ns) noexcept nogil:
    """A slice of waiting for staging: LOG_INTERRUPTED when it is over, LOG_FULL when the disk is full, or 0: try again."""
    cdef int64_t left
    cdef int result
    cdef uint32_t seen = walrus_load32(&log.staging.room_word)
    cdef uint64_t began
    if walrus_load32(&log.full):
        return LOG_FULL
    result = slice_of(deadline_ns, &left)
    if result:
        return result
    began = walrus_monotonic_ns()
    walrus_add32(&log.staging.room_waiters, 1)
    device_wake(&log.device)
    walrus_add64(&log.stats.room_waits, 1)
    result = <int>walrus_futex_wait(&log.staging.room_word, seen, left, 0)
    walrus_add32(&log.staging.room_waiters, <uint32_t>-1)
    walrus_add64(&log.stats.room_wait_ns, walrus_monotonic_ns() - began)
    if result < 0 and result != -EAGAIN and walrus_load32(&log.staging.room_word) == seen:
        return LOG_INTERRUPTED
    return 0


cdef int wait_for_busy(Topic *topic, uint64_t deadline_ns) noexcept nogil:
    """A large frame is being written to the topic. Called without its lock."""
    cdef int64_t left
    cdef uint32_t seen = walrus_load32(&topic.busy_word)
    cdef int result = slice_of(deadline_ns, &left)
    if result or not topic.busy:
        return result
    walrus_add32(&topic.busy_waiters, 1)
    result = <int>walrus_futex_wait(&topic.busy_word, seen, left, 0)
    walrus_add32(&topic.busy_waiters, <uint32_t>-1)
    return LOG_INTERRUPTED if result < 0 and result != -EAGAIN else 0


cdef void busy_end(Topic *topic) noexcept nogil:
    """Holds topic.lock."""
    topic.busy = False
    walrus_add32(&topic.busy_word, 1)
    if walrus_load32(&topic.busy_waiters):
        walrus_futex_wake(&topic.busy_word, 0x7FFFFFFF, 0)


cdef int enter(Log *log, Topic *topic, bint wait, uint64_t deadline_ns) noexcept nogil:
    """Takes the topic's lock for an append, or says why not."""
    cdef int result
    while True:
        if not walrus_trylock(&topic.lock):
            if not wait:
                return LOG_WOULD_BLOCK
            walrus_lock(&topic.lock)
        # Under the lock: closing sets its mark and then takes every topic's lock once, so nobody appends behind it.
        result = log_check(log)
        if result == 0 and topic.refuses:
            result = LOG_DAMAGED
        if result:
            walrus_unlock(&topic.lock)
            return result
        if not topic.busy:
            return 0
        walrus_unlock(&topic.lock)
        if not wait:
            return LOG_WOULD_BLOCK
        result = wait_for_busy(topic, deadline_ns)
        if result:
            return result


# ------------------------------------------------------------------------------------------------------ appending

cdef inline uint64_t frame_bytes_max(Log *log, Topic *topic) noexcept nogil:
    """The largest frame that a chunk of the largest class holds."""
    cdef int c = <int>log.options.chunk_class_max
    return class_bytes(c) - chunk_data_start(c, topic.name_bytes)


cdef int room_make(Log *log, Topic *topic, uint64_t needed, bint wait, uint64_t deadline_ns) noexcept nogil:
    """Leaves with topic.lock held and a current chunk that has `needed` bytes left; else without the lock, and a code."""
    cdef int result
    cdef Chunk *chunk
    while True:
        result = enter(log, topic, wait, deadline_ns)
        if result:
            return result
        chunk = topic.current
        if chunk != NULL and chunk.bytes - chunk.written >= needed and chunk.groups < CHUNK_GROUPS:
            return 0
        if chunk != NULL and chunk.bytes - chunk.written < needed:
            class_adapt(log, topic, walrus_monotonic_ns())
        elif topic.chunk_time_ns == 0:
            topic.chunk_time_ns = walrus_monotonic_ns()
        if chunk_next(log, topic, needed, topic.chunk_class):
            return 0
        walrus_unlock(&topic.lock)
        if not wait:
            return LOG_WOULD_BLOCK
        result = wait_for_room(log, deadline_ns)
        if result:
            return result


cdef int append_one(Log *log, Topic *topic, const uint8_t *data, uint64_t length, bint wait, uint64_t deadline_ns,
                    uint64_t *offset) noexcept nogil:
    cdef Chunk *chunk
    cdef uint64_t now
    cdef uint32_t bytes
    cdef uint64_t needed = frame_single_bytes(length)
    cdef int result
    if needed > frame_bytes_max(log, topic):
        return LOG_TOO_LARGE
    result = room_make(log, topic, needed, wait, deadline_ns)
    if result:
        return result
    chunk = topic.current
    now = walrus_realtime_ns()
    bytes = frame_write_single(chunk.base + chunk.written, topic.seed, <uint32_t>log.catalog.epoch,
                               frame_claim(topic.end, walrus_load64(&topic.durable)), topic.end, now, data,
                               <uint32_t>length)
    group_add(chunk, topic, topic.end, 1, bytes, <uint32_t>length, now, <uint32_t>log.catalog.epoch)
    chunk.written += bytes
    chunk.payload_bytes += length
    topic.payload_bytes += length
    offset[0] = topic.end
    publish(log, topic, chunk, topic.end + 1)
    walrus_unlock(&topic.lock)
    return 0


cdef uint32_t write_frame(Chunk *chunk, Topic *topic, uint32_t epoch, uint64_t now, AppendRequest *request) noexcept nogil:
    cdef uint8_t *at = chunk.base + chunk.written
    cdef uint32_t claim = frame_claim(topic.end, walrus_load64(&topic.durable))
    if request.count == 1:
        return frame_write_single(at, topic.seed, epoch, claim, topic.end, now,
                                  request.packed if request.data == NULL else request.data[0],
                                  <uint32_t>request.payload_bytes)
    if request.data == NULL:
        return frame_write_packed(at, topic.seed, epoch, claim, topic.end, now, request.packed, request.lengths,
                                  request.count)
    return frame_write_batch(at, topic.seed, epoch, claim, topic.end, now, request.data, request.lengths, request.count)


cdef int append_entries(Log *log, Topic *topic, AppendRequest *request, uint64_t *first) noexcept nogil:
    """one_frame broken on purpose: a batch as a frame per entry (debug build)."""
    cdef uint32_t i
    cdef uint64_t offset = 0, at = 0
    cdef int result
    for i in range(request.count):
        result = append_one(log, topic, request.data[i] if request.data != NULL else request.packed + at,
                            request.lengths[i], True, 0, &offset)
        if result:
            return result
        at += request.lengths[i]
        if i == 0:
            first[0] = offset
    return 0


cdef int append_batch(Log *log, Topic *topic, AppendRequest *request, bint wait, uint64_t deadline_ns,
                      uint64_t *first) noexcept nogil:
    cdef uint64_t needed = frame_batch_bytes(request.count, request.payload_bytes), now
    cdef uint32_t bytes
    cdef Chunk *chunk
    cdef int result
    if request.count == 1:
        needed = frame_single_bytes(request.payload_bytes)
    elif WALRUS_DEBUG and rule_broken(RULE_ONE_FRAME):
        return append_entries(log, topic, request, first)
    if needed > frame_bytes_max(log, topic):
        if not wait:
            return LOG_WOULD_BLOCK
        return append_large(log, topic, request, deadline_ns, first)
    result = room_make(log, topic, needed, wait, deadline_ns)
    if result:
        return result
    chunk = topic.current
    now = walrus_realtime_ns()
    bytes = write_frame(chunk, topic, <uint32_t>log.catalog.epoch, now, request)
    group_add(chunk, topic, topic.end, request.count, bytes, <uint32_t>request.payload_bytes, now,
              <uint32_t>log.catalog.epoch)
    chunk.written += bytes
    chunk.payload_bytes += request.payload_bytes
    topic.payload_bytes += request.payload_bytes
    first[0] = topic.end
    publish(log, topic, chunk, topic.end + request.count)
    walrus_unlock(&topic.lock)
    return 0


# --------------------------------------------------------------------------------------------------- large frames

cdef void body_copy(AppendRequest *request, uint64_t position, uint8_t *target, uint64_t bytes) noexcept nogil:
    """Bytes [position, position + bytes) of the frame's body: u32 lengths (if entries > 1), then the payloads."""
    cdef uint64_t lengths = 4 * <uint64_t>request.count if request.count > 1 else 0
    cdef uint64_t part, begin
    cdef uint32_t i, length
    if position < lengths:
        for i in range(<uint32_t>(position // 4), request.count):
            if bytes < 4:
                break
            length = <uint32_t>request.lengths[i]
            memcpy(target, &length, 4)
            target += 4
            position += 4
            bytes -= 4
    if bytes == 0 or position < lengths:
        return
    position -= lengths
    if request.data == NULL:
        memcpy(target, request.packed + position, bytes)
        return
    begin = 0
    for i in range(request.count):
        if bytes == 0:
            break
        if position < begin + request.lengths[i]:
            part = begin + request.lengths[i] - position
            if part > bytes:
                part = bytes
            memcpy(target, request.data[i] + (position - begin), part)
            target += part
            position += part
            bytes -= part
        begin += request.lengths[i]


cdef bint piece_room(Log *log, Topic *topic, uint64_t left) noexcept nogil:
    """A current chunk with room for a piece worth writing. Holds topic.lock."""
    cdef uint64_t least = FRAME_HEADER_BYTES + FRAME_PIECE_BYTES + PIECE_BYTES_MIN
    cdef Chunk *chunk = topic.current
    if least > FRAME_HEADER_BYTES + FRAME_PIECE_BYTES + frame_padded(left):
        least = FRAME_HEADER_BYTES + FRAME_PIECE_BYTES + frame_padded(left)
    if least > frame_bytes_max(log, topic):
        least = frame_bytes_max(log, topic)
    if chunk != NULL and chunk.groups < CHUNK_GROUPS and chunk.bytes - chunk.written >= least:
        return True
    topic.chunk_class = <int>log.options.chunk_class_max
    topic.chunk_time_ns = walrus_monotonic_ns()
    return chunk_next(log, topic, least, topic.chunk_class)


cdef void piece_write(Log *log, Topic *topic, AppendRequest *request, uint64_t body, uint64_t now) noexcept nogil:
    """The next piece, as large as the current chunk allows. Holds topic.lock; nothing is published."""
    cdef Chunk *chunk = topic.current
    cdef uint8_t *at = chunk.base + chunk.written
    cdef uint64_t left = body - request.body_done
    cdef uint64_t bytes = chunk.bytes - chunk.written - FRAME_HEADER_BYTES - FRAME_PIECE_BYTES
    cdef GroupHeader *group = &chunk.group[chunk.groups]
    cdef bint last
    bytes &= ~<uint64_t>7                           # pieces but the last end at a border of 8: lengths are never torn
    last = left <= bytes
    if last:
        bytes = left
    body_copy(request, request.body_done, at + FRAME_HEADER_BYTES + FRAME_PIECE_BYTES, bytes)
    memset(group, 0, sizeof(GroupHeader))
    group.bytes = frame_seal_piece(at, topic.seed, <uint32_t>log.catalog.epoch,
                                   frame_claim(topic.end, walrus_load64(&topic.durable)), topic.end, now,
                                   <uint32_t>bytes, request.piece_stamp, request.piece_number,
                                   request.piece_number + 1 if last else 0, request.count)
    group.topic_id = topic.id
    group.first = topic.end
    group.count = request.count
    group.epoch = <uint32_t>log.catalog.epoch
    group.position = chunk.written
    group.payload_bytes = <uint32_t>bytes
    group.time_min = now
    group.time_max = now
    group.stamp = request.piece_stamp
    group.piece = request.piece_number
    group.pieces = request.piece_number + 1 if last else 0
    group.kind = GROUP_KIND_PIECE
    group.name_bytes = <uint16_t>topic.name_bytes
    chunk.groups += 1
    chunk.written += group.bytes
    request.body_done += bytes
    request.piece_number += 1


cdef int large_begin(Log *log, Topic *topic, AppendRequest *request, uint64_t deadline_ns) noexcept nogil:
    cdef int result = enter(log, topic, True, deadline_ns)
    if result:
        return result
    topic.busy = True
    request.busy_held = True
    request.piece_stamp = walrus_add64(log.catalog.stamp_word, 1)      # without catalog.lock, which comes before topic.lock
    request.piece_number = 0
    request.body_done = 0
    walrus_unlock(&topic.lock)
    return 0


cdef int append_large(Log *log, Topic *topic, AppendRequest *request, uint64_t deadline_ns, uint64_t *first) noexcept nogil:
    cdef uint64_t body = request.payload_bytes + (4 * <uint64_t>request.count if request.count > 1 else 0)
    cdef uint64_t now = walrus_realtime_ns()
    cdef int result = 0
    if not request.busy_held:
        result = large_begin(log, topic, request, deadline_ns)
        if result:
            return result
    while request.body_done < body:
        walrus_lock(&topic.lock)
        result = log_check(log)
        if result:
            walrus_unlock(&topic.lock)
            return result
        if piece_room(log, topic, body - request.body_done):
            piece_write(log, topic, request, body, now)
            walrus_unlock(&topic.lock)
            continue
        walrus_unlock(&topic.lock)
        result = wait_for_room(log, deadline_ns)
        if result:
            return result
    walrus_lock(&topic.lock)
    result = log_check(log)
    if result:
        walrus_unlock(&topic.lock)
        return result
    topic.payload_bytes += request.payload_bytes
    first[0] = topic.end
    publish(log, topic, topic.current, topic.end + request.count)
    request.busy_held = False
    busy_end(topic)
    walrus_unlock(&topic.lock)
    return 0


cdef void append_abandon(Log *log, Topic *topic, AppendRequest *request) noexcept nogil:
    """Pieces in the open chunk are taken back; those in sealed ones are dead by their stamp."""
    cdef Chunk *chunk
    cdef uint32_t i
    if not request.busy_held:
        return
    walrus_lock(&topic.lock)
    chunk = topic.current
    while chunk != NULL and chunk.groups and chunk.group[chunk.groups - 1].stamp == request.piece_stamp:
        chunk.groups -= 1
        chunk.written = <uint32_t>chunk.group[chunk.groups].position
    chunk = topic.oldest
    while chunk != NULL:
        for i in range(chunk.groups):
            if chunk.group[i].kind == GROUP_KIND_PIECE and chunk.group[i].stamp == request.piece_stamp:
                chunk.group[i].count = 0            # dead: the I/O thread enters no place for it
        chunk = chunk.newer
    places_forget_stamp(topic, request.piece_stamp)
    request.busy_held = False
    busy_end(topic)
    walrus_unlock(&topic.lock)


cdef int append_reserve(Log *log, uint64_t bytes) noexcept nogil:
    """Room for several batches, looked at before the first is published: a full disk changes nothing."""
    cdef int result = log_check(log)
    if result:
        return result
    if walrus_load32(&log.full) and log.staging.free_bytes < bytes:
        return LOG_FULL
    return 0
