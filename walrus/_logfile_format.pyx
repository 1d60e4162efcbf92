"""Log file: a head block, extents one after another, and once it is full a table of all groups in it.

All numbers are little-endian.

  LogFileHead (64 bytes, then zeros to 4096)       TableHead (64 bytes, at a multiple of 4096)
  at   bytes  field                                at   bytes  field
   0    4     crc         of bytes 4 .. 64          0    4     crc       of bytes 4 .. bytes
   4    4     magic       0x464C5257 ("WRLF")       4    4     magic     0x54465257 ("WRFT")
   8    4     version     1                         8    4     version   1
  12    4     block_bytes 4096                     12    4     groups
  16   16     log_id                               16    8     number    of the file
  32    8     number      epoch << 32 | counter    24    8     end       where the extents end
  40    8     size        of the file              32    8     bytes     64 + 80 x groups
  48    8     time_ns                              40   24     reserved  0
  56    8     reserved    0                        64          GroupHeader x groups (see _extent.pyx), positions from the
                                                               file's beginning, name_bytes without names

The head's checksum has no seed: the head says itself of which log it is. The table's is seeded as an extent's at its place is:
log id, number, position.

A head is valid if, in this order: magic is right and version is not 0; the checksum is right; version is 1 (or a newer one is
told: a newer version keeps the first 64 bytes' checksum); log_id is the log's (or it is another log's, and told as such);
block_bytes is 4096; size is at least 4096; number is not 0.

A table is valid if, in this order: 64 bytes of it are in memory; magic is right, version is not 0, number is the one asked for;
bytes is what groups makes it, and in memory; the checksum is right; version is 1 (or a newer one is told); end is at least 4096
and at most the table's own position; of every group: kind is 0 or 1, count is not 0, first + count does not wrap, position is a
multiple of 8, at least 4096, and its bytes end within `end`.

Layer: bytes. No state; any thread, no GIL.
"""
from walrus._checksum cimport crc32c
from walrus._extent cimport BLOCK_BYTES, GROUP_KIND_PIECE, extent_seed
from walrus._libc cimport memcmp, memcpy, memset


cdef void logfile_head_write(uint8_t *block, const uint8_t *log_id, uint64_t number, uint64_t size,
                             uint64_t time_ns) noexcept nogil:
    cdef LogFileHead *head = <LogFileHead *>block
    memset(block, 0, BLOCK_BYTES)
    head.magic = LOGFILE_MAGIC
    head.version = LOGFILE_VERSION
    head.block_bytes = BLOCK_BYTES
    memcpy(head.log_id, log_id, 16)
    head.number = number
    head.size = size
    head.time_ns = time_ns
    head.crc = crc32c(0, block + 4, sizeof(LogFileHead) - 4)


cdef int logfile_head_read(const uint8_t *block, const uint8_t *log_id, LogFileHead *head) noexcept nogil:
    memcpy(head, block, sizeof(LogFileHead))
    if head.magic != LOGFILE_MAGIC or head.version == 0:
        return 0
    if crc32c(0, <const uint8_t *>head + 4, sizeof(LogFileHead) - 4) != head.crc:
        return 0
    if head.version != LOGFILE_VERSION:
        return -1
    if memcmp(head.log_id, log_id, 16) != 0:
        return -2
    return head.block_bytes == BLOCK_BYTES and head.size >= BLOCK_BYTES and head.number != 0


cdef void table_seal(uint8_t *at, const uint8_t *log_id, uint64_t number, uint64_t position, uint32_t groups,
                     uint64_t end) noexcept nogil:
    cdef TableHead *head = <TableHead *>at
    memset(head, 0, sizeof(TableHead))
    head.magic = TABLE_MAGIC
    head.version = LOGFILE_VERSION
    head.groups = groups
    head.number = number
    head.end = end
    head.bytes = table_bytes(groups)
    head.crc = crc32c(extent_seed(log_id, number, position), at + 4, head.bytes - 4)


cdef bint table_groups_fit(const uint8_t *at) noexcept nogil:
    cdef const TableHead *head = <const TableHead *>at
    cdef const GroupHeader *group = <const GroupHeader *>(at + sizeof(TableHead))
    cdef uint32_t _
    for _ in range(head.groups):
        if group.kind > GROUP_KIND_PIECE or group.count == 0 or group.first + group.count < group.first:
            return False
        if group.position % 8 or group.position < BLOCK_BYTES or group.position > head.end:
            return False
        if group.bytes > head.end - group.position:
            return False
        group += 1
    return True


cdef int table_check(const uint8_t *at, uint64_t have, const uint8_t *log_id, uint64_t number,
                     uint64_t position) noexcept nogil:
    cdef const TableHead *head = <const TableHead *>at
    if have < sizeof(TableHead) or head.magic != TABLE_MAGIC or head.version == 0 or head.number != number:
        return 0
    if head.bytes != table_bytes(head.groups) or head.bytes > have:
        return 0
    if crc32c(extent_seed(log_id, number, position), at + 4, head.bytes - 4) != head.crc:
        return 0
    if head.version != LOGFILE_VERSION:
        return -1
    if head.end < BLOCK_BYTES or head.end > position:
        return 0
    return table_groups_fit(at)
