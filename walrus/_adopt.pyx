"""Adopt: the chunks that an earlier open left in the staging file, taken over where they are.

Invariants. The file counts only if its head validates and names the log and the nonce of the snapshot; a slot counts
if it is USED, its generation is even and its checksum is right; then frames prove themselves: they are walked from
data_start on, dense, of no older epoch than the slot's, to where they stop validating. Nothing in the file is changed
before the new snapshot is flushed.

In the boot that wrote it, what a slot calls published must be there, for the page cache outlives a killed process:
what is missing then is damage, and claimed.

Threads: opening alone. No GIL.
"""
from walrus._append cimport chunk_enqueue
from walrus._checksum cimport crc32c
from walrus._device cimport FILE_BUFFERED, device_read, file_close, file_open
from walrus._extent cimport BLOCK_BYTES, GROUP_KIND_PIECE, GROUP_KIND_RUN, GroupHeader
from walrus._findings cimport SOURCE_STAGING, findings_add, findings_claim, findings_topic, frame_version, refuse
from walrus._frame cimport (FRAME_HEADER_BYTES, FRAME_KIND_PIECE, FrameView, frame_peek, frame_read, frame_search,
                            frame_seed)
from walrus._libc cimport (ENOENT, ENOMEM, free, int64_t, memcmp, memset, posix_memalign, uint16_t, uint32_t,
                           walrus_store64)
from walrus._log_state cimport LOG_TOO_NEW
from walrus._staging cimport (CHUNK_BYTES_MIN, CHUNK_CLASSES, CHUNK_GROUPS, CHUNK_SEALED, REGION_BYTES, SLOT_USED,
                              STAGING_MAGIC, STAGING_VERSION, ChunkSlot, Staging, StagingHead, chunk_adopt,
                              chunk_data_start, chunk_give_back, class_bytes, name_position, slot_crc)


# ---------------------------------------------------------------------------------------------------------- the head

cdef int head_judge(Log *log, const StagingHead *head, uint64_t file_bytes, const uint8_t *nonce) noexcept nogil:
    cdef uint64_t area = <uint64_t>head.slots * CHUNK_BYTES_MIN
    if head.magic == 0:
        return STAGING_NONE
    if head.magic != STAGING_MAGIC or head.crc != crc32c(0, <const uint8_t *>head + 4, sizeof(StagingHead) - 4):
        return STAGING_FOREIGN
    if head.version > STAGING_VERSION:
        return refuse(log, LOG_TOO_NEW, b"a staging file", b"staging", <int>head.version)
    if memcmp(head.log_id, log.catalog.log_id, 16) or memcmp(head.nonce, nonce, 16):
        return STAGING_FOREIGN
    if (area == 0 or area % REGION_BYTES or head.chunks_position % BLOCK_BYTES or head.bytes > file_bytes
            or BLOCK_BYTES + head.slots * sizeof(ChunkSlot) > head.chunks_position
            or head.chunks_position > head.bytes or area > head.bytes - head.chunks_position):
        return STAGING_FOREIGN
    return STAGING_OURS


cdef int staging_look(Log *log, const uint8_t *nonce, bint *same_boot, uint64_t *area_bytes) noexcept nogil:
    cdef void *block = NULL
    cdef const StagingHead *head
    cdef int64_t got
    cdef int result = file_open(&log.device, &log.staging.file, b"staging", FILE_BUFFERED)
    same_boot[0] = False
    area_bytes[0] = 0
    if result == -ENOENT:
        return STAGING_NONE
    if result < 0:
        return result
    if posix_memalign(&block, BLOCK_BYTES, BLOCK_BYTES):
        result = -ENOMEM
    else:
        memset(block, 0, BLOCK_BYTES)
        got = device_read(&log.device, &log.staging.file, block, BLOCK_BYTES, 0)
        head = <const StagingHead *>block
        result = <int>got if got < 0 else head_judge(log, head, log.staging.file.size, nonce)
        if result == STAGING_OURS:
            same_boot[0] = memcmp(head.boot_id, log.catalog.boot_id, 16) == 0
            area_bytes[0] = <uint64_t>head.slots * CHUNK_BYTES_MIN
    free(block)
    file_close(&log.device, &log.staging.file)
    return result


# ------------------------------------------------------------------------------------------------------------ frames

ctypedef struct Walk:
    Found found                     # the run under way; a piece
    uint32_t at
    uint32_t emitted
    bint running
    uint64_t expected


cdef int run_close(Findings *findings, Walk *walk) noexcept nogil:
    if not walk.running:
        return 0
    walk.running = False
    walk.emitted += 1
    return findings_add(findings, &walk.found)


cdef void found_begin(Walk *walk, uint64_t topic_id, Chunk *chunk, const FrameView *view) noexcept nogil:
    memset(&walk.found, 0, sizeof(Found))
    walk.found.source = SOURCE_STAGING
    walk.found.chunk = chunk
    walk.found.group.topic_id = topic_id
    walk.found.group.first = view.first
    walk.found.group.position = walk.at
    walk.found.group.time_min = view.time_ns
    walk.found.group.time_max = view.time_ns


cdef void found_extend(Walk *walk, const FrameView *view) noexcept nogil:
    walk.found.group.count += view.count
    walk.found.group.epoch = view.epoch
    walk.found.group.bytes += view.size
    walk.found.group.payload_bytes += view.body_bytes
    if view.time_ns < walk.found.group.time_min:
        walk.found.group.time_min = view.time_ns
    if view.time_ns > walk.found.group.time_max:
        walk.found.group.time_max = view.time_ns
    if view.durable > walk.found.claim:
        walk.found.claim = view.durable


cdef int frame_take(Findings *findings, Walk *walk, uint64_t topic_id, Chunk *chunk,
                    const FrameView *view) noexcept nogil:
    """A valid frame at walk.at. 1; 0: a chunk holds no more groups than that; -ENOMEM."""
    cdef bint goes_on = (walk.running and view.kind != FRAME_KIND_PIECE and view.first == walk.expected
                         and view.epoch >= walk.found.group.epoch)
    if not goes_on:
        if run_close(findings, walk) < 0:
            return -ENOMEM
        if walk.emitted >= CHUNK_GROUPS:
            return 0
    if view.kind == FRAME_KIND_PIECE:
        found_begin(walk, topic_id, chunk, view)
        found_extend(walk, view)
        walk.found.group.kind = GROUP_KIND_PIECE
        walk.found.group.stamp = view.stamp
        walk.found.group.piece = view.number
        walk.found.group.pieces = view.pieces
        walk.running = True
        if view.pieces:
            walk.expected = view.first + view.count
        return -ENOMEM if run_close(findings, walk) < 0 else 1
    if not walk.running:
        found_begin(walk, topic_id, chunk, view)
        walk.running = True
    found_extend(walk, view)
    walk.expected = view.first + view.count
    return 1


cdef int frames_walk(Findings *findings, Chunk *chunk) noexcept nogil:
    """To where they stop validating; within what was promised, a bad one costs itself alone."""
    cdef const ChunkSlot *slot = chunk.slot
    cdef uint32_t seed = frame_seed(findings.log.catalog.log_id, slot.topic_id)
    cdef uint64_t end_max = slot.first + chunk.bytes // 4, claimed       # an entry takes 4 bytes at the least
    cdef FrameView view
    cdef Walk walk
    cdef int result
    memset(&walk, 0, sizeof(walk))
    walk.at = slot.data_start
    walk.expected = slot.first
    while walk.at + FRAME_HEADER_BYTES <= chunk.bytes:
        result = frame_read(chunk.base + walk.at, chunk.bytes - walk.at, seed, &view)
        if result < 0:
            return refuse(findings.log, LOG_TOO_NEW, b"a frame", b"staging",
                          <int>frame_version(chunk.base + walk.at))
        if (result == 1 and view.epoch >= slot.epoch and view.first >= walk.expected and view.first <= end_max
                and (view.first == walk.expected or (findings.same_boot and walk.at < slot.used))):
            result = frame_take(findings, &walk, slot.topic_id, chunk, &view)
            if result < 0:
                return -ENOMEM
            if result == 0:
                break
            walk.at += view.size
            continue
        if not findings.same_boot or walk.at >= slot.used or chunk.bytes - walk.at <= 8:
            break
        walk.at += 8 + <uint32_t>frame_search(chunk.base + walk.at + 8, chunk.bytes - walk.at - 8, seed, &view)
    if run_close(findings, &walk) < 0:
        return -ENOMEM
    if findings.same_boot and slot.end > walk.expected:
        # slot.end has no checksum: what it says beyond reason is not believed, but something is missing all the same.
        claimed = slot.end if slot.end <= end_max else walk.expected + 1
        return findings_claim(findings, slot.topic_id, slot.epoch, claimed)
    return 0


cdef bint slot_counts(const Staging *staging, uint32_t index) noexcept nogil:
    cdef const ChunkSlot *slot = staging.slots + index
    if slot.state != SLOT_USED or slot.generation % 2 or slot.chunk_class >= CHUNK_CLASSES:
        return False
    if (slot.data_start != chunk_data_start(slot.chunk_class, slot.name_bytes)
            or slot.data_start > class_bytes(slot.chunk_class)
            or index % (class_bytes(slot.chunk_class) // CHUNK_BYTES_MIN)):
        return False
    return slot.crc == slot_crc(slot, staging.chunks + <uint64_t>index * CHUNK_BYTES_MIN)


cdef int adopt_slots(Findings *findings) noexcept nogil:
    cdef Log *log = findings.log
    cdef ChunkSlot *slot
    cdef Chunk *chunk
    cdef uint32_t i
    cdef int code
    for i in range(log.staging.slot_count):
        slot = log.staging.slots + i
        if not slot_counts(&log.staging, i):
            continue
        chunk = chunk_adopt(&log.staging, i, slot.chunk_class)
        if chunk == NULL:
            continue
        chunk.topic = NULL
        findings_topic(findings, slot.topic_id, chunk.base + name_position(slot.chunk_class, slot.name_bytes),
                       slot.name_bytes, &code)
        if code == 0:
            code = frames_walk(findings, chunk)
        if code < 0:
            return code
        if slot.epoch > findings.epoch_seen:
            findings.epoch_seen = slot.epoch
    return 0


# ---------------------------------------------------------------------------------------------------------- adopting

cdef uint64_t run_payload(const uint8_t *frames, uint64_t bytes, uint64_t first, uint64_t end,
                          uint64_t *position) noexcept nogil:
    cdef FrameView view
    cdef uint64_t at = 0, payload = 0
    while at < bytes and frame_peek(frames + at, bytes - at, &view) == 1 and view.first + view.count <= end:
        if view.first >= first:
            payload += view.body_bytes
        at += view.size
    position[0] = at
    return payload


cdef void chunk_begin(Topic *topic, Chunk *chunk, uint64_t first, Chunk **last, uint64_t journal_use) noexcept nogil:
    """As bound, with nothing in it; the last in its topic's list."""
    chunk.topic = topic
    chunk.newer = NULL
    chunk.data_start = chunk.slot.data_start
    chunk.written = chunk.data_start
    chunk.used = chunk.data_start
    chunk.journaled = chunk.data_start
    chunk.first = first
    chunk.end = first
    chunk.journaled_end = first
    chunk.journaled_payload = 0
    chunk.payload_bytes = 0
    chunk.journal_use = journal_use
    chunk.groups = 0
    chunk.pins = 0
    chunk.doomed = 0
    if last[0] == NULL:
        topic.oldest = chunk
    else:
        last[0].newer = chunk
    last[0] = chunk


cdef void adopt_frames(Log *log, Topic *topic, const Found *found, uint64_t from_offset, Chunk **last,
                       uint64_t journal_use) noexcept nogil:
    cdef Chunk *chunk = found.chunk
    cdef GroupHeader *group
    cdef uint64_t position
    if chunk.topic == NULL:
        chunk_begin(topic, chunk, found.group.first, last, journal_use)
        log.recovery.chunks_adopted += 1
    group = &chunk.group[chunk.groups]
    chunk.groups += 1
    group[0] = found.group
    group.name_bytes = <uint16_t>topic.name_bytes
    if group.kind == GROUP_KIND_RUN and (found.end < group.first + group.count or group.first < from_offset):
        # What another place counts already is not counted again: the sum over places is the topic's.
        group.payload_bytes = <uint32_t>run_payload(chunk.base + group.position, group.bytes, from_offset, found.end,
                                                    &position)
        group.bytes = <uint32_t>position
        group.count = <uint32_t>(found.end - group.first)
    if group.position + group.bytes > chunk.written:
        chunk.written = <uint32_t>(group.position + group.bytes)
        chunk.used = chunk.written
    if found.end > chunk.end and (group.kind == GROUP_KIND_RUN or group.pieces):
        chunk.end = found.end
    chunk.payload_bytes += group.payload_bytes
    topic.payload_bytes += group.payload_bytes


cdef void adopt_queue(Log *log, Topic *topic) noexcept nogil:
    cdef Chunk *chunk = topic.oldest
    while chunk != NULL:
        chunk_enqueue(log, chunk)
        chunk = chunk.newer


cdef void adopt_settle(Log *log) noexcept nogil:
    cdef uint32_t i
    cdef Chunk *chunk
    for i in range(log.staging.slot_count):
        chunk = &log.staging.chunk[i]
        if chunk.state != CHUNK_SEALED:
            continue
        if chunk.topic == NULL:
            chunk_give_back(&log.staging, chunk)
        else:
            walrus_store64(&chunk.slot.used, chunk.used)
            walrus_store64(&chunk.slot.end, chunk.end)
