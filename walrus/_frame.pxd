"""Frame: what is written atomically, 1 to 2,000 entries of one topic (or one piece of a larger frame).

Layer: bytes. No state, no threads, no GIL. The byte table stands at the head of _frame.pyx and in docs/format.md.
"""
from walrus._libc cimport uint8_t, uint32_t, uint64_t

cdef enum:
    FRAME_HEADER_BYTES = 32
    FRAME_PIECE_BYTES = 24          # follows the header of a piece
    FRAME_VERSION = 1
    FRAME_VALUE_BITS = 22
    FRAME_KIND_SINGLE = 0           # value: bytes of the one payload
    FRAME_KIND_BATCH = 1            # value: number of entries; body: u32 lengths, then payloads back to back
    FRAME_KIND_PIECE = 2            # value: bytes of this piece's body, which follow the PieceHeader
    FRAME_KIND_FOREIGN = 3          # room kept for a foreign body; refused by this version
    MAX_BATCH_ENTRIES = 2000

# word: bits 0-21 value, 22-27 kind, 28-31 version. crc: CRC32C of bytes 4.. to the unpadded end of the frame,
# continued from the topic's seed (log id and topic id). An all-zero header is invalid: its version is 0.
ctypedef struct FrameHeader:
    uint32_t crc
    uint32_t word
    uint32_t epoch
    uint32_t claim                  # first offset less the topic's durable offset when written, saturating
    uint64_t first
    uint64_t time_ns

# The whole frame's body (u32 lengths if entries > 1, then payloads) is the pieces' bodies one after another.
ctypedef struct PieceHeader:
    uint64_t stamp                  # one for all pieces of a frame, never given twice in a log
    uint32_t number                 # 0, 1, 2 ...
    uint32_t pieces                 # how many there are, in the last piece; 0 in the others
    uint32_t entries                # of the whole frame
    uint32_t reserved

# What a decoder found in one frame. Points into the caller's memory.
ctypedef struct FrameView:
    uint64_t first
    uint64_t time_ns
    uint64_t durable                # first less claim: what was known to be durable when it was written
    uint32_t epoch
    uint32_t kind
    uint32_t count                  # entries (of the whole frame, for a piece)
    uint32_t size                   # bytes of the whole frame with padding: where the next one begins
    const uint32_t *lengths         # NULL but for a batch
    const uint8_t *body             # payloads (or a piece's body)
    uint32_t body_bytes
    uint64_t stamp                  # of a piece
    uint32_t number
    uint32_t pieces

cdef uint32_t frame_seed(const uint8_t *log_id, uint64_t topic_id) noexcept nogil
cdef inline uint32_t frame_padded(uint64_t size) noexcept nogil:
    return <uint32_t>((size + 7) & ~<uint64_t>7)
cdef inline uint32_t frame_claim(uint64_t first, uint64_t durable) noexcept nogil:
    cdef uint64_t distance = first - durable if durable < first else 0
    if distance > <uint64_t>0xFFFFFFFF:
        distance = <uint64_t>0xFFFFFFFF
    return <uint32_t>distance

# Bytes (padded) that a frame of one entry, or of a batch, will take.
cdef inline uint64_t frame_single_bytes(uint64_t length) noexcept nogil:
    return (FRAME_HEADER_BYTES + length + 7) & ~<uint64_t>7
cdef inline uint64_t frame_batch_bytes(uint32_t count, uint64_t payload) noexcept nogil:
    return (FRAME_HEADER_BYTES + 4 * <uint64_t>count + payload + 7) & ~<uint64_t>7

# Writers: write the frame at `at` (8-aligned, room checked by the caller), header last; give its padded size.
# The padding after the frame is zeroed. count >= 2 for a batch (a batch of one is a single).
cdef uint32_t frame_write_single(uint8_t *at, uint32_t seed, uint32_t epoch, uint32_t claim, uint64_t first,
                                 uint64_t time_ns, const uint8_t *data, uint32_t length) noexcept nogil
cdef uint32_t frame_write_batch(uint8_t *at, uint32_t seed, uint32_t epoch, uint32_t claim, uint64_t first,
                                uint64_t time_ns, const uint8_t **data, const uint64_t *lengths,
                                uint32_t count) noexcept nogil
# A batch whose payloads already lie back to back in one buffer.
cdef uint32_t frame_write_packed(uint8_t *at, uint32_t seed, uint32_t epoch, uint32_t claim, uint64_t first,
                                 uint64_t time_ns, const uint8_t *data, const uint64_t *lengths,
                                 uint32_t count) noexcept nogil
# The body of `body_bytes` already lies at `at` + FRAME_HEADER_BYTES + FRAME_PIECE_BYTES: header and checksum.
cdef uint32_t frame_seal_piece(uint8_t *at, uint32_t seed, uint32_t epoch, uint32_t claim, uint64_t first,
                               uint64_t time_ns, uint32_t body_bytes, uint64_t stamp, uint32_t number,
                               uint32_t pieces, uint32_t entries) noexcept nogil

# 1: a valid frame, `view` filled. 0: not a frame, or not of this topic, or cut off by `room` (bytes readable at `at`).
# -1: a frame whose header is of a newer version (only told when version field > FRAME_VERSION and the checksum is right).
cdef int frame_read(const uint8_t *at, uint64_t room, uint32_t seed, FrameView *view) noexcept nogil
# As frame_read, but looks only at the header's sizes (no checksum): to step over frames that were checked before.
cdef int frame_peek(const uint8_t *at, uint64_t room, FrameView *view) noexcept nogil
# Bytes from `at` to the next valid frame of that seed in 8-byte steps (0 if at `at` itself), or `room` if there is none.
cdef uint64_t frame_search(const uint8_t *at, uint64_t room, uint32_t seed, FrameView *view) noexcept nogil
