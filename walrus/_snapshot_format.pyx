"""Catalog snapshot: every topic, cursor and listed log file at one stamp, in one of two slots overwritten in turn.

All numbers are little-endian. Every part is a multiple of 8 long, and begins at one.

  SnapshotHead (160 bytes)                           SnapshotTopic (80 bytes)
  at   bytes  field                                  at   bytes  field
   0    4     crc                of 4 .. bytes        0    8     id
   4    4     magic              0x4E535257 ("WRSN")  8    8     low              low watermark
   8    4     version            1                   16    8     durable          the least end recovery must find
  12    4     flags              1 clean close       24    8     retention_bytes
  16    8     bytes              without padding     32    8     reserved_value   0
  24   16     log_id                                 40    4     epochs           entries of the epoch list
  40   16     staging_nonce                          44    4     ranges           damaged ranges
  56   16     boot_id                                48    2     name_bytes
  72    8     epoch                                  50    1     clean
  80    8     stamp              all changes up to   52    1     accepted         (51: retention, 53: 3 zeros)
  88    8     next_topic                             56   24     reserved         0
  96    8     next_cursor                            80          EpochEntry x epochs    epoch 8 | start 8
 104    8     next_file                                          DamagedRange x ranges  first 8 | end 8
 112    8     journal_use                                        name, zeros to a multiple of 8
 120    8     record_sequence                       SnapshotCursor (48 bytes)
 128    4     topics                                  0 id 8 | 8 topic_id 8 | 16 stamp 8 | 24 value 8 | 32 kind 4
 132    4     cursors                                36 name_bytes 2 | 38 zeros 2 | 40 reserved 8 | name, zeros to 8
 136    4     files                                 SnapshotFile (64 bytes)
 140    4     journal_files                           0 name 8 | 8 number 8 | 16 size 8 | 24 end 8 | 32 table_position 8
 144    8     journal_file_bytes                     40 table_bytes 8 | 48 table_crc 4 | 52 flags 4 (1: punched)
 152    8     reserved           0                   56 reserved 8

The checksum has no seed: the snapshot says itself of which log it is (its reader compares).

A snapshot is valid if, in this order: 160 bytes of it are there; magic is right and version is not 0; bytes is at least 160, a
multiple of 8, and at most what is there; the checksum is right; version is 1 (or a newer one is told); `topics` topics, `cursors`
cursors, `files` files, read in that order with every list and name inside, end exactly at `bytes`; topic names are at most 1,024
bytes. Of two valid ones of this log the higher (epoch, stamp) counts; that choice is the reader's.

Threads: a writer or reader belongs to one thread at a time; nothing else has state. No GIL.
"""
from walrus._checksum cimport crc32c
from walrus._extent cimport BLOCK_BYTES, MAX_TOPIC_NAME_BYTES
from walrus._libc cimport WALRUS_DEBUG, free, memcpy, memset, posix_memalign
from libc.stdlib cimport abort


cdef enum:
    CAPACITY_MIN = 65536


# ------------------------------------------------------------------------------------------------------- writing

cdef void snapshot_begin(SnapshotWriter *writer) noexcept nogil:
    writer.used = sizeof(SnapshotHead)
    writer.failed = False
    memset(&writer.head, 0, sizeof(SnapshotHead))


cdef uint8_t *room_for(SnapshotWriter *writer, uint64_t bytes) noexcept nogil:
    """The next `bytes` of the buffer, zeroed; NULL if memory ran out. `bytes` is a sum of 32-bit sizes: no overflow."""
    cdef uint64_t capacity = writer.capacity if writer.capacity else <uint64_t>CAPACITY_MIN
    cdef void *memory = NULL
    cdef uint8_t *at
    if writer.failed:
        return NULL
    if writer.memory == NULL or writer.used + bytes > writer.capacity:
        while capacity < writer.used + bytes:
            capacity *= 2
        if posix_memalign(&memory, BLOCK_BYTES, capacity) != 0:
            writer.failed = True
            return NULL
        if writer.memory != NULL:
            memcpy(memory, writer.memory, writer.used)
            free(writer.memory)
        writer.memory = <uint8_t *>memory
        writer.capacity = capacity
    at = writer.memory + writer.used
    memset(at, 0, bytes)
    writer.used += bytes
    return at


cdef inline void order_check(bint right) noexcept nogil:
    if WALRUS_DEBUG and not right:
        abort()


cdef inline uint64_t padded8(uint64_t bytes) noexcept nogil:
    return (bytes + 7) & ~<uint64_t>7


cdef void snapshot_put_topic(SnapshotWriter *writer, SnapshotTopic *topic, const EpochEntry *epochs,
                             const DamagedRange *ranges, const uint8_t *name) noexcept nogil:
    cdef uint64_t epoch_bytes = <uint64_t>topic.epochs * sizeof(EpochEntry)
    cdef uint64_t range_bytes = <uint64_t>topic.ranges * sizeof(DamagedRange)
    cdef uint8_t *at
    order_check(writer.head.cursors == 0 and writer.head.files == 0)
    at = room_for(writer, sizeof(SnapshotTopic) + epoch_bytes + range_bytes + padded8(topic.name_bytes))
    if at == NULL:
        return
    memcpy(at, topic, sizeof(SnapshotTopic))
    at += sizeof(SnapshotTopic)
    if epoch_bytes:
        memcpy(at, epochs, epoch_bytes)
    at += epoch_bytes
    if range_bytes:
        memcpy(at, ranges, range_bytes)
    at += range_bytes
    if topic.name_bytes:
        memcpy(at, name, topic.name_bytes)
    writer.head.topics += 1


cdef void snapshot_put_cursor(SnapshotWriter *writer, SnapshotCursor *cursor, const uint8_t *name) noexcept nogil:
    cdef uint8_t *at
    order_check(writer.head.files == 0)
    at = room_for(writer, sizeof(SnapshotCursor) + padded8(cursor.name_bytes))
    if at == NULL:
        return
    memcpy(at, cursor, sizeof(SnapshotCursor))
    if cursor.name_bytes:
        memcpy(at + sizeof(SnapshotCursor), name, cursor.name_bytes)
    writer.head.cursors += 1


cdef void snapshot_put_file(SnapshotWriter *writer, SnapshotFile *listed) noexcept nogil:
    cdef uint8_t *at = room_for(writer, sizeof(SnapshotFile))
    if at == NULL:
        return
    memcpy(at, listed, sizeof(SnapshotFile))
    writer.head.files += 1


cdef uint64_t snapshot_end(SnapshotWriter *writer) noexcept nogil:
    cdef uint64_t bytes = writer.used
    cdef uint64_t padded = (bytes + BLOCK_BYTES - 1) & ~<uint64_t>(BLOCK_BYTES - 1)
    if room_for(writer, padded - bytes) == NULL:
        return 0
    writer.head.magic = SNAPSHOT_MAGIC
    writer.head.version = SNAPSHOT_VERSION
    writer.head.bytes = bytes
    memcpy(writer.memory, &writer.head, sizeof(SnapshotHead))
    writer.head.crc = crc32c(0, writer.memory + 4, bytes - 4)
    (<SnapshotHead *>writer.memory).crc = writer.head.crc
    return padded


cdef void snapshot_free(SnapshotWriter *writer) noexcept nogil:
    free(writer.memory)
    writer.memory = NULL
    writer.capacity = 0
    writer.used = 0


# ------------------------------------------------------------------------------------------------------- reading

cdef inline uint64_t left(const SnapshotReader *reader) noexcept nogil:
    return <uint64_t>(reader.end - reader.at)


cdef void snapshot_read_begin(SnapshotReader *reader, const uint8_t *memory) noexcept nogil:
    reader.at = memory + sizeof(SnapshotHead)
    reader.end = memory + (<const SnapshotHead *>memory).bytes


cdef const SnapshotTopic *snapshot_read_topic(SnapshotReader *reader, const EpochEntry **epochs,
                                              const DamagedRange **ranges, const uint8_t **name) noexcept nogil:
    cdef const SnapshotTopic *topic = <const SnapshotTopic *>reader.at
    cdef uint64_t lists
    if left(reader) < sizeof(SnapshotTopic) or topic.name_bytes > MAX_TOPIC_NAME_BYTES:
        return NULL
    lists = <uint64_t>topic.epochs * sizeof(EpochEntry) + <uint64_t>topic.ranges * sizeof(DamagedRange)
    if left(reader) < sizeof(SnapshotTopic) + lists + padded8(topic.name_bytes):
        return NULL
    epochs[0] = <const EpochEntry *>(reader.at + sizeof(SnapshotTopic))
    ranges[0] = <const DamagedRange *>(epochs[0] + topic.epochs)
    name[0] = <const uint8_t *>(ranges[0] + topic.ranges)
    reader.at = name[0] + padded8(topic.name_bytes)
    return topic


cdef const SnapshotCursor *snapshot_read_cursor(SnapshotReader *reader, const uint8_t **name) noexcept nogil:
    cdef const SnapshotCursor *cursor = <const SnapshotCursor *>reader.at
    if left(reader) < sizeof(SnapshotCursor):
        return NULL
    if left(reader) < sizeof(SnapshotCursor) + padded8(cursor.name_bytes):
        return NULL
    name[0] = reader.at + sizeof(SnapshotCursor)
    reader.at = name[0] + padded8(cursor.name_bytes)
    return cursor


cdef const SnapshotFile *snapshot_read_file(SnapshotReader *reader) noexcept nogil:
    cdef const SnapshotFile *listed = <const SnapshotFile *>reader.at
    if left(reader) < sizeof(SnapshotFile):
        return NULL
    reader.at += sizeof(SnapshotFile)
    return listed


cdef bint items_fit(const uint8_t *memory) noexcept nogil:
    """Every item lies inside, and nothing is left over."""
    cdef const SnapshotHead *head = <const SnapshotHead *>memory
    cdef SnapshotReader reader
    cdef const EpochEntry *epochs
    cdef const DamagedRange *ranges
    cdef const uint8_t *name
    cdef uint32_t _
    snapshot_read_begin(&reader, memory)
    for _ in range(head.topics):
        if snapshot_read_topic(&reader, &epochs, &ranges, &name) == NULL:
            return False
    for _ in range(head.cursors):
        if snapshot_read_cursor(&reader, &name) == NULL:
            return False
    for _ in range(head.files):
        if snapshot_read_file(&reader) == NULL:
            return False
    return reader.at == reader.end


cdef int snapshot_check(const uint8_t *memory, uint64_t room) noexcept nogil:
    cdef const SnapshotHead *head = <const SnapshotHead *>memory
    if room < sizeof(SnapshotHead) or head.magic != SNAPSHOT_MAGIC or head.version == 0:
        return 0
    if head.bytes < sizeof(SnapshotHead) or head.bytes % 8 or head.bytes > room:
        return 0
    if crc32c(0, memory + 4, head.bytes - 4) != head.crc:
        return 0
    if head.version != SNAPSHOT_VERSION:
        return -1
    return 1 if items_fit(memory) else 0
