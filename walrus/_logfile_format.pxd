"""Log file: a head block, extents one after another, and once it is full a table of all groups in it.

Layer: bytes. Byte tables: head of _logfile_format.pyx and docs/format.md.

  log file = LogFileHead in the first BLOCK_BYTES | extents | (when full) table, BLOCK_BYTES aligned
  table    = TableHead | GroupHeader x groups (positions from the file's beginning, no names) | zero padding
"""
from walrus._libc cimport uint8_t, uint32_t, uint64_t
from walrus._extent cimport GroupHeader

cdef enum:
    LOGFILE_MAGIC = 0x464C5257      # "WRLF"
    TABLE_MAGIC = 0x54465257        # "WRFT"
    LOGFILE_VERSION = 1

ctypedef struct LogFileHead:        # 64 bytes
    uint32_t crc                    # of bytes 4 .. 64, seeded with nothing: names its log itself
    uint32_t magic
    uint32_t version
    uint32_t block_bytes
    uint8_t log_id[16]
    uint64_t number                 # epoch << 32 | counter: drawn anew at each use of the file
    uint64_t size                   # of the file
    uint64_t time_ns
    uint64_t reserved

ctypedef struct TableHead:          # 64 bytes
    uint32_t crc                    # of bytes 4 .. 64 + 80 x groups, seeded with log id and number as extents are
    uint32_t magic
    uint32_t version
    uint32_t groups
    uint64_t number
    uint64_t end                    # where the extents end
    uint64_t bytes                  # of the table, unpadded
    uint64_t reserved[3]

cdef void logfile_head_write(uint8_t *block, const uint8_t *log_id, uint64_t number, uint64_t size,
                             uint64_t time_ns) noexcept nogil
# 1 valid; 0 not a head (or damaged); -1 newer version; -2 of another log.
cdef int logfile_head_read(const uint8_t *block, const uint8_t *log_id, LogFileHead *head) noexcept nogil
cdef inline uint64_t table_bytes(uint32_t groups) noexcept nogil:
    return sizeof(TableHead) + <uint64_t>groups * sizeof(GroupHeader)
# The groups already lie behind the head at `at`.
cdef void table_seal(uint8_t *at, const uint8_t *log_id, uint64_t number, uint64_t position, uint32_t groups,
                     uint64_t end) noexcept nogil
cdef int table_check(const uint8_t *at, uint64_t have, const uint8_t *log_id, uint64_t number,
                     uint64_t position) noexcept nogil
