"""Truncation of a topic to a frame's border: a catalog change under a new epoch, durable before anything is appended behind it.

Rules kept here: cut_epoch (a new epoch, entered with the offset into the topic's list), cut_durable (durable before it
returns; the topic is `busy` until then, so nothing is appended behind it), snap_quiet (the change is stamped and entered
under one hold of catalog.lock, under which a snapshot is put together: that holds all of it or nothing). What the topic
had beyond the offset is dead by the epoch list, wherever it lies; the chunks and places in memory are trimmed.

Threads: any; the topic is busy meanwhile, cursors beyond the end are set back under catalog.lock. No GIL.
"""
from walrus._append cimport topic_mark_dirty, topic_seal
from walrus._catalog cimport catalog_change
from walrus._changes cimport CHANGE_CUT, Change
from walrus._control cimport ControlTopic
from walrus._cursors cimport cursor_set_back
from walrus._extent cimport GROUP_KIND_PIECE, GroupHeader
from walrus._group_commit cimport sync_ticket, sync_wait
from walrus._libc cimport (WALRUS_DEBUG, memset, uint32_t, uint64_t, walrus_add32, walrus_futex_wake, walrus_load32, walrus_lock,
                           walrus_sleep_ns, walrus_store64, walrus_unlock)
from walrus._log_state cimport LOG_INTERRUPTED, LOG_OUT_OF_RANGE, LOG_WOULD_BLOCK, log_check
from walrus._read cimport read_is_border, read_payload_bytes
from walrus._rules cimport RULE_CUT_DURABLE, RULE_CUT_EPOCH, RULE_SNAP_QUIET, rule_broken
from walrus._staging cimport Chunk
from walrus._topics cimport Cursor, Place, topic_renew


cdef enum:
    BROKEN_NS = 2000000             # for a snapshot to come between, where snap_quiet is broken


cdef int begin(Log *log, Topic *topic, uint64_t offset) noexcept nogil:
    """The topic takes no appends from here on. LOG_WOULD_BLOCK: it is busy already."""
    cdef int result = log_check(log)
    if result:
        return result
    walrus_lock(&topic.lock)
    if topic.busy:
        result = LOG_WOULD_BLOCK
    elif offset < topic.low or offset > topic.end:
        result = LOG_OUT_OF_RANGE
    else:
        topic.busy = True
    walrus_unlock(&topic.lock)
    return result


cdef void end(Topic *topic) noexcept nogil:
    walrus_lock(&topic.lock)
    topic.busy = False
    walrus_add32(&topic.busy_word, 1)
    if walrus_load32(&topic.busy_waiters):
        walrus_futex_wake(&topic.busy_word, 0x7FFFFFFF, 0)
    walrus_unlock(&topic.lock)


cdef uint64_t split_end(Topic *topic, uint64_t offset) noexcept nogil:
    """Where the run of frames ends that the offset is in the middle of; the offset itself where it is between two."""
    cdef Chunk *chunk = topic.oldest
    cdef uint64_t i, end = offset
    cdef uint32_t j
    for i in range(topic.places_from, topic.places_count):
        if topic.places[i].group.first < offset < topic.places[i].end:
            return topic.places[i].end              # of places that overlap, the first is charged with what both have
    while chunk != NULL:
        for j in range(chunk.groups):
            if (chunk.group[j].kind != GROUP_KIND_PIECE
                    and chunk.group[j].first < offset < chunk.group[j].first + chunk.group[j].count):
                end = chunk.group[j].first + chunk.group[j].count
        chunk = chunk.newer
    return end


cdef void chunks_trim(Topic *topic, uint64_t offset, uint64_t split_bytes) noexcept nogil:
    """Holds topic.lock. All chunks are sealed: what lies behind the offset stays in them, dead by its epoch."""
    cdef Chunk *chunk = topic.oldest
    cdef GroupHeader *group
    cdef uint32_t i
    while chunk != NULL:
        for i in range(chunk.groups):
            group = &chunk.group[i]
            if group.first >= offset:
                group.count = 0
                group.payload_bytes = 0
            elif group.kind != GROUP_KIND_PIECE and group.first + group.count > offset:
                group.count = <uint32_t>(offset - group.first)
                group.payload_bytes -= <uint32_t>split_bytes
        if chunk.end > offset:
            chunk.end = offset
        chunk = chunk.newer


cdef void places_trim(Topic *topic, uint64_t offset, uint64_t split_bytes) noexcept nogil:
    """Holds topic.lock. A dead place keeps its file alive until the watermark has passed it: rare, and safe."""
    cdef uint64_t i, charged_to = 0
    cdef Place *place
    for i in range(topic.places_from, topic.places_count):
        place = &topic.places[i]
        if place.end > offset:
            if place.group.first >= offset or charged_to >= offset:
                place.group.payload_bytes = 0
            else:
                place.group.payload_bytes -= <uint32_t>split_bytes
            charged_to = place.end
            place.end = offset if place.group.first < offset else place.group.first
        elif place.end > charged_to:
            charged_to = place.end


cdef int cut(Log *log, Topic *topic, uint64_t offset, uint64_t split_bytes, uint64_t cut_bytes) noexcept nogil:
    """The change, and the state of this process as if it had always been so."""
    cdef Change change
    cdef ControlTopic *shared = <ControlTopic *>topic.control
    cdef int result
    memset(&change, 0, sizeof(change))
    change.kind = CHANGE_CUT
    change.topic_id = topic.id
    change.value = offset
    if not (WALRUS_DEBUG and rule_broken(RULE_CUT_EPOCH)):
        log.catalog.epoch += 1
    change.extra = log.catalog.epoch
    result = catalog_change(&log.catalog, &change, NULL)
    if result < 0:
        return result
    if WALRUS_DEBUG and rule_broken(RULE_SNAP_QUIET):
        walrus_unlock(&log.catalog.lock)
        walrus_sleep_ns(BROKEN_NS)
        walrus_lock(&log.catalog.lock)
    walrus_store64(&log.catalog.cut_stamp, change.stamp)
    walrus_lock(&topic.lock)
    topic_seal(log, topic)
    result = topic_renew(topic, log.catalog.epoch, offset)
    chunks_trim(topic, offset, split_bytes)
    places_trim(topic, offset, split_bytes)
    topic.payload_bytes -= cut_bytes
    walrus_store64(&topic.end, offset)
    if topic.durable > offset:
        walrus_store64(&topic.durable, offset)
    if topic.syncing_end > offset:
        topic.syncing_end = offset                  # of a sync under way, which will publish it
    if shared != NULL:
        shared.payload_bytes = topic.payload_bytes
        walrus_store64(&shared.durable, topic.durable)
        walrus_store64(&shared.end, offset)
    if not topic.dirty:
        topic_mark_dirty(log, topic)
    walrus_unlock(&topic.lock)
    return result


cdef int cursors_clamp(Log *log, Topic *topic, uint64_t offset) noexcept nogil:
    cdef Cursor *cursor = topic.cursors
    cdef int result = 0
    while cursor != NULL and result >= 0:
        walrus_lock(&cursor.lock)
        if cursor.position > offset:
            cursor.position = offset
        result = cursor_set_back(cursor, &log.catalog, offset)
        walrus_unlock(&cursor.lock)
        cursor = cursor.next
    return result


cdef int settle(Log *log) noexcept nogil:
    """A sync from begin to end, however long it takes."""
    cdef uint64_t ticket = sync_ticket(log)
    cdef int result = LOG_INTERRUPTED
    while result == LOG_INTERRUPTED:
        result = sync_wait(log, ticket, 0)
    return result


cdef int topic_truncate(Log *log, Topic *topic, uint64_t offset) noexcept nogil:
    cdef int result
    cdef uint64_t behind, split_bytes = 0, cut_bytes = 0
    result = begin(log, topic, offset)
    if result:
        return result
    if not read_is_border(log, topic, offset):
        result = LOG_OUT_OF_RANGE
    if result == 0:
        walrus_lock(&topic.lock)
        behind = split_end(topic, offset)
        walrus_unlock(&topic.lock)
        result = read_payload_bytes(log, topic, offset, behind, &split_bytes)
    if result == 0:
        result = read_payload_bytes(log, topic, behind, topic.end, &cut_bytes)
        cut_bytes += split_bytes
    if result:
        end(topic)
        return result
    walrus_lock(&log.catalog.lock)
    result = cut(log, topic, offset, split_bytes, cut_bytes)
    walrus_unlock(&log.catalog.lock)
    if result == 0:
        result = cursors_clamp(log, topic, offset)
    if result == 0 and not (WALRUS_DEBUG and rule_broken(RULE_CUT_DURABLE)):
        result = settle(log)
    end(topic)
    return result
