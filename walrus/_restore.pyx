"""Restore: topics, cursors, watermarks and epoch lists from the snapshot and from the changes behind it.

Rule kept here: one_counter (what the snapshot's stamp covers is not applied again; the rest in the order of the
stamps, the highest wins). topic.durable holds the least end that the snapshot promises, until the merge has found the
end.

Threads: opening alone. No GIL.
"""
from walrus._changes cimport (CHANGE_CLEAN, CHANGE_CURSOR, CHANGE_CUT, CHANGE_LOW, CHANGE_REPAIRED, CHANGE_RETENTION, CHANGE_TOPIC,
                              Change)
from walrus._control cimport FOREIGN_ID
from walrus._cursors cimport cursor_enter
from walrus._extent cimport MAX_TOPIC_NAME_BYTES
from walrus._libc cimport ENOMEM, WALRUS_DEBUG, free, malloc, memcpy, memmove, realloc
from walrus._log_state cimport LOG_NO_MEMORY, Log
from walrus._rules cimport RULE_ONE_COUNTER, rule_broken
from walrus._snapshot_format cimport (DamagedRange, EpochEntry, SnapshotCursor, SnapshotHead, SnapshotReader,
                                      SnapshotTopic, snapshot_read_begin, snapshot_read_cursor, snapshot_read_file,
                                      snapshot_read_topic)
from walrus._topics cimport topic_by_id, topic_by_name, topic_enter, topic_renew
from libc.stdlib cimport qsort


cdef int range_add(Topic *topic, uint64_t first, uint64_t end) noexcept nogil:
    cdef uint32_t i = 0, j
    cdef void *memory
    while i < topic.range_count and topic.ranges[i].end < first:
        i += 1
    j = i
    while j < topic.range_count and topic.ranges[j].first <= end:
        if topic.ranges[j].first < first:
            first = topic.ranges[j].first
        if topic.ranges[j].end > end:
            end = topic.ranges[j].end
        j += 1
    if j == i:                                      # touches none: room for one more
        memory = realloc(topic.ranges, (topic.range_count + 1) * sizeof(DamagedRange))
        if memory == NULL:
            return -ENOMEM
        topic.ranges = <DamagedRange *>memory
    memmove(topic.ranges + i + 1, topic.ranges + j, (topic.range_count - j) * sizeof(DamagedRange))
    topic.ranges[i].first = first
    topic.ranges[i].end = end
    topic.range_count = topic.range_count + i + 1 - j
    return 0


# -------------------------------------------------------------------------------------------------------- snapshot

cdef int topic_restore(Log *log, const SnapshotTopic *row, const EpochEntry *epochs, const DamagedRange *ranges,
                       const uint8_t *name) noexcept nogil:
    cdef Topic *topic
    cdef uint32_t i
    if (topic_by_id(&log.topics, row.id) != NULL or topic_by_name(&log.topics, name, row.name_bytes) != NULL):
        return 0
    topic = topic_enter(&log.topics, log.catalog.log_id, row.id, name, row.name_bytes)
    if topic == NULL:
        return LOG_NO_MEMORY
    topic.low = row.low
    topic.durable = row.durable
    topic.clean = row.clean
    topic.clean_end = row.clean_end
    topic.retention = row.retention
    topic.retention_bytes = row.retention_bytes
    if row.epochs:
        topic.epochs = <EpochEntry *>malloc(row.epochs * sizeof(EpochEntry))
        if topic.epochs == NULL:
            return LOG_NO_MEMORY
        memcpy(topic.epochs, epochs, row.epochs * sizeof(EpochEntry))
        topic.epoch_count = row.epochs
    for i in range(row.ranges):
        if (ranges[i].end > row.low and ranges[i].end > ranges[i].first
                and range_add(topic, ranges[i].first, ranges[i].end) < 0):
            return LOG_NO_MEMORY
    topic.refuses = topic.range_count > 0 and not row.accepted
    return 0


cdef int cursor_restore(Findings *findings, const SnapshotCursor *row, const uint8_t *name) noexcept nogil:
    cdef Topic *topic = topic_by_id(&findings.log.topics, row.topic_id)
    cdef Cursor *cursor
    if topic == NULL or row.name_bytes > MAX_TOPIC_NAME_BYTES:
        return 0
    cursor = restore_cursor(findings, topic, row.id, row.kind, name, row.name_bytes)
    if cursor == NULL:
        return LOG_NO_MEMORY
    cursor.stamp = row.stamp
    cursor.committed = row.value
    return 0


cdef int restore_snapshot(Findings *findings, const uint8_t *memory, const SnapshotFile **rows) noexcept nogil:
    cdef const SnapshotHead *head = <const SnapshotHead *>memory
    cdef const SnapshotTopic *topic
    cdef const SnapshotCursor *cursor
    cdef const EpochEntry *epochs
    cdef const DamagedRange *ranges
    cdef const uint8_t *name
    cdef SnapshotReader reader
    cdef uint32_t _
    cdef int result = 0
    snapshot_read_begin(&reader, memory)
    for _ in range(head.topics):
        topic = snapshot_read_topic(&reader, &epochs, &ranges, &name)
        if topic != NULL and result == 0:
            result = topic_restore(findings.log, topic, epochs, ranges, name)
    for _ in range(head.cursors):
        cursor = snapshot_read_cursor(&reader, &name)
        if cursor != NULL and result == 0:
            result = cursor_restore(findings, cursor, name)
    rows[0] = snapshot_read_file(&reader) if head.files else NULL
    return result


# --------------------------------------------------------------------------------------------------------- cursors

cdef Cursor *restore_cursor(Findings *findings, Topic *topic, uint64_t id, uint32_t kind, const uint8_t *name,
                            uint32_t name_bytes) noexcept nogil:
    cdef uint64_t next_cursor = findings.log.catalog.next_cursor
    cdef Cursor *cursor = topic.cursors
    while cursor != NULL and cursor.id != id:
        cursor = cursor.next
    if cursor == NULL:
        cursor = cursor_enter(topic, &findings.log.catalog, kind, name, name_bytes)
        if cursor == NULL:
            return NULL
        cursor.id = id
    # The id is an old one: entering it has used up none.
    findings.log.catalog.next_cursor = next_cursor
    if not id & FOREIGN_ID and (id & <uint64_t>0xFFFFFFFF) > next_cursor:
        findings.log.catalog.next_cursor = id & <uint64_t>0xFFFFFFFF
    cursor.durable_once = True
    return cursor


# --------------------------------------------------------------------------------------------------------- changes

cdef int topic_change(Findings *findings, const Change *change, const uint8_t *name) noexcept nogil:
    cdef Log *log = findings.log
    cdef Topic *topic
    if (change.name_bytes == 0 or change.name_bytes > MAX_TOPIC_NAME_BYTES
            or topic_by_id(&log.topics, change.topic_id) != NULL
            or topic_by_name(&log.topics, name, change.name_bytes) != NULL):
        return 0
    topic = topic_enter(&log.topics, log.catalog.log_id, change.topic_id, name, change.name_bytes)
    if topic == NULL:
        return LOG_NO_MEMORY
    topic.clean = 1
    topic.retention = <uint8_t>change.value
    topic.retention_bytes = change.extra
    return 0


cdef int cut_change(Findings *findings, Topic *topic, const Change *change) noexcept nogil:
    if change.extra > findings.epoch_seen:
        findings.epoch_seen = change.extra
    if topic.durable > change.value:
        topic.durable = change.value
    while topic.range_count and topic.ranges[topic.range_count - 1].end > change.value:
        if topic.ranges[topic.range_count - 1].first < change.value:
            topic.ranges[topic.range_count - 1].end = change.value
            break
        topic.range_count -= 1
    return topic_renew(topic, change.extra, change.value)


cdef int cursor_change(Findings *findings, Topic *topic, const Change *change, const uint8_t *name) noexcept nogil:
    cdef Cursor *cursor = restore_cursor(findings, topic, change.cursor_id, <uint32_t>change.extra, name, change.name_bytes)
    if cursor == NULL:
        return LOG_NO_MEMORY
    cursor.stamp = change.stamp
    cursor.committed = change.value
    return 0


cdef int change_apply(Findings *findings, const Change *change) noexcept nogil:
    cdef const uint8_t *name = <const uint8_t *>(change + 1)
    cdef Topic *topic
    cdef int result = 0
    findings.log.recovery.changes_applied += 1
    if change.kind == CHANGE_TOPIC:
        return topic_change(findings, change, name)
    topic = topic_by_id(&findings.log.topics, change.topic_id)
    if topic == NULL:
        return 0
    if change.kind == CHANGE_CURSOR:
        return cursor_change(findings, topic, change, name)
    if change.kind == CHANGE_LOW:
        if change.value > topic.low:
            topic.low = change.value
    elif change.kind == CHANGE_CUT:
        result = cut_change(findings, topic, change)
    elif change.kind == CHANGE_CLEAN:
        topic.clean = change.value != 0
        topic.clean_end = change.extra
    elif change.kind == CHANGE_RETENTION:
        topic.retention = <uint8_t>change.value
        topic.retention_bytes = change.extra
    elif change.kind == CHANGE_REPAIRED:
        if change.extra > change.value:
            result = range_add(topic, change.value, change.extra)
        topic.refuses = False
    return result


cdef int by_stamp(const void *a, const void *b) noexcept nogil:
    cdef uint64_t left = (<const Change *const *>a)[0].stamp, right = (<const Change *const *>b)[0].stamp
    return -1 if left < right else (1 if left > right else 0)


cdef int restore_changes(Findings *findings) noexcept nogil:
    cdef uint64_t count = 0, at = 0, i
    cdef const Change **order
    cdef int result = 0
    if findings.changes_bytes == 0:
        return 0
    order = <const Change **>malloc(findings.changes_bytes // sizeof(Change) * sizeof(Change *))
    if order == NULL:
        return -ENOMEM
    while at < findings.changes_bytes:
        order[count] = <const Change *>(findings.changes + at)
        at += order[count].size
        count += 1
    # Broken on purpose (debug build): as they lie in the files, whose ring does not begin with the oldest.
    if not (WALRUS_DEBUG and rule_broken(RULE_ONE_COUNTER)):
        qsort(order, count, sizeof(Change *), by_stamp)
    for i in range(count):
        result = change_apply(findings, order[i])
        if result < 0:
            break
    free(order)
    return result
