"""Space: low watermarks by retention, files recycled, holes punched.

Rules kept here: low_cursor (a watermark rises at most to where the lowest cursor stands now, and its change is stamped behind the
cursors' changes), recycle_low (places are dropped, and with them a file's claim to live, only below the *durable* watermark),
punch_listed (holes only in files that a flushed snapshot lists).

Threads: watermarks under catalog.lock, then topic.lock; files are the I/O thread's. No GIL.
"""
from walrus._catalog cimport catalog_change
from walrus._changes cimport CHANGE_LOW, Change
from walrus._control cimport ControlTopic
from walrus._cursors cimport cursors_lowest
from walrus._device cimport device_unlink, file_punch
from walrus._extent cimport BLOCK_BYTES, GROUP_KIND_PIECE
from walrus._libc cimport (ENOMEM, EOPNOTSUPP, WALRUS_DEBUG, free, malloc, memset, uint32_t, uint64_t, walrus_add64,
                           walrus_load32, walrus_load64, walrus_lock, walrus_monotonic_ns, walrus_store32, walrus_store64,
                           walrus_unlock)
from walrus._log_state cimport log_fail
from walrus._logfiles cimport (LOGFILE_FLUSHED, LOGFILE_JOURNAL, LOGFILE_LISTED, LOGFILE_SPARE, SPARE_FILES_MAX,
                               LogFile, logfile_clear, logfile_drop, logfile_name)
from walrus._read_cache cimport read_cache_forget
from walrus._rules cimport RULE_LOW_CURSOR, RULE_PUNCH_LISTED, RULE_RECYCLE_LOW, rule_broken
from walrus._topics cimport Cursor, Place, Topic, topic_next
from libc.stdlib cimport qsort

cdef enum:
    PUNCH_NS = 2000000000           # that nothing more of a file has to have died


# ------------------------------------------------------------------------------------------------------- watermarks

cdef uint64_t low_by_bytes(Topic *topic) noexcept nogil:
    """The highest place border that still leaves retention_bytes behind it. Holds topic.lock.

    All pieces of a large frame end at the same offset: that is a border when the last of them has been counted.
    """
    cdef uint64_t i, left = topic.payload_bytes, low = topic.low, border = topic.low
    cdef const Place *place
    for i in range(topic.places_from, topic.places_count):
        place = &topic.places[i]
        if place.end <= topic.low:                  # let go already, and counted until the watermark is durable
            left -= place.group.payload_bytes
            continue
        if place.group.first >= border:
            low = border
        if left < place.group.payload_bytes + topic.retention_bytes:
            break
        left -= place.group.payload_bytes
        if place.end <= topic.durable:
            border = place.end
            if place.group.kind != GROUP_KIND_PIECE:
                low = border
    return low


cdef uint64_t low_by_cursors(Topic *topic) noexcept nogil:
    """low_cursor: where the lowest cursor stands now; without any, nothing may go."""
    cdef uint64_t low = cursors_lowest(topic)
    cdef Cursor *cursor = topic.cursors
    if WALRUS_DEBUG and rule_broken(RULE_LOW_CURSOR):
        while cursor != NULL:                       # where a cursor was, not where it is
            if cursor.highest > low or low == <uint64_t>-1:
                low = cursor.highest
            cursor = cursor.next
    cdef uint64_t durable = walrus_load64(&topic.durable)
    if low == <uint64_t>-1:
        return topic.low
    return low if low < durable else durable


cdef int low_raise(Log *log, Topic *topic, uint64_t low) noexcept nogil:
    """Holds catalog.lock and topic.lock."""
    cdef Change change
    cdef ControlTopic *shared = <ControlTopic *>topic.control
    memset(&change, 0, sizeof(change))
    change.kind = CHANGE_LOW
    change.topic_id = topic.id
    change.value = low
    if catalog_change(&log.catalog, &change, NULL) < 0:
        return -ENOMEM
    walrus_store64(&topic.low, low)
    if shared != NULL:
        walrus_store64(&shared.low, low)
    if WALRUS_DEBUG and rule_broken(RULE_RECYCLE_LOW):
        topic.low_durable = low
        walrus_store32(&log.release_wanted, 1)
    return 0


cdef int space_raise_watermarks(Log *log) noexcept nogil:
    cdef uint64_t at = 0, low
    cdef int changed = 0, result = 0
    cdef Topic *topic = topic_next(&log.topics, &at)
    while topic != NULL and result == 0:
        if topic.retention and topic.range_count == 0:      # a damaged one keeps what it has, until it is repaired
            walrus_lock(&log.catalog.lock)
            walrus_lock(&topic.lock)
            low = low_by_cursors(topic) if topic.retention == 1 else low_by_bytes(topic)
            if low > topic.low:
                result = low_raise(log, topic, low)
                changed += 1
            walrus_unlock(&topic.lock)
            walrus_unlock(&log.catalog.lock)
        topic = topic_next(&log.topics, &at)
    return result if result < 0 else changed


# -------------------------------------------------------------------------------------------------------- releasing

cdef void places_release(Topic *topic) noexcept nogil:
    """Places wholly below the durable watermark no longer keep their file. Holds topic.lock."""
    cdef ControlTopic *shared = <ControlTopic *>topic.control
    cdef Place *place
    while topic.places_from < topic.places_count:
        place = &topic.places[topic.places_from]
        if place.end > topic.low_durable:
            break
        if place.file.state != LOGFILE_JOURNAL:
            walrus_add64(&place.file.live, <uint64_t>-1)
            walrus_add64(&place.file.live_bytes, <uint64_t>0 - place.group.bytes)
        topic.payload_bytes -= place.group.payload_bytes
        if place.group.kind == GROUP_KIND_PIECE and place.group.piece == 0 and place.group.count > 1:
            topic.payload_bytes += 4 * <uint64_t>place.group.count      # the lengths at a large batch's beginning are no payload
        topic.places_from += 1
    if shared != NULL:
        shared.payload_bytes = topic.payload_bytes


cdef LogFile *dead_file(Log *log) noexcept nogil:
    cdef LogFile *file
    walrus_lock(&log.files.lock)
    file = log.files.first
    while file != NULL:
        if ((file.state == LOGFILE_FLUSHED or file.state == LOGFILE_LISTED) and walrus_load64(&file.live) == 0
                and walrus_load32(&file.pins) == 0 and file.in_flight == 0):
            file.state = LOGFILE_SPARE
            walrus_store32(&file.unflushed, 0)      # nobody flushes, and so pins, it any more
            break
        file = file.next
    walrus_unlock(&log.files.lock)
    return file


cdef uint32_t spare_count(Log *log) noexcept nogil:
    cdef uint32_t count = 0
    cdef LogFile *file = log.files.first
    while file != NULL:
        count += file.state == LOGFILE_SPARE
        file = file.next
    return count


cdef int file_retire(Log *log, LogFile *file) noexcept nogil:
    """A spare one for the next use, or off the disk: space comes back to the file system."""
    cdef char name[64]
    cdef int result
    read_cache_forget(log, file)
    if spare_count(log) <= SPARE_FILES_MAX and file.file.size >= log.files.bytes_wanted:
        result = logfile_clear(file, &log.device)
        return log_fail(log, -result, b"write", file.file.name) if result < 0 else 0
    logfile_name(name, file.name)
    result = device_unlink(&log.device, name)
    if result < 0:
        return log_fail(log, -result, b"remove", name)
    log.files.total_bytes -= file.file.size
    logfile_drop(&log.files, &log.device, file)
    return 0


cdef int space_release(Log *log) noexcept nogil:
    cdef uint64_t at = 0
    cdef Topic *topic = topic_next(&log.topics, &at)
    cdef LogFile *file
    cdef int result
    while topic != NULL:
        walrus_lock(&topic.lock)
        places_release(topic)
        walrus_unlock(&topic.lock)
        topic = topic_next(&log.topics, &at)
    file = dead_file(log)
    while file != NULL:
        result = file_retire(log, file)
        if result:
            return result
        walrus_store32(&log.full, 0)
        file = dead_file(log)
    return 0


# --------------------------------------------------------------------------------------------------------- punching

ctypedef struct Range:
    uint64_t begin
    uint64_t end


cdef int by_begin(const void *a, const void *b) noexcept nogil:
    cdef uint64_t left = (<Range *>a).begin, right = (<Range *>b).begin
    return -1 if left < right else (1 if left > right else 0)


cdef uint64_t live_ranges(Log *log, LogFile *file, Range *ranges, uint64_t room) noexcept nogil:
    """Block-aligned ranges of the file's live groups; more than `room` of them are counted only."""
    cdef uint64_t at = 0, j, count = 0
    cdef Topic *topic = topic_next(&log.topics, &at)
    cdef Place *place
    while topic != NULL:
        walrus_lock(&topic.lock)
        for j in range(topic.places_from, topic.places_count):
            place = &topic.places[j]
            if place.file != file:
                continue
            if count < room:
                ranges[count].begin = place.group.position & ~<uint64_t>(BLOCK_BYTES - 1)
                ranges[count].end = ((place.group.position + place.group.bytes + BLOCK_BYTES - 1)
                                     & ~<uint64_t>(BLOCK_BYTES - 1))
            count += 1
        walrus_unlock(&topic.lock)
        topic = topic_next(&log.topics, &at)
    return count


cdef int punch_between(Log *log, LogFile *file, Range *ranges, uint64_t count) noexcept nogil:
    cdef uint64_t at = BLOCK_BYTES, i, end
    cdef int result = 0
    for i in range(count + 1):
        end = ranges[i].begin if i < count else file.end
        if end > at:
            result = file_punch(&log.device, &file.file, at, end - at)
            if result < 0:
                return result
            log.stats.punched_bytes += end - at
        if i < count and ranges[i].end > at:
            at = ranges[i].end
    return 0


cdef int punch_file(Log *log, LogFile *file) noexcept nogil:
    cdef uint64_t room = walrus_load64(&file.live) + 1024, count
    cdef Range *ranges = <Range *>malloc(room * sizeof(Range))
    cdef int result = 0
    if ranges == NULL:
        return -ENOMEM
    count = live_ranges(log, file, ranges, room)
    if count <= room:
        qsort(ranges, count, sizeof(Range), by_begin)
        file.punched = True
        file.punched_live = walrus_load64(&file.live_bytes)
        result = punch_between(log, file, ranges, count)
    free(ranges)
    return result


cdef bint dies_by_itself(Log *log, LogFile *file, uint64_t live) noexcept nogil:
    """Some of it has died a moment ago, so the rest may soon: a whole file can be used again as it is, holes cannot."""
    cdef uint64_t now = walrus_monotonic_ns()
    if live != file.live_seen:
        file.live_seen = live
        file.live_seen_ns = now
    return now - file.live_seen_ns < PUNCH_NS


cdef int space_punch(Log *log, bint at_once) noexcept nogil:
    """Files of which less than a quarter lives; again only when half of that has died too."""
    cdef uint64_t live
    cdef LogFile *file = log.files.first
    cdef int result
    log.punch_later = False
    while file != NULL:
        live = walrus_load64(&file.live_bytes)
        if (file.state == LOGFILE_LISTED or (WALRUS_DEBUG and rule_broken(RULE_PUNCH_LISTED))) and live * 4 < file.end \
                and file.end > BLOCK_BYTES and (not file.punched or live * 2 < file.punched_live):
            if dies_by_itself(log, file, live) and not at_once:
                log.punch_later = True
                file = file.next
                continue
            result = punch_file(log, file)
            if result == -EOPNOTSUPP:
                file.punched_live = 0
            elif result < 0:
                return log_fail(log, -result, b"punch", file.file.name)
        file = file.next
    return 0
