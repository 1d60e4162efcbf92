"""Findings: what opening has read of frames, wherever they lay, before it is decided what counts.

Invariants. Only frames whose own checksum is right are entered; headers are believed only for where to look. A run in
here is dense and its epochs do not fall. A bad frame costs itself alone: the walk goes on at the next one that
validates.

A topic that no catalog knows is entered by the name beside its frames, if its id is not of an epoch before the
snapshot's: that snapshot held every topic there was, so an older id was cut by an earlier recovery, and what was cut
never comes back.

Threads: opening alone. No GIL.
"""
from walrus._extent cimport GROUP_KIND_PIECE, GROUP_KIND_RUN, MAX_TOPIC_NAME_BYTES
from walrus._frame cimport FRAME_KIND_PIECE, FrameHeader, FrameView, frame_read, frame_search, frame_seed
from walrus._libc cimport ENOMEM, free, memset, realloc
from walrus._log_state cimport LOG_NO_MEMORY, LOG_TOO_NEW
from walrus._topics cimport topic_by_id, topic_by_name, topic_enter
from libc.stdio cimport snprintf
from libc.string cimport strncpy


cdef int refuse(Log *log, int result, const char *what, const char *file, int code) noexcept nogil:
    log.failure.code = code
    if result == LOG_TOO_NEW:
        snprintf(log.failure.what, sizeof(log.failure.what), b"%s of version %d", what, code)
    else:
        strncpy(log.failure.what, what, sizeof(log.failure.what) - 1)
    strncpy(log.failure.file, file, sizeof(log.failure.file) - 1)
    log.failure.set = 1
    log.failure.told = 1
    return result


cdef void findings_free(Findings *findings) noexcept nogil:
    free(findings.found)
    free(findings.changes)
    free(findings.gaps)
    findings.found = NULL
    findings.changes = NULL
    findings.gaps = NULL


cdef int findings_add(Findings *findings, const Found *found) noexcept nogil:
    cdef uint64_t room
    cdef void *memory
    if findings.count == findings.room:
        room = findings.room * 2 if findings.room else <uint64_t>1024
        memory = realloc(findings.found, room * sizeof(Found))
        if memory == NULL:
            return -ENOMEM
        findings.found = <Found *>memory
        findings.room = room
    findings.found[findings.count] = found[0]
    findings.count += 1
    if found.group.epoch > findings.epoch_seen:
        findings.epoch_seen = found.group.epoch
    if found.group.stamp > findings.stamp_seen:
        findings.stamp_seen = found.group.stamp
    return 0


cdef int findings_gap(Findings *findings, LogFile *file, uint64_t begin, uint64_t end, bint proven) noexcept nogil:
    cdef uint64_t room
    cdef void *memory
    if findings.gap_count == findings.gap_room:
        room = findings.gap_room * 2 if findings.gap_room else <uint64_t>16
        memory = realloc(findings.gaps, room * sizeof(Gap))
        if memory == NULL:
            return -ENOMEM
        findings.gaps = <Gap *>memory
        findings.gap_room = room
    findings.gaps[findings.gap_count] = Gap(file, begin, end, proven)
    findings.gap_count += 1
    findings.log.recovery.headers_damaged += proven
    return 0


cdef int findings_claim(Findings *findings, uint64_t topic_id, uint32_t epoch, uint64_t offset) noexcept nogil:
    cdef Found found
    memset(&found, 0, sizeof(found))
    found.group.topic_id = topic_id
    found.group.epoch = epoch
    found.claim = offset
    return findings_add(findings, &found)


cdef uint32_t frame_version(const uint8_t *at) noexcept nogil:
    return (<const FrameHeader *>at).word >> 28


cdef int piece_found(Findings *findings, const uint8_t *frames, Found *found, uint32_t seed) noexcept nogil:
    cdef GroupHeader *group = &found.group
    cdef FrameView view
    cdef int result = frame_read(frames, group.bytes, seed, &view)
    if result < 0:
        findings.version_met = frame_version(frames)
        return LOG_TOO_NEW
    if (result == 0 or view.kind != FRAME_KIND_PIECE or view.first != group.first or view.stamp != group.stamp
            or view.number != group.piece or view.pieces != group.pieces or view.count != group.count
            or view.epoch != group.epoch):
        return 0
    found.claim = view.durable
    result = findings_add(findings, found)
    return result if result < 0 else 1


cdef inline void run_begin(Found *run, const Found *whole, const FrameView *view, uint64_t at) noexcept nogil:
    run[0] = whole[0]
    run.group.first = view.first
    run.group.count = 0
    run.group.position = whole.group.position + at
    run.group.bytes = 0
    run.group.payload_bytes = 0
    run.group.time_min = view.time_ns
    run.group.time_max = view.time_ns
    run.claim = 0


cdef inline void run_extend(Found *run, const FrameView *view) noexcept nogil:
    run.group.count += view.count
    run.group.epoch = view.epoch
    run.group.bytes += view.size
    run.group.payload_bytes += view.body_bytes
    if view.time_ns < run.group.time_min:
        run.group.time_min = view.time_ns
    if view.time_ns > run.group.time_max:
        run.group.time_max = view.time_ns
    if view.durable > run.claim:
        run.claim = view.durable


cdef int runs_found(Findings *findings, const uint8_t *frames, Found *whole, uint32_t seed) noexcept nogil:
    cdef uint64_t at = 0, bytes = whole.group.bytes, expected = whole.group.first
    cdef uint64_t last = whole.group.first + whole.group.count
    cdef bint running = False, all_valid = True
    cdef FrameView view
    cdef Found run
    cdef int result
    while at < bytes:
        result = frame_read(frames + at, bytes - at, seed, &view)
        if result < 0:
            findings.version_met = frame_version(frames + at)
            return LOG_TOO_NEW
        if (result == 1 and view.kind != FRAME_KIND_PIECE and view.first + view.count <= last
                and (view.first == expected and view.epoch >= run.group.epoch if running else view.first >= expected)):
            if not running:
                run_begin(&run, whole, &view, at)
                running = True
            run_extend(&run, &view)
            expected = view.first + view.count
            at += view.size
            continue
        all_valid = False
        if running and findings_add(findings, &run) < 0:
            return -ENOMEM
        if running and result == 1:
            running = False                         # it may begin a run of its own
            continue
        running = False
        if bytes - at <= 8:
            break
        at += 8 + frame_search(frames + at + 8, bytes - at - 8, seed, &view)
    if running and findings_add(findings, &run) < 0:
        return -ENOMEM
    return 1 if all_valid and expected == last else 0


cdef int findings_group(Findings *findings, const uint8_t *frames, const GroupHeader *group, LogFile *file,
                        uint32_t source) noexcept nogil:
    cdef Found whole
    cdef uint32_t seed = frame_seed(findings.log.catalog.log_id, group.topic_id)
    cdef int result
    memset(&whole, 0, sizeof(whole))
    whole.group = group[0]
    whole.group.name_bytes = 0
    whole.file = file
    whole.source = source
    if group.kind == GROUP_KIND_PIECE:
        result = piece_found(findings, frames, &whole, seed)
    elif group.kind == GROUP_KIND_RUN:
        result = runs_found(findings, frames, &whole, seed)
    else:
        return 0
    if result == LOG_TOO_NEW:
        return refuse(findings.log, LOG_TOO_NEW, b"a frame", file.file.name, <int>findings.version_met)
    return result


cdef Topic *findings_topic(Findings *findings, uint64_t id, const uint8_t *name, uint32_t name_bytes,
                           int *code) noexcept nogil:
    cdef Log *log = findings.log
    cdef Topic *topic = topic_by_id(&log.topics, id)
    code[0] = 0
    if topic != NULL or name_bytes == 0 or name_bytes > MAX_TOPIC_NAME_BYTES or (id >> 32) < findings.snapshot_epoch:
        return topic
    if topic_by_name(&log.topics, name, name_bytes) != NULL:
        return NULL
    topic = topic_enter(&log.topics, log.catalog.log_id, id, name, name_bytes)
    if topic == NULL:
        code[0] = LOG_NO_MEMORY
        return NULL
    topic.retention = <uint8_t>log.options.retention
    topic.retention_bytes = log.options.retention_bytes
    return topic
