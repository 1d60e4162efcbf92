"""Extent and journal record: one header, groups of frames, optional catalog changes; one writer, one scanner.

Layer: bytes. No state; any thread, no GIL. Byte table: head of _extent.pyx and docs/format.md.

  extent / record = ExtentHeader | GroupHeader x groups | names back to back, padded to 8 | changes | frames of each group
                    padded with zeros to a multiple of BLOCK_BYTES
Each group's frames lie at header + group.position, 8-aligned, `bytes` long.
"""
from walrus._libc cimport uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    BLOCK_BYTES = 4096
    EXTENT_MAGIC = 0x5857           # "WX"
    EXTENT_VERSION = 1
    EXTENT_KIND_LOG = 1
    EXTENT_KIND_JOURNAL = 2
    GROUP_KIND_RUN = 0              # whole frames with dense offsets first .. first + count
    GROUP_KIND_PIECE = 1            # one piece of a large frame
    MAX_TOPIC_NAME_BYTES = 1024

ctypedef struct ExtentHeader:       # 80 bytes
    uint32_t crc                    # CRC32C of bytes 4 .. header_bytes, seeded by extent_seed()
    uint16_t magic
    uint8_t version
    uint8_t kind
    uint32_t header_bytes           # this struct, the groups, the names, the changes
    uint32_t groups
    uint64_t size                   # all of it, a multiple of BLOCK_BYTES
    uint64_t number                 # log file number, or use number of the journal file
    uint64_t sequence               # of records: dense; of extents: position in the file
    uint64_t time_ns
    uint64_t snapshot_stamp         # stamp of the newest snapshot known to be flushed when this was written
    uint32_t changes                # bytes of catalog changes, which are the last part of the header
    uint32_t epoch
    uint64_t flushed                # when this was written: records of a lower sequence; of an extent's file, what lies below here
    uint64_t reserved

ctypedef struct GroupHeader:        # 80 bytes
    uint64_t topic_id
    uint64_t first
    uint32_t count                  # entries
    uint32_t epoch                  # of the last frame
    uint64_t position               # of its frames: from the header here; from the file's beginning in a file's table
    uint32_t bytes
    uint32_t payload_bytes
    uint64_t time_min
    uint64_t time_max
    uint64_t stamp                  # of a piece
    uint32_t piece
    uint32_t pieces                 # in the last piece, how many; else 0
    uint8_t kind
    uint8_t flags
    uint16_t name_bytes
    uint32_t reserved

# Seed: log id, number and the position in the file. A stale, misplaced or foreign header never validates.
cdef uint32_t extent_seed(const uint8_t *log_id, uint64_t number, uint64_t position) noexcept nogil
# Fills crc, magic, version over a header whose other fields, groups, names and changes are in place at `at`.
cdef void extent_seal(uint8_t *at, const uint8_t *log_id, uint64_t position) noexcept nogil
# 1 valid (sizes within `room`, groups inside the extent, names inside the header); 0 not; -1 newer version, right checksum.
# `room` is what is left of the file from here; `have` how much of it is in memory at `at`; 2: more than `have` is needed
# to judge (header_bytes says how much; only if plausible).
cdef int extent_check(const uint8_t *at, uint64_t have, uint64_t room, const uint8_t *log_id, uint64_t number,
                      uint64_t position, int kind) noexcept nogil
cdef inline GroupHeader *extent_group(const uint8_t *at, uint32_t i) noexcept nogil:
    return <GroupHeader *>(at + sizeof(ExtentHeader)) + i
# Name of group i (extent_group(at, i).name_bytes long), and the changes.
cdef const uint8_t *extent_name(const uint8_t *at, uint32_t i) noexcept nogil
cdef const uint8_t *extent_changes(const uint8_t *at) noexcept nogil
