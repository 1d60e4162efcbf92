"""Reopening the control table: cursors' slot pairs of an earlier open, what its writer told other processes, and what
they see from now on.

Rules kept here: one_counter (of snapshot and journal the highest stamp wins, and of a slot pair that of another boot
wrote; in its own boot every commit went through the slot, and the pair wins), open_clamps (a cursor beyond the
recovered end is set back to it, under a new stamp, in the snapshot of this very open).

A control file of this boot, or one that was closed cleanly and not opened since, is to be trusted: a cursor whose
slot is damaged or missing there is damaged, for nobody knows where it stood. After a power cut the newest of snapshot
and journal counts. In the boot that wrote it the table's ends are promises: the pages of staging are there too.

Threads: opening alone. No GIL.
"""
from walrus._control cimport (CONTROL_TOPICS_MAX, ControlCursor, ControlHead, ControlTopic, control_begin,
                              control_cursor, control_cursors_clear, control_damage, control_load, control_open,
                              control_ready, control_store, control_stored, control_storing, control_topic)
from walrus._cursors cimport cursors_adopt
from walrus._findings cimport findings_claim, refuse
from walrus._libc cimport (ENOMEM, WALRUS_DEBUG, memcmp, memset, uint8_t, uint32_t, uint64_t, walrus_load64,
                           walrus_store32,
                           walrus_store64)
from walrus._log_state cimport LOG_TOO_NEW, Log
from walrus._rules cimport RULE_OPEN_CLAMPS, rule_broken
from walrus._snapshot_format cimport SNAPSHOT_CLEAN_CLOSE
from walrus._staging cimport Chunk
from walrus._topics cimport Cursor, Topic

cdef enum:
    STAMP_EPOCH_BITS = 40


cdef int claims_take(Findings *findings) noexcept nogil:
    """What a killed writer had published was in staging at least; an end that could not fit there is not believed."""
    cdef Log *log = findings.log
    cdef const ControlHead *head = log.control.head
    cdef const ControlTopic *slot
    cdef uint32_t i, count = head.topics if head.topics < CONTROL_TOPICS_MAX else <uint32_t>CONTROL_TOPICS_MAX
    cdef uint64_t entries_max = log.staging.bytes // 4 if log.staging.memory != NULL else log.options.staging_bytes // 4
    for i in range(count):
        slot = &log.control.topics[i]
        if slot.state != 1 or slot.end < slot.durable or slot.end - slot.durable > entries_max:
            continue
        if findings_claim(findings, slot.id, <uint32_t>head.epoch, slot.end) < 0:
            return -ENOMEM
    return 0


cdef void cursors_check(Findings *findings, bint expected) noexcept nogil:
    """Damaged is a cursor whose slot should be there and is not, or was never stored into."""
    cdef Log *log = findings.log
    cdef uint64_t i, stamp = 0, value = 0
    cdef Cursor *cursor
    for i in range(log.topics.count):
        cursor = log.topics.by_number[i].cursors
        while cursor != NULL:
            if expected and cursor.durable_once and (
                    cursor.control == NULL or control_load(<const ControlCursor *>cursor.control, &stamp, &value) == 0):
                cursor.damaged = True
            if cursor.stamp > findings.stamp_seen:
                findings.stamp_seen = cursor.stamp
            cursor = cursor.next


cdef int reopen_control(Findings *findings, const SnapshotHead *head) noexcept nogil:
    cdef Log *log = findings.log
    cdef bint kept = False, same_boot, expected
    cdef uint64_t stamp
    cdef int result = control_open(&log.control, &log.device, log.catalog.log_id, log.catalog.boot_id,
                                   log.recovery.created, &kept)
    if result > 0:
        return refuse(log, LOG_TOO_NEW, b"a control file", b"control", result)
    if result < 0 or log.recovery.created:
        return result
    log.catalog.control = &log.control
    # That it was closed is what an old page may say: the snapshot tells whether nothing was opened since.
    if not log.control.same_boot and not head.flags & SNAPSHOT_CLEAN_CLOSE:
        log.control.trusted = False
    same_boot = memcmp(head.boot_id, log.catalog.boot_id, 16) == 0
    # A table that was made and never begun (epoch 0) was not in use yet: nothing is missing from it.
    expected = log.control.trusted and log.control.head.epoch != 0 if kept \
        else same_boot or (head.flags & SNAPSHOT_CLEAN_CLOSE) != 0
    if kept:
        result = cursors_adopt(&log.topics, &log.catalog, log.control.trusted)
        stamp = walrus_load64(&log.control.head.stamp)
        # It has no checksum: one that is further off than two opens is not believed.
        if (stamp > findings.stamp_seen
                and (stamp >> STAMP_EPOCH_BITS) <= (findings.snapshot_stamp >> STAMP_EPOCH_BITS) + 2):
            findings.stamp_seen = stamp
        if log.control.head.epoch > findings.epoch_seen:
            findings.epoch_seen = log.control.head.epoch
    cursors_check(findings, expected)
    if (result == 0 and kept and findings.unclean and log.control.head.epoch != 0
            and memcmp(log.control.head.boot_id, log.catalog.boot_id, 16) == 0):
        result = claims_take(findings)
    return result


cdef int reopen_cursors(Findings *findings) noexcept nogil:
    cdef Log *log = findings.log
    cdef uint64_t i, wanted
    cdef Topic *topic
    cdef Cursor *cursor
    # Once more: where the newest snapshot was damaged, some topics were found by their extents alone, after the first time.
    if log.catalog.control != NULL and cursors_adopt(&log.topics, &log.catalog, log.control.trusted) < 0:
        return -ENOMEM
    for i in range(log.topics.count):
        topic = log.topics.by_number[i]
        cursor = topic.cursors
        while cursor != NULL:
            wanted = cursor.committed
            if wanted > topic.end and not (WALRUS_DEBUG and rule_broken(RULE_OPEN_CLAMPS)):
                wanted = topic.end
            if wanted < topic.low:
                wanted = topic.low
            if wanted != cursor.committed and not cursor.damaged:
                cursor.stamp = log.catalog.stamp
            cursor.committed = wanted
            cursor.position = wanted
            cursor.highest = wanted
            cursor = cursor.next
    return 0


# ------------------------------------------------------------------------------------------------------------ sharing

cdef int cursor_share(Log *log, Cursor *cursor) noexcept nogil:
    cdef ControlCursor *slot = <ControlCursor *>cursor.control
    cdef uint64_t stamp = 0, value = 0
    cdef int code = 0, loaded
    if not cursor.durable_once or (cursor.damaged and slot != NULL):
        return 0
    if slot == NULL:
        slot = control_cursor(&log.control, cursor.id, cursor.topic.id, cursor.kind, cursor.name, cursor.name_bytes,
                              &code)
        if slot == NULL:
            return code
        cursor.control = <uint8_t *>slot
    if cursor.damaged:                              # no slot that would make a lost value look like none, or a good one
        control_damage(slot)
        return 0
    loaded = control_load(slot, &stamp, &value)
    if loaded > 0 and stamp == cursor.stamp and value == cursor.committed:
        return 0
    code = control_storing(&log.control, slot)      # its owner may be a process that reads, and lives
    if code < 0:
        return code
    if loaded < 0:                                  # of an earlier boot: no value of it counts
        memset(&slot.pair[0], 0, sizeof(slot.pair))
    control_store(slot, cursor.stamp, cursor.committed)
    control_stored(&log.control, slot)
    cursor.slot_stamp = cursor.stamp
    return 0


cdef int topic_share(Log *log, Topic *topic) noexcept nogil:
    cdef Chunk *chunk = topic.oldest
    cdef int code = 0
    cdef ControlTopic *slot = control_topic(&log.control, topic.id, topic.name, topic.name_bytes, &code)
    if slot == NULL:
        return code
    topic.control = <uint8_t *>slot
    topic.control_slot = <uint32_t>(slot - log.control.topics)
    walrus_store64(&slot.low, topic.low)
    walrus_store64(&slot.durable, topic.durable)
    slot.payload_bytes = topic.payload_bytes
    while chunk != NULL:
        walrus_store32(&slot.current_generation, chunk.slot.generation)
        walrus_store32(&slot.current, chunk.index + 1)
        chunk = chunk.newer
    walrus_store64(&slot.end, topic.end)
    return 0


cdef int reopen_sharing(Findings *findings) noexcept nogil:
    cdef Log *log = findings.log
    cdef uint64_t i
    cdef Cursor *cursor
    cdef int result
    log.catalog.control = &log.control
    control_cursors_clear(&log.control)
    for i in range(log.topics.count):
        cursor = log.topics.by_number[i].cursors
        while cursor != NULL:
            result = cursor_share(log, cursor)
            if result < 0:
                return result
            cursor = cursor.next
    control_begin(&log.control, log.catalog.boot_id, log.catalog.epoch, log.catalog.stamp, log.options.schedule)
    log.catalog.stamp_word = &log.control.head.stamp
    for i in range(log.topics.count):
        result = topic_share(log, log.topics.by_number[i])
        if result < 0:
            return result
    control_ready(&log.control)
    return 0
