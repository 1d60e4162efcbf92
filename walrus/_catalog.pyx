"""Catalog: one counter of stamps, the changes that the next sync takes to the journal, and the snapshot in two slots.

Rules kept here: one_counter (every change is stamped from one counter; a snapshot's stamp covers exactly what it holds, because
both happen under catalog.lock), snap_atomic (the older slot is overwritten, the newer stays whole until that is flushed),
snap_flushed and snap_keeps (a file is listed once it is LOGFILE_FLUSHED, and stays so until it is recycled).

Threads: changes from any thread under catalog.lock; snapshots by one thread at a time (opening, the I/O thread, closing). No GIL.
"""
from walrus._changes cimport change_bytes, change_write
from walrus._device cimport (FILE_CREATE, device_flush, device_sync_directory, device_write, file_allocate, file_close,
                             file_open)
from walrus._extent cimport BLOCK_BYTES
from walrus._libc cimport (ENOMEM, WALRUS_DEBUG, free, memcpy, memset, realloc, uint8_t, walrus_add64,
                           walrus_load64, walrus_lock, walrus_store64, walrus_unlock)
from walrus._logfiles cimport LOGFILE_FLUSHED, LOGFILE_LISTED, LogFile
from walrus._rules cimport RULE_SNAP_ATOMIC, RULE_SNAP_KEEPS, rule_broken
from walrus._snapshot_format cimport (SnapshotCursor, SnapshotFile, SnapshotTopic, snapshot_begin, snapshot_end,
                                      snapshot_free, snapshot_put_cursor, snapshot_put_file, snapshot_put_topic)
from walrus._topics cimport Cursor


cdef int catalog_change(Catalog *catalog, Change *change, const uint8_t *name) noexcept nogil:
    cdef uint64_t needed = catalog.pending_bytes + change_bytes(change.name_bytes)
    cdef uint64_t room = catalog.pending_room
    cdef void *memory
    if needed > room:
        room = room * 2 if room else <uint64_t>4096
        while room < needed:
            room *= 2
        memory = realloc(catalog.pending, room)
        if memory == NULL:
            return -ENOMEM
        catalog.pending = <uint8_t *>memory
        catalog.pending_room = room
    change.stamp = walrus_add64(catalog.stamp_word, 1)
    catalog.pending_bytes += change_write(catalog.pending + catalog.pending_bytes, change, name)
    return 0


cdef int catalog_slots_open(Catalog *catalog, Device *device, bint create) noexcept nogil:
    cdef int i, result
    for i in range(2):
        result = file_open(device, &catalog.slot[i], b"catalog.0" if i == 0 else b"catalog.1",
                           FILE_CREATE if create else 0)
        if result >= 0 and create and catalog.slot[i].size == 0:
            result = file_allocate(device, &catalog.slot[i], 16 * BLOCK_BYTES)
        if result < 0:
            return result
    return device_sync_directory(device) if create else 0


cdef void catalog_close(Catalog *catalog, Device *device) noexcept nogil:
    cdef int i
    for i in range(2):
        if catalog.slot[i].fd >= 0:
            file_close(device, &catalog.slot[i])
    snapshot_free(&catalog.writer)
    free(catalog.pending)
    catalog.pending = NULL


cdef void put_topics(Catalog *catalog, TopicTable *topics) noexcept nogil:
    cdef SnapshotTopic row
    cdef Topic *topic
    cdef uint64_t i
    for i in range(topics.count):
        topic = topics.by_number[i]
        memset(&row, 0, sizeof(row))
        row.id = topic.id
        row.low = topic.low
        row.durable = walrus_load64(&topic.durable)
        row.retention = topic.retention
        row.retention_bytes = topic.retention_bytes
        row.epochs = topic.epoch_count
        row.ranges = topic.range_count
        row.name_bytes = <unsigned short>topic.name_bytes
        row.clean = topic.clean
        row.clean_end = topic.clean_end
        row.accepted = 0 if topic.refuses else 1
        snapshot_put_topic(&catalog.writer, &row, topic.epochs, topic.ranges, topic.name)


cdef void put_cursors(Catalog *catalog, TopicTable *topics) noexcept nogil:
    cdef SnapshotCursor row
    cdef Cursor *cursor
    cdef uint64_t i
    for i in range(topics.count):
        cursor = topics.by_number[i].cursors
        while cursor != NULL:
            if cursor.durable_once:
                memset(&row, 0, sizeof(row))
                row.id = cursor.id
                row.topic_id = cursor.topic.id
                row.stamp = cursor.stamp
                row.value = cursor.committed
                row.kind = cursor.kind
                row.name_bytes = <unsigned short>cursor.name_bytes
                snapshot_put_cursor(&catalog.writer, &row, cursor.name)
            cursor = cursor.next


cdef inline bint listable(const LogFile *file) noexcept nogil:
    if WALRUS_DEBUG and rule_broken(RULE_SNAP_KEEPS) and file.state == LOGFILE_LISTED and file.punched:
        return False
    return file.state == LOGFILE_FLUSHED or file.state == LOGFILE_LISTED


cdef void put_files(Catalog *catalog, LogFiles *files) noexcept nogil:
    cdef SnapshotFile row
    cdef LogFile *file
    walrus_lock(&files.lock)
    file = files.first
    while file != NULL:
        if listable(file):
            memset(&row, 0, sizeof(row))
            row.name = file.name
            row.number = file.number
            row.size = file.file.size
            row.end = file.end
            row.table_position = file.table_position
            row.table_bytes = file.table_size
            row.table_crc = file.table_crc
            row.flags = 1 if file.punched else 0
            snapshot_put_file(&catalog.writer, &row)
        file = file.next
    walrus_unlock(&files.lock)


cdef void mark_listed(LogFiles *files) noexcept nogil:
    """Those that were there to be listed (I/O thread: none has become so since)."""
    cdef LogFile *file
    walrus_lock(&files.lock)
    file = files.first
    while file != NULL:
        if file.state == LOGFILE_FLUSHED:
            file.state = LOGFILE_LISTED
        file = file.next
    walrus_unlock(&files.lock)


cdef uint64_t serialise(Catalog *catalog, TopicTable *topics, LogFiles *files, Journal *journal,
                        uint32_t flags) noexcept nogil:
    """Under catalog.lock: the image and its stamp belong together."""
    snapshot_begin(&catalog.writer)
    walrus_lock(&topics.lock)
    put_topics(catalog, topics)
    put_cursors(catalog, topics)
    walrus_unlock(&topics.lock)
    put_files(catalog, files)
    catalog.writer.head.flags = flags
    memcpy(catalog.writer.head.log_id, catalog.log_id, 16)
    memcpy(catalog.writer.head.staging_nonce, catalog.staging_nonce, 16)
    memcpy(catalog.writer.head.boot_id, catalog.boot_id, 16)
    catalog.writer.head.epoch = catalog.epoch
    catalog.writer.head.stamp = walrus_add64(catalog.stamp_word, 1)     # its own: of two snapshots the later one is the newer
    catalog.writer.head.next_topic = catalog.next_topic
    catalog.writer.head.next_cursor = catalog.next_cursor
    catalog.writer.head.next_file = files.next_counter
    catalog.writer.head.journal_use = journal.next_use
    catalog.writer.head.record_sequence = journal.sequence
    catalog.writer.head.journal_files = journal.count
    catalog.writer.head.journal_file_bytes = journal.file_bytes
    return snapshot_end(&catalog.writer)


cdef int catalog_snapshot(Catalog *catalog, Device *device, TopicTable *topics, LogFiles *files, Journal *journal,
                          uint32_t flags) noexcept nogil:
    cdef uint32_t target = 1 - catalog.newest
    cdef uint64_t size
    cdef int result
    if WALRUS_DEBUG and rule_broken(RULE_SNAP_ATOMIC):
        target = catalog.newest
    walrus_lock(&catalog.lock)
    size = serialise(catalog, topics, files, journal, flags)
    walrus_unlock(&catalog.lock)
    if size == 0:
        return -ENOMEM
    if size > catalog.slot[target].size:
        result = file_allocate(device, &catalog.slot[target], size * 2)
        if result < 0:
            return result
    result = device_write(device, &catalog.slot[target], catalog.writer.memory, size, 0)
    if result >= 0:
        result = device_flush(device, &catalog.slot[target])
    if result < 0:
        return result
    catalog.newest = target
    walrus_store64(&catalog.flushed_stamp, catalog.writer.head.stamp)
    mark_listed(files)
    catalog.snapshots += 1
    return 0
