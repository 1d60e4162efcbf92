"""Salvage: frames of extents and records whose header is damaged, found by their own checksums in the gaps between those that are not.

A damaged header costs no frame: each proves itself by its checksum, seeded with log and topic. At most SALVAGE_TOPICS_MAX topics
are looked for: in a gap that is proven to be damage all, else those that miss something that was promised. Pieces of large
frames are not put together.

Threads: opening alone. No GIL.
"""
from walrus._extent cimport GROUP_KIND_RUN
from walrus._findings cimport SOURCE_EXTENT, SOURCE_JOURNAL, Found, Gap, findings_add
from walrus._frame cimport FRAME_KIND_PIECE, FrameView, frame_search
from walrus._libc cimport ENOMEM, memset, uint8_t, uint32_t, uint64_t
from walrus._log_state cimport Log
from walrus._logfiles cimport LOGFILE_JOURNAL, LogFile, logfile_note
from walrus._scan cimport window_at, window_begin
from walrus._topics cimport Topic

cdef enum:
    SALVAGE_TOPICS_MAX = 256
    STEP_BYTES = 4194304
    OVERLAP_BYTES = 2097152             # a frame is shorter: one that begins in a step ends in what is read with it


cdef bint known(const Findings *findings, const Topic *topic, const FrameView *view) noexcept nogil:
    """Something that was found already has these entries."""
    cdef uint64_t i
    cdef const Found *found
    for i in range(findings.count):
        found = &findings.found[i]
        if (found.group.topic_id == topic.id and found.group.count and found.group.first <= view.first
                and view.first + view.count <= found.group.first + found.group.count):
            return True
    return False


cdef int keep(Findings *findings, const Topic *topic, LogFile *file, const FrameView *view, uint64_t position) noexcept nogil:
    cdef Found found
    memset(&found, 0, sizeof(found))
    found.group.topic_id = topic.id
    found.group.first = view.first
    found.group.count = view.count
    found.group.epoch = view.epoch
    found.group.position = position
    found.group.bytes = view.size
    found.group.payload_bytes = view.body_bytes
    found.group.time_min = view.time_ns
    found.group.time_max = view.time_ns
    found.group.kind = GROUP_KIND_RUN
    found.claim = view.durable
    found.file = file
    found.source = SOURCE_JOURNAL if file.state == LOGFILE_JOURNAL else SOURCE_EXTENT
    if findings_add(findings, &found) < 0:
        return -ENOMEM
    return logfile_note(file, &found.group) if found.source == SOURCE_EXTENT else 0


cdef int step_search(Findings *findings, LogFile *file, const Topic *topic, const uint8_t *memory, uint64_t bytes,
                     uint64_t position) noexcept nogil:
    """The topic's frames that begin in the first STEP_BYTES of `memory`, which lies at `position` of the file."""
    cdef FrameView view
    cdef uint64_t at = 0
    while at < bytes and at < STEP_BYTES:
        at += frame_search(memory + at, bytes - at, topic.seed, &view)
        if at >= bytes or at >= STEP_BYTES:
            break
        if view.kind != FRAME_KIND_PIECE and not known(findings, topic, &view):
            if keep(findings, topic, file, &view, position + at) < 0:
                return -ENOMEM
        at += view.size
    return 0


cdef int gap_search(Findings *findings, Window *window, const Gap *gap) noexcept nogil:
    cdef Log *log = findings.log
    cdef uint64_t position = gap.begin, bytes, i
    cdef uint32_t looked
    cdef const uint8_t *memory
    cdef int code = 0
    window_begin(window, &log.device, &gap.file.file)
    while position < gap.end:
        bytes = gap.end - position
        if bytes > STEP_BYTES + OVERLAP_BYTES:
            bytes = STEP_BYTES + OVERLAP_BYTES
        memory = window_at(window, position, bytes, bytes, &code)
        if code == -ENOMEM:
            return code
        looked = 0
        for i in range(log.topics.count):
            if memory == NULL or looked == SALVAGE_TOPICS_MAX:
                break
            if gap.proven or log.topics.by_number[i].suspect:
                looked += 1
                if step_search(findings, gap.file, log.topics.by_number[i], memory, bytes, position) < 0:
                    return -ENOMEM
        position += STEP_BYTES
    return 0


cdef int salvage(Findings *findings, Window *window) noexcept nogil:
    cdef uint64_t i
    cdef int result = 0
    for i in range(findings.gap_count):
        if result == 0:
            result = gap_search(findings, window, &findings.gaps[i])
    return result
