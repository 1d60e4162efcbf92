"""Sync: one leader gathers the new frames of all dirty topics and the pending changes into the journal, waits for extents in
flight, flushes, publishes; who arrives meanwhile is in the next one.

Rules kept here: sync_waits, sync_journal, sync_logs, sync_publish. A frame is in the record, or its chunk was sealed before the
record was written: then it is on its way as an extent, and the sync waits for that. A tail of TAIL_BYTES_MAX or more, or one with
pieces of a large frame, is sealed instead of copied.

Threads: any; the fields of Log named sync_* belong to the leader while sync_leader is set. No GIL.
"""
from walrus._append cimport topic_mark_dirty, topic_seal
from walrus._changes cimport CHANGE_LOW, Change, change_read
from walrus._control cimport ControlTopic, control_wake
from walrus._cursors cimport cursors_absorb
from walrus._device cimport device_flush, device_wake, device_write
from walrus._extent cimport (BLOCK_BYTES, EXTENT_KIND_JOURNAL, GROUP_KIND_PIECE, ExtentHeader, GroupHeader, extent_seal)
from walrus._journal cimport JOURNAL_RESERVE_BYTES
from walrus._journal_reuse cimport journal_prepare
from walrus._libc cimport (ENOMEM, WALRUS_DEBUG, int64_t, memcpy, memmove, memset, realloc, uint8_t, uint32_t, walrus_add32,
                           walrus_futex_wait, walrus_futex_wake, walrus_load32, walrus_load64, walrus_lock,
                           walrus_monotonic_ns, walrus_realtime_ns, walrus_store32, walrus_store64, walrus_unlock)
from walrus._log_state cimport (LOG_FULL, LOG_INTERRUPTED, LOG_POISONED, LOG_TIMEOUT, RECORD_BYTES_MAX,
                                RECORD_GROUPS_MAX, TAIL_BYTES_MAX, log_check, log_fail)
from walrus._logfiles cimport logfiles_flush
from walrus._rules cimport RULE_SYNC_JOURNAL, RULE_SYNC_LOGS, RULE_SYNC_PUBLISH, RULE_SYNC_WAITS, rule_broken
from walrus._staging cimport Chunk
from walrus._topics cimport Topic, topic_by_id
from walrus._writeback cimport writeback_wait

cdef enum:
    WAIT_SLICE_NS = 50000000
    RECORD_NAMES_MAX = 1048576


# ------------------------------------------------------------------------------------------------------ the record

cdef int journal_advance(Log *log, bint by_iothread) noexcept nogil:
    """On to the next file of the ring, once it may be overwritten."""
    cdef uint32_t index = (log.journal.at + 1) % log.journal.count, seen
    cdef int result
    while True:
        seen = walrus_load32(&log.complete_word)
        if by_iothread:
            result = journal_prepare(log, index)
            if result:
                return LOG_FULL if result != LOG_POISONED else result
        if log.journal.ready[index]:
            break
        if walrus_load32(&log.failure.set):
            return LOG_POISONED
        if walrus_load32(&log.full):
            return LOG_FULL
        walrus_store32(&log.journal_wanted, index + 1)
        device_wake(&log.device)
        walrus_add32(&log.complete_waiters, 1)
        walrus_futex_wait(&log.complete_word, seen, WAIT_SLICE_NS, 0)
        walrus_add32(&log.complete_waiters, <uint32_t>-1)
    walrus_lock(&log.sync_lock)                     # journal_prepare looks at these
    log.journal.ready[index] = False
    log.journal.last_stamp[index] = 0
    log.journal.at = index
    log.journal.position = 0
    log.journal.files[index].number = log.journal.next_use
    log.journal.next_use += 1
    walrus_unlock(&log.sync_lock)
    return 0


cdef uint64_t record_lay_out(Log *log, uint64_t changes, bint with_frames) noexcept nogil:
    """Header, groups, names, changes, frames into journal.buffer; gives the padded size."""
    cdef uint8_t *at = log.journal.buffer
    cdef ExtentHeader *header = <ExtentHeader *>at
    cdef uint32_t i, groups = log.sync_groups if with_frames else <uint32_t>0
    cdef uint64_t used = sizeof(ExtentHeader), frames, size, frame_bytes = 0
    cdef GroupHeader *group
    memset(header, 0, sizeof(ExtentHeader))
    if groups:
        frame_bytes = log.sync_frames_used
        memcpy(at + used, log.sync_heads, groups * sizeof(GroupHeader))
        used += groups * sizeof(GroupHeader)
        memcpy(at + used, log.sync_names, log.sync_names_used)
        used += log.sync_names_used
        memset(at + used, 0, 7)
        used = (used + 7) & ~<uint64_t>7
    memcpy(at + used, log.sync_changes + log.sync_changes_put, changes)
    used += changes
    frames = (used + 7) & ~<uint64_t>7
    memcpy(at + frames, log.sync_frames, frame_bytes)
    for i in range(groups):
        group = <GroupHeader *>(at + sizeof(ExtentHeader)) + i
        group.position += frames
    size = (frames + frame_bytes + BLOCK_BYTES - 1) & ~<uint64_t>(BLOCK_BYTES - 1)
    memset(at + frames + frame_bytes, 0, size - frames - frame_bytes)
    header.kind = EXTENT_KIND_JOURNAL
    header.header_bytes = <uint32_t>used
    header.groups = groups
    header.size = size
    header.changes = <uint32_t>changes
    header.time_ns = walrus_realtime_ns()
    header.snapshot_stamp = walrus_load64(&log.catalog.flushed_stamp)
    header.epoch = <uint32_t>log.catalog.epoch
    header.flushed = log.journal.flushed
    return size


cdef uint64_t changes_fitting(Log *log, uint64_t *last_stamp) noexcept nogil:
    """How many bytes of the changes go into the next record, whole ones."""
    cdef uint64_t bytes = 0
    cdef const Change *change
    while log.sync_changes_put + bytes < log.sync_changes_used:
        change = change_read(log.sync_changes + log.sync_changes_put + bytes,
                             log.sync_changes_used - log.sync_changes_put - bytes)
        if change == NULL or bytes + change.size > log.journal.file_bytes // 8:
            break
        bytes += change.size
        if change.stamp > last_stamp[0]:
            last_stamp[0] = change.stamp
    return bytes


cdef int record_write(Log *log, bint with_frames, bint by_iothread) noexcept nogil:
    """What is gathered, as one record at the journal's position; or its changes alone, the frames being kept for a later one."""
    cdef uint64_t stamp = 0, changes = changes_fitting(log, &stamp), size, limit
    cdef ExtentHeader *header = <ExtentHeader *>log.journal.buffer
    cdef int result
    size = record_lay_out(log, changes, with_frames)
    # The end of a file is kept for records of changes alone: so a full disk can still be emptied.
    limit = log.journal.file_bytes
    if with_frames and log.sync_groups:
        limit -= limit // 8 if limit // 8 < JOURNAL_RESERVE_BYTES else <uint64_t>JOURNAL_RESERVE_BYTES
    if log.journal.files[log.journal.at].number == 0 or log.journal.position + size > limit:
        result = journal_advance(log, by_iothread)
        if result:
            return result
    header.number = log.journal.files[log.journal.at].number
    header.sequence = log.journal.sequence
    extent_seal(log.journal.buffer, log.catalog.log_id, log.journal.position)
    result = device_write(&log.device, &log.journal.files[log.journal.at].file, log.journal.buffer, size,
                          log.journal.position)
    if result < 0:
        return log_fail(log, -result, b"write", log.journal.files[log.journal.at].file.name)
    log.journal.sequence += 1
    log.journal.position += size
    if stamp > log.journal.last_stamp[log.journal.at]:
        log.journal.last_stamp[log.journal.at] = stamp
    log.sync_journals |= <uint32_t>1 << log.journal.at
    log.sync_changes_put += changes
    if with_frames:
        log.sync_frames_used = 0
        log.sync_names_used = 0
        log.sync_groups = 0
    log.stats.records += 1
    log.stats.record_bytes += size
    return 0


# -------------------------------------------------------------------------------------------------------- gathering

cdef int take_changes(Log *log) noexcept nogil:
    """Behind those that a sync before this one took and could not make durable."""
    cdef void *memory
    cdef uint64_t needed
    cdef int result = 0
    walrus_lock(&log.catalog.lock)
    needed = log.sync_changes_used + log.catalog.pending_bytes
    if needed > log.sync_changes_room:
        memory = realloc(log.sync_changes, needed * 2)
        if memory == NULL:
            result = -ENOMEM
        else:
            log.sync_changes = <uint8_t *>memory
            log.sync_changes_room = needed * 2
    if result == 0:
        memcpy(log.sync_changes + log.sync_changes_used, log.catalog.pending, log.catalog.pending_bytes)
        log.sync_changes_used = needed
        log.catalog.pending_bytes = 0
        log.catalog.pending_generation += 1
        log.sync_stamp = walrus_load64(log.catalog.stamp_word)
    walrus_unlock(&log.catalog.lock)
    return result


cdef int take_dirty(Log *log) noexcept nogil:
    """The list of dirty topics as an array: topics may be entered into the next list while we work on this one."""
    cdef uint64_t room
    cdef void *memory
    cdef Topic *topic
    walrus_lock(&log.topics.lock)
    room = log.topics.count + 64
    walrus_unlock(&log.topics.lock)
    if room > log.sync_topics_room:
        memory = realloc(log.sync_topics, room * 2 * sizeof(Topic *))
        if memory == NULL:
            return -ENOMEM
        log.sync_topics = <Topic **>memory
        log.sync_topics_room = room * 2
    log.sync_topics_count = 0
    log.sync_topics_done = 0
    walrus_lock(&log.dirty_lock)
    topic = log.dirty_topics
    while topic != NULL and log.sync_topics_count < log.sync_topics_room:
        log.sync_topics[log.sync_topics_count] = topic
        log.sync_topics_count += 1
        topic = topic.dirty_next
    log.dirty_topics = topic
    walrus_unlock(&log.dirty_lock)
    return 0


cdef uint64_t tail_max(Log *log) noexcept nogil:
    cdef uint64_t eighth = log.journal.file_bytes // 8
    return eighth if eighth < TAIL_BYTES_MAX else <uint64_t>TAIL_BYTES_MAX


cdef bint goes_as_extent(Log *log, Chunk *chunk) noexcept nogil:
    cdef uint32_t i
    if chunk.used - chunk.journaled >= tail_max(log):
        return True
    for i in range(chunk.groups):
        if chunk.group[i].kind == GROUP_KIND_PIECE:
            return True
    return False


cdef bint record_full(Log *log, Topic *topic) noexcept nogil:
    """Might the topic's tail not fit the record any more? Frames take three eighths of a journal file at most, groups, names and
    changes an eighth each."""
    cdef uint64_t file_bytes = log.journal.file_bytes
    cdef uint64_t frames = file_bytes // 8 * 3 if file_bytes // 8 * 3 < RECORD_BYTES_MAX else <uint64_t>RECORD_BYTES_MAX
    if log.sync_groups == 0:
        return False
    return (log.sync_frames_used + tail_max(log) > frames or log.sync_groups >= RECORD_GROUPS_MAX
            or (log.sync_groups + 1) * sizeof(GroupHeader) > file_bytes // 8
            or log.sync_names_used + topic.name_bytes > RECORD_NAMES_MAX
            or log.sync_names_used + topic.name_bytes > file_bytes // 8)


cdef void tail_copy(Log *log, Topic *topic, Chunk *chunk) noexcept nogil:
    """The chunk's frames that no record has yet: one group of the record being gathered. Room was looked at."""
    cdef GroupHeader *group = <GroupHeader *>log.sync_heads + log.sync_groups
    cdef uint32_t bytes = chunk.used - chunk.journaled
    group[0] = chunk.group[0]
    group.first = chunk.journaled_end
    group.count = <uint32_t>(chunk.end - chunk.journaled_end)
    group.position = log.sync_frames_used
    group.bytes = bytes
    group.payload_bytes = <uint32_t>(chunk.payload_bytes - chunk.journaled_payload)
    memcpy(log.sync_frames + log.sync_frames_used, chunk.base + chunk.journaled, bytes)
    memcpy(log.sync_names + log.sync_names_used, topic.name, topic.name_bytes)
    log.sync_frames_used += bytes
    log.sync_names_used += topic.name_bytes
    log.sync_groups += 1
    chunk.journaled = chunk.used
    chunk.journaled_end = chunk.end
    chunk.journaled_payload = chunk.payload_bytes
    if chunk.journal_use == 0:
        chunk.journal_use = log.journal.files[log.journal.at].number


cdef int gather(Log *log, bint by_iothread) noexcept nogil:
    cdef uint64_t i
    cdef Topic *topic
    cdef Chunk *chunk
    cdef int result = 0
    for i in range(log.sync_topics_count):
        topic = log.sync_topics[i]
        if record_full(log, topic):
            result = record_write(log, True, by_iothread)
            if result:
                return result
        walrus_lock(&topic.lock)
        topic.dirty = False
        log.sync_topics_done = i + 1
        topic.syncing_end = topic.end
        chunk = topic.current
        if chunk != NULL and chunk.used > chunk.journaled:
            if goes_as_extent(log, chunk):
                topic_seal(log, topic)
            else:
                tail_copy(log, topic, chunk)
        walrus_unlock(&topic.lock)
    while log.sync_groups or log.sync_changes_put < log.sync_changes_used:
        result = record_write(log, True, by_iothread)
        if result:
            return result
    return 0


# ------------------------------------------------------------------------------------------------------ the leader

cdef int flush_all(Log *log) noexcept nogil:
    cdef uint32_t i
    cdef int result
    if not (WALRUS_DEBUG and rule_broken(RULE_SYNC_JOURNAL)):
        for i in range(log.journal.count):
            if log.sync_journals & (<uint32_t>1 << i):
                result = device_flush(&log.device, &log.journal.files[i].file)
                if result < 0:
                    return log_fail(log, -result, b"flush", log.journal.files[i].file.name)
    if not (WALRUS_DEBUG and rule_broken(RULE_SYNC_LOGS)):
        result = logfiles_flush(&log.files, &log.device)
        if result < 0:
            return log_fail(log, -result, b"flush", b"log file")
    return 0


cdef void publish_offsets(Log *log) noexcept nogil:
    """Durable offsets, as far as a flushed extent or record has the frames: on a full disk some chunks are still waiting."""
    cdef uint64_t i, end
    cdef Topic *topic
    cdef Chunk *chunk
    cdef ControlTopic *shared
    for i in range(log.sync_topics_count):
        topic = log.sync_topics[i]
        walrus_lock(&topic.lock)
        end = topic.syncing_end
        chunk = topic.oldest
        while chunk != NULL:
            if chunk != topic.current and chunk.sequence <= log.sync_sealed and chunk.journaled_end < end:
                end = chunk.journaled_end
            chunk = chunk.newer
        if end > topic.durable:
            walrus_store64(&topic.durable, end)
            shared = <ControlTopic *>topic.control
            if shared != NULL:
                walrus_store64(&shared.durable, end)
        walrus_unlock(&topic.lock)


cdef void publish_lows(Log *log) noexcept nogil:
    """Low watermarks whose changes are in a flushed record."""
    cdef uint64_t at = 0
    cdef Topic *topic
    cdef const Change *change
    while at < log.sync_changes_put:
        change = change_read(log.sync_changes + at, log.sync_changes_used - at)
        if change == NULL:
            break
        at += change.size
        if change.kind != CHANGE_LOW:
            continue
        topic = topic_by_id(&log.topics, change.topic_id)
        if topic != NULL:
            walrus_lock(&topic.lock)
            if change.value > topic.low_durable:
                topic.low_durable = change.value
            walrus_unlock(&topic.lock)
            walrus_store32(&log.release_wanted, 1)


cdef void publish_durable(Log *log, bint offsets) noexcept nogil:
    """sync_publish: only what was flushed."""
    if offsets:
        publish_offsets(log)
    publish_lows(log)
    if log.control.head != NULL and walrus_load32(&log.control.head.sleepers):
        control_wake(&log.control)


cdef void give_back_dirty(Log *log) noexcept nogil:
    """A sync that could not be done (full disk): the next one takes its topics, its frames and its changes along."""
    cdef uint64_t i
    cdef Topic *topic
    for i in range(log.sync_topics_count):
        topic = log.sync_topics[i]
        walrus_lock(&topic.lock)
        if not topic.dirty or i >= log.sync_topics_done:
            topic_mark_dirty(log, topic)
        walrus_unlock(&topic.lock)


cdef void changes_done(Log *log) noexcept nogil:
    """Those that a flushed record has are forgotten."""
    memmove(log.sync_changes, log.sync_changes + log.sync_changes_put, log.sync_changes_used - log.sync_changes_put)
    log.sync_changes_used -= log.sync_changes_put
    log.sync_changes_put = 0
    log.journal.flushed = log.journal.sequence
    if log.sync_changes_used == 0:
        walrus_store64(&log.durable_stamp, log.sync_stamp)
    log.sync_journals = 0


cdef int gather_changes(Log *log, bint by_iothread) noexcept nogil:
    """No room for frames on a full disk: at least what will make room gets durable."""
    cdef int result = 0
    while result == 0 and log.sync_changes_put < log.sync_changes_used:
        result = record_write(log, False, by_iothread)
    return result


cdef int sync_run(Log *log, bint by_iothread) noexcept nogil:
    """0; LOG_FULL: not all, but all that a full disk allows; LOG_POISONED."""
    cdef int gathered, waited = 0, result
    if cursors_absorb(&log.topics, &log.catalog) < 0 or take_changes(log) < 0 or take_dirty(log) < 0:
        return log_fail(log, ENOMEM, b"gather for", b"journal")
    gathered = gather(log, by_iothread)
    if gathered == LOG_FULL and gather_changes(log, by_iothread) == LOG_POISONED:
        return LOG_POISONED
    if gathered and gathered != LOG_FULL:
        return gathered
    if WALRUS_DEBUG and rule_broken(RULE_SYNC_PUBLISH):
        publish_durable(log, True)
    walrus_lock(&log.queue_lock)
    log.sync_sealed = log.sealed
    walrus_unlock(&log.queue_lock)
    if gathered == 0 and not (WALRUS_DEBUG and rule_broken(RULE_SYNC_WAITS)):
        waited = writeback_wait(log, log.sync_sealed, by_iothread)
        if waited and waited != LOG_FULL:
            return waited
    result = flush_all(log)
    if result:
        return result
    if WALRUS_DEBUG and rule_broken(RULE_SYNC_WAITS):
        log.sync_sealed = 0
    publish_durable(log, gathered == 0)
    changes_done(log)
    log.stats.syncs += 1
    return gathered if gathered else waited


cdef int lead(Log *log, bint by_iothread) noexcept nogil:
    """sync_lock is held on entry and on return; the leader's place is free again then."""
    cdef int result
    log.sync_started += 1
    log.sync_leader = 1
    walrus_unlock(&log.sync_lock)
    result = sync_run(log, by_iothread)
    walrus_lock(&log.sync_lock)
    if result == 0:
        log.sync_finished = log.sync_started
    else:
        give_back_dirty(log)
        log.sync_failed = log.sync_started
        log.sync_result = result
    log.sync_leader = 0
    walrus_add32(&log.sync_word, 1)
    if walrus_load32(&log.sync_waiters):
        walrus_futex_wake(&log.sync_word, 0x7FFFFFFF, 0)
    return result


cdef uint64_t sync_ticket(Log *log) noexcept nogil:
    cdef uint64_t ticket
    walrus_lock(&log.sync_lock)
    ticket = log.sync_started + 1
    walrus_unlock(&log.sync_lock)
    return ticket


cdef int follow(Log *log, uint64_t deadline_ns, uint32_t seen) noexcept nogil:
    """A slice of waiting for the leader."""
    cdef int64_t left = WAIT_SLICE_NS
    cdef uint64_t now
    cdef long woken
    if deadline_ns:
        now = walrus_monotonic_ns()
        if now >= deadline_ns:
            return LOG_TIMEOUT
        if deadline_ns - now < <uint64_t>left:
            left = <int64_t>(deadline_ns - now)
    walrus_add32(&log.sync_waiters, 1)
    woken = walrus_futex_wait(&log.sync_word, seen, left, 0)
    walrus_add32(&log.sync_waiters, <uint32_t>-1)
    return LOG_INTERRUPTED if woken < 0 and walrus_load32(&log.sync_word) == seen else 0


cdef int sync_wait(Log *log, uint64_t ticket, uint64_t deadline_ns) noexcept nogil:
    cdef uint32_t seen
    cdef int result
    while True:
        walrus_lock(&log.sync_lock)
        seen = walrus_load32(&log.sync_word)
        if log.sync_finished >= ticket:
            walrus_unlock(&log.sync_lock)
            return 0
        if log.sync_failed >= ticket:
            result = log.sync_result
            walrus_unlock(&log.sync_lock)
            return result
        result = log_check(log)
        if result == 0 and not log.sync_leader:
            lead(log, False)
            walrus_unlock(&log.sync_lock)
            continue
        walrus_unlock(&log.sync_lock)
        if result:
            return result
        result = follow(log, deadline_ns, seen)
        if result:
            return result


cdef int sync_by_iothread(Log *log) noexcept nogil:
    cdef int result = 0
    walrus_lock(&log.sync_lock)
    if not log.sync_leader and walrus_load32(&log.failure.set) == 0:
        if (log.dirty_topics != NULL or log.catalog.pending_bytes or log.outstanding_first != NULL
                or log.catalog.foreign_commits != walrus_load32(&log.control.head.foreign_commits)):
            result = lead(log, True)
    walrus_unlock(&log.sync_lock)
    return result
