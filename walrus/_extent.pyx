"""Extent and journal record: one header, groups of frames, optional catalog changes; one writer, one scanner.

All numbers are little-endian; it begins at a multiple of BLOCK_BYTES and is one long.

  ExtentHeader                                     GroupHeader (80 bytes each, right behind)
  at   bytes  field                                at   bytes  field
   0    4     crc      of bytes 4 .. header_bytes   0    8     topic_id
   4    2     magic    0x5857                       8    8     first         offset of the first entry
   6    1     version  1                           16    4     count         entries (of the whole frame, for a piece)
   7    1     kind     1 extent, 2 journal record  20    4     epoch         of the last frame
   8    4     header_bytes                         24    8     position      of its frames, from the header
  12    4     groups                               32    4     bytes         of its frames
  16    8     size     all of it                   36    4     payload_bytes
  24    8     number   of log file, of use         40    8     time_min
  32    8     sequence                             48    8     time_max
  40    8     time_ns                              56    8     stamp         of a piece
  48    8     snapshot_stamp                       64    4     piece         its number
  56    4     changes  bytes of them               68    4     pieces        in the last piece, how many; else 0
  60    4     epoch                                72    1     kind          0 run, 1 piece
  64    8     flushed                              73    1     flags
  72    8     reserved 0                           74    2     name_bytes
                                                   76    4     reserved      0

Behind the groups the names back to back, in the order of the groups; the catalog changes are the last `changes` bytes of the
header; then frames. A group with name_bytes 0 belongs to a topic that an earlier group or a snapshot names.

flushed: what had been flushed when this was written, of an extent's file all below that position, of the journal all records of a
lower sequence. So a gap below it is damage, not a torn tail.

Seed: CRC32C of log id (16), number (8) and position in the file (8): a stale, misplaced or foreign header never validates.

A header is valid if, in this order:
  1. 80 bytes of it are in memory; magic is right, version is not 0, kind and number are those asked for;
  2. size is a multiple of 4096, not 0, within the room; header_bytes is a multiple of 8, at least 80, at most size; `groups`
     groups and `changes` bytes (a multiple of 8) fit into it;
  3. (2 is given here if not all of the header is in memory)
  4. the checksum is right;
  5. version is 1, or else a newer version is told;
  6. of every group: kind is 0 or 1, count is not 0, first + count does not wrap, position is a multiple of 8 and not within the
     header, its bytes end within size; names are at most 1,024 bytes each and lie, all together, before the changes.
The header says nothing of the frames' bytes: each frame has a checksum of its own, and only frames are believed.

Layer: bytes. No state; any thread, no GIL.
"""
from walrus._checksum cimport crc32c


cdef uint32_t extent_seed(const uint8_t *log_id, uint64_t number, uint64_t position) noexcept nogil:
    cdef uint64_t[2] place
    place[0] = number
    place[1] = position
    return crc32c(crc32c(0, log_id, 16), place, 16)


cdef void extent_seal(uint8_t *at, const uint8_t *log_id, uint64_t position) noexcept nogil:
    cdef ExtentHeader *header = <ExtentHeader *>at
    header.magic = EXTENT_MAGIC
    header.version = EXTENT_VERSION
    header.crc = crc32c(extent_seed(log_id, header.number, position), at + 4, header.header_bytes - 4)


cdef bint sizes_fit(const ExtentHeader *header, uint64_t room) noexcept nogil:
    """Step 2. 80 x groups is computed in 64 bits and cannot overflow."""
    cdef uint64_t within = header.header_bytes
    if header.size == 0 or header.size % BLOCK_BYTES or header.size > room:
        return False
    if within < sizeof(ExtentHeader) or within % 8 or within > header.size or header.changes % 8:
        return False
    return sizeof(ExtentHeader) + <uint64_t>header.groups * sizeof(GroupHeader) + header.changes <= within


cdef bint groups_fit(const uint8_t *at) noexcept nogil:
    """Step 6."""
    cdef const ExtentHeader *header = <const ExtentHeader *>at
    cdef const GroupHeader *group = extent_group(at, 0)
    cdef uint64_t names = 0
    cdef uint32_t _
    for _ in range(header.groups):
        if group.kind > GROUP_KIND_PIECE or group.count == 0 or group.first + group.count < group.first:
            return False
        if group.position % 8 or group.position < header.header_bytes or group.position > header.size:
            return False
        if group.bytes > header.size - group.position or group.name_bytes > MAX_TOPIC_NAME_BYTES:
            return False
        names += group.name_bytes
        group += 1
    return names <= header.header_bytes - sizeof(ExtentHeader) - <uint64_t>header.groups * sizeof(GroupHeader) - header.changes


cdef int extent_check(const uint8_t *at, uint64_t have, uint64_t room, const uint8_t *log_id, uint64_t number,
                      uint64_t position, int kind) noexcept nogil:
    cdef const ExtentHeader *header = <const ExtentHeader *>at
    if have < sizeof(ExtentHeader) or header.magic != EXTENT_MAGIC or header.version == 0:
        return 0
    if header.kind != kind or header.number != number or not sizes_fit(header, room):
        return 0
    if header.header_bytes > have:
        return 2
    if crc32c(extent_seed(log_id, number, position), at + 4, header.header_bytes - 4) != header.crc:
        return 0
    if header.version != EXTENT_VERSION:
        return -1
    return 1 if groups_fit(at) else 0


cdef const uint8_t *extent_name(const uint8_t *at, uint32_t i) noexcept nogil:
    cdef const uint8_t *name = <const uint8_t *>extent_group(at, (<const ExtentHeader *>at).groups)
    cdef const GroupHeader *group = extent_group(at, 0)
    cdef uint32_t before
    for before in range(i):
        name += group[before].name_bytes
    return name


cdef const uint8_t *extent_changes(const uint8_t *at) noexcept nogil:
    cdef const ExtentHeader *header = <const ExtentHeader *>at
    return at + header.header_bytes - header.changes
