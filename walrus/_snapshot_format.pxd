"""Catalog snapshot: every topic, cursor and listed log file at one stamp, in one of two slots overwritten in turn.

Layer: bytes. Byte tables: head of _snapshot_format.pyx and docs/format.md.

  snapshot = SnapshotHead | topics (SnapshotTopic, epoch list, damaged ranges, name padded to 8)
             | cursors (SnapshotCursor, name padded to 8) | files (SnapshotFile) | zero padding to BLOCK_BYTES
"""
from walrus._libc cimport uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    SNAPSHOT_MAGIC = 0x4E535257     # "WRSN"
    SNAPSHOT_VERSION = 1
    SNAPSHOT_CLEAN_CLOSE = 1        # flags: written by a clean close; staging holds nothing that counts

ctypedef struct SnapshotHead:       # 160 bytes
    uint32_t crc                    # of bytes 4 .. bytes
    uint32_t magic
    uint32_t version
    uint32_t flags
    uint64_t bytes                  # unpadded, all of it
    uint8_t log_id[16]
    uint8_t staging_nonce[16]       # staging counts only if its head says the same
    uint8_t boot_id[16]             # of the boot it was written in
    uint64_t epoch
    uint64_t stamp                  # every change up to it is in here
    uint64_t next_topic             # counter of topic ids
    uint64_t next_cursor            # counter of cursor ids
    uint64_t next_file              # counter of log file numbers
    uint64_t journal_use            # use number that the next journal file gets
    uint64_t record_sequence
    uint32_t topics
    uint32_t cursors
    uint32_t files
    uint32_t journal_files
    uint64_t journal_file_bytes
    uint64_t reserved

ctypedef struct EpochEntry:         # 16 bytes: frames of an older epoch end at `start`
    uint64_t epoch
    uint64_t start

ctypedef struct DamagedRange:       # 16 bytes: offsets [first, end)
    uint64_t first
    uint64_t end

ctypedef struct SnapshotTopic:      # 80 bytes, then epochs, ranges, name
    uint64_t id
    uint64_t low
    uint64_t durable                # the least end that recovery must find
    uint64_t retention_bytes
    uint64_t clean_end              # the end that the clean mark speaks of
    uint32_t epochs
    uint32_t ranges
    uint16_t name_bytes
    uint8_t clean
    uint8_t retention               # 0 none, 1 consumed, 2 bytes
    uint8_t accepted                # damaged ranges were accepted by repair: appends are taken
    uint8_t padding[3]
    uint64_t reserved[3]

ctypedef struct SnapshotCursor:     # 48 bytes, then name
    uint64_t id
    uint64_t topic_id
    uint64_t stamp
    uint64_t value
    uint32_t kind                   # 0 named, 1 the shared cursor
    uint16_t name_bytes
    uint16_t padding
    uint64_t reserved

ctypedef struct SnapshotFile:       # 64 bytes
    uint64_t name                   # NNN of log-NNN: where it lies
    uint64_t number
    uint64_t size
    uint64_t end                    # where the extents end
    uint64_t table_position
    uint64_t table_bytes
    uint32_t table_crc
    uint32_t flags                  # 1: holes were punched
    uint64_t reserved

# A growing buffer that the snapshot is written into. `failed` is set when memory ran out; puts then do nothing.
ctypedef struct SnapshotWriter:
    uint8_t *memory                 # BLOCK_BYTES aligned
    uint64_t capacity
    uint64_t used
    bint failed
    SnapshotHead head

cdef void snapshot_begin(SnapshotWriter *writer) noexcept nogil              # keeps the memory of an earlier use
cdef void snapshot_put_topic(SnapshotWriter *writer, SnapshotTopic *topic, const EpochEntry *epochs,
                             const DamagedRange *ranges, const uint8_t *name) noexcept nogil
cdef void snapshot_put_cursor(SnapshotWriter *writer, SnapshotCursor *cursor, const uint8_t *name) noexcept nogil
cdef void snapshot_put_file(SnapshotWriter *writer, SnapshotFile *listed) noexcept nogil
# Order: all topics, then all cursors, then all files (asserted in the debug build). Fills counts, bytes, crc, pads to
# BLOCK_BYTES; the other fields of writer.head are the caller's. Gives the padded size, 0 when memory ran out.
cdef uint64_t snapshot_end(SnapshotWriter *writer) noexcept nogil
cdef void snapshot_free(SnapshotWriter *writer) noexcept nogil

# 1 valid; 0 no snapshot or damaged; -1 newer version (checksum right; head.version says which).
cdef int snapshot_check(const uint8_t *memory, uint64_t room) noexcept nogil

ctypedef struct SnapshotReader:
    const uint8_t *at
    const uint8_t *end
cdef void snapshot_read_begin(SnapshotReader *reader, const uint8_t *memory) noexcept nogil
# Next item or NULL; the arrays and the name point into the snapshot. Call them in the order of writing.
cdef const SnapshotTopic *snapshot_read_topic(SnapshotReader *reader, const EpochEntry **epochs,
                                              const DamagedRange **ranges, const uint8_t **name) noexcept nogil
cdef const SnapshotCursor *snapshot_read_cursor(SnapshotReader *reader, const uint8_t **name) noexcept nogil
cdef const SnapshotFile *snapshot_read_file(SnapshotReader *reader) noexcept nogil
