"""Reuse of journal files: when the next one of the ring may be overwritten, and what has to be done first.

Rules kept here: journal_extents, journal_flushed, journal_prefix (every live frame in the file lies in an extent that
is flushed together with all before it: open chunks with frames in it are sealed, then all that was sealed is waited
for, then the log files are flushed), journal_catalog (each change in it is covered by a flushed snapshot),
journal_adopted (the same for what recovery read: places in the journal are copied forward first).

Threads: the I/O thread, also while it leads a sync. No GIL.
"""
from walrus._append cimport chunk_enqueue
from walrus._catalog cimport catalog_snapshot
from walrus._device cimport device_read
from walrus._extent cimport BLOCK_BYTES
from walrus._libc cimport (EDQUOT, EFBIG, EIO, ENOMEM, ENOSPC, WALRUS_DEBUG, free, int64_t, malloc, memcpy,
                           posix_memalign, uint8_t, uint16_t, uint64_t, walrus_load32, walrus_load64, walrus_lock,
                           walrus_unlock)
from walrus._log_state cimport LOG_FULL, LOG_POISONED, files_complete_wake, log_fail
from walrus._logfiles cimport LogFile, logfiles_flush
from walrus._read_cache cimport read_cache_forget
from walrus._rules cimport (RULE_JOURNAL_ADOPTED, RULE_JOURNAL_CATALOG, RULE_JOURNAL_EXTENTS, RULE_JOURNAL_FLUSHED,
                            RULE_JOURNAL_PREFIX, rule_broken)
from walrus._staging cimport Chunk, chunk_bind, chunk_give_back, chunk_take
from walrus._topics cimport Place, Topic, places_drop, topic_epoch_limit, topic_next
from walrus._writeback cimport (seal_all, seal_journaled, writeback_reap, writeback_submit, writeback_wait)

cdef enum:
    WAIT_NS = 10000000


# -------------------------------------------------------------------------------- what recovery left in the journal

cdef Chunk *chunk_for(Log *log, Topic *topic, uint64_t bytes) noexcept nogil:
    """A chunk for frames that move on; the I/O thread makes room by writing meanwhile."""
    cdef Chunk *chunk
    while True:
        chunk = chunk_take(&log.staging, 6, bytes, topic.name_bytes)
        if chunk != NULL or walrus_load32(&log.failure.set) or walrus_load32(&log.full):
            return chunk
        seal_all(log)
        if writeback_submit(log):
            return NULL
        writeback_reap(log, WAIT_NS if log.flight_count else 0)


cdef int frames_read(Log *log, Place *place, uint8_t *target) noexcept nogil:
    cdef uint64_t begin = place.group.position & ~<uint64_t>(BLOCK_BYTES - 1)
    cdef uint64_t end = (place.group.position + place.group.bytes + BLOCK_BYTES - 1) & ~<uint64_t>(BLOCK_BYTES - 1)
    cdef void *memory = NULL
    cdef int64_t got
    if posix_memalign(&memory, BLOCK_BYTES, end - begin):
        return -ENOMEM
    got = device_read(&log.device, &place.file.file, memory, end - begin, begin)
    if got >= <int64_t>(place.group.position - begin + place.group.bytes):
        memcpy(target, <uint8_t *>memory + (place.group.position - begin), place.group.bytes)
    free(memory)
    if got < 0:
        return <int>got
    return 0 if got >= <int64_t>(place.group.position - begin + place.group.bytes) else -EIO


cdef int place_move(Log *log, Topic *topic, Place *place) noexcept nogil:
    """Its frames into a chunk of their own, sealed at once: an extent like any other."""
    cdef Chunk *chunk = chunk_for(log, topic, place.group.bytes)
    cdef int result
    if chunk == NULL:
        return LOG_POISONED if walrus_load32(&log.failure.set) else LOG_FULL
    walrus_lock(&topic.lock)
    place.end = min(place.end, topic_epoch_limit(topic, place.group.epoch))     # it may have been truncated since
    if place.end <= place.group.first:
        walrus_unlock(&topic.lock)
        chunk_give_back(&log.staging, chunk)
        return 0
    chunk_bind(chunk, topic, topic.id, topic.name, topic.name_bytes, place.group.first, <uint32_t>log.catalog.epoch, NULL)
    result = frames_read(log, place, chunk.base + chunk.data_start)
    if result < 0:
        walrus_unlock(&topic.lock)
        chunk_give_back(&log.staging, chunk)
        return log_fail(log, -result, b"read", place.file.file.name)
    chunk.group[0] = place.group
    chunk.group[0].count = <uint32_t>(place.end - place.group.first) if place.group.kind == 0 else place.group.count
    chunk.group[0].position = chunk.data_start
    chunk.group[0].name_bytes = <uint16_t>topic.name_bytes
    chunk.groups = 1
    chunk.written = chunk.data_start + place.group.bytes
    chunk.used = chunk.written
    chunk.end = place.end
    chunk.slot.end = place.end
    chunk.slot.used = chunk.used
    chunk.newer = topic.oldest                      # the list is searched whole: its order serves other processes only
    topic.oldest = chunk
    chunk_enqueue(log, chunk)
    walrus_unlock(&topic.lock)
    return 0


cdef Place *places_copy(Topic *topic, const LogFile *file, uint64_t *count) noexcept nogil:
    """Live ones of the topic in that file: extents that land while they are moved shift the topic's own. NULL: out of memory."""
    cdef uint64_t i
    cdef Place *places
    count[0] = 0
    walrus_lock(&topic.lock)
    places = <Place *>malloc((topic.places_count - topic.places_from + 1) * sizeof(Place))
    if places != NULL:
        for i in range(topic.places_from, topic.places_count):
            if topic.places[i].file == file and topic.places[i].end > topic.low_durable:
                places[count[0]] = topic.places[i]
                count[0] += 1
    walrus_unlock(&topic.lock)
    return places


cdef int places_move(Log *log, uint32_t index) noexcept nogil:
    cdef uint64_t at = 0, i, count
    cdef Place *places
    cdef int result = 0
    cdef Topic *topic = topic_next(&log.topics, &at)
    while topic != NULL and result == 0:
        places = places_copy(topic, log.journal.files[index], &count)
        if places == NULL:
            return log_fail(log, ENOMEM, b"copy forward from", log.journal.files[index].file.name)
        i = 0
        while i < count and result == 0:
            result = place_move(log, topic, &places[i])
            i += 1
        free(places)
        topic = topic_next(&log.topics, &at)
    return result


cdef void places_forget(Log *log, uint32_t index) noexcept nogil:
    """Their frames lie in flushed extents now."""
    cdef LogFile *file = log.journal.files[index]
    cdef uint64_t at = 0
    cdef Topic *topic = topic_next(&log.topics, &at)
    read_cache_forget(log, file)
    while topic != NULL:
        walrus_lock(&topic.lock)
        places_drop(topic, file)
        walrus_unlock(&topic.lock)
        topic = topic_next(&log.topics, &at)
    while walrus_load32(&file.pins):                # a reader is copying out of it; it holds no lock
        writeback_reap(log, WAIT_NS)
    log.journal.has_places[index] = False


# --------------------------------------------------------------------------------------------------------- reuse

cdef int snapshot_take(Log *log, uint32_t flags) noexcept nogil:
    cdef int result = catalog_snapshot(&log.catalog, &log.device, &log.topics, &log.files, &log.journal, flags)
    if result == 0:
        log.stats.snapshots = log.catalog.snapshots
        return result
    if result == -ENOSPC or result == -EDQUOT or result == -EFBIG:
        return LOG_FULL
    return log_fail(log, -result, b"write", b"catalog")


cdef int frames_to_extents(Log *log, uint32_t index) noexcept nogil:
    """Every live frame of the file: into an extent, that one and all before it in place and flushed."""
    cdef uint64_t sealed
    cdef int result
    if log.journal.has_places[index] and not (WALRUS_DEBUG and rule_broken(RULE_JOURNAL_ADOPTED)):
        result = places_move(log, index)
        if result:
            return result
    if log.journal.files[index].number:
        seal_journaled(log, log.journal.files[index].number)
    walrus_lock(&log.queue_lock)
    sealed = log.sealed
    walrus_unlock(&log.queue_lock)
    if not (WALRUS_DEBUG and rule_broken(RULE_JOURNAL_PREFIX)):
        result = writeback_wait(log, sealed, True)
        if result:
            return result
    if not (WALRUS_DEBUG and rule_broken(RULE_JOURNAL_FLUSHED)):
        result = logfiles_flush(&log.files, &log.device)
        if result < 0:
            return log_fail(log, -result, b"flush", b"log file")
    if log.journal.has_places[index]:
        places_forget(log, index)
    return 0


cdef uint64_t stamp_needed(Log *log, uint32_t index) noexcept nogil:
    """What a flushed snapshot has to cover: the changes in the file, and the truncation by which frames in it died a moment ago."""
    cdef uint64_t cut = walrus_load64(&log.catalog.cut_stamp)
    if cut <= walrus_load64(&log.durable_stamp):
        return log.journal.last_stamp[index]
    return max(log.journal.last_stamp[index], cut)


cdef int journal_prepare(Log *log, uint32_t index) noexcept nogil:
    cdef int result
    cdef uint64_t use = log.journal.files[index].number
    if log.journal.ready[index] or index == log.journal.at:
        return 0
    if not (WALRUS_DEBUG and rule_broken(RULE_JOURNAL_EXTENTS)):
        result = frames_to_extents(log, index)
        if result:
            return result
    if (stamp_needed(log, index) > walrus_load64(&log.catalog.flushed_stamp)
            and not (WALRUS_DEBUG and rule_broken(RULE_JOURNAL_CATALOG))):
        result = snapshot_take(log, 0)
        if result:
            return result
    walrus_lock(&log.sync_lock)
    if log.journal.files[index].number == use and index != log.journal.at:
        log.journal.ready[index] = True             # a sync may have moved on to it meanwhile, for it was ready before
    walrus_unlock(&log.sync_lock)
    files_complete_wake(log)
    return 0
