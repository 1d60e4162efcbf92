"""Frame: what is written atomically, 1 to 2,000 entries of one topic (or one piece of a larger frame).

All numbers are little-endian; a frame begins at a multiple of 8.

  at   bytes  field
   0    4     crc        CRC32C of bytes 4 .. end, continued from the topic's seed
   4    4     word       bits 0-21 value, 22-27 kind, 28-31 version
   8    4     epoch      of the writer
  12    4     claim      first less the topic's durable offset when it was written, saturating at 2^32 - 1
  16    8     first      offset of the first entry
  24    8     time_ns    append time, nanoseconds of CLOCK_REALTIME
  32          body       by kind:
                         0 single  the payload, `value` bytes
                         1 batch   `value` lengths of 4 bytes, then the payloads back to back
                         2 piece   PieceHeader, then `value` bytes of the large frame's body
                         3 foreign room kept; this version refuses it
  end         padding    to a multiple of 8; zero when written, not looked at when read

  PieceHeader: 0 stamp 8 | 8 number 4 | 12 pieces 4 | 16 entries 4 | 20 reserved 4

Seed: CRC32C of the log id (16 bytes) and the topic id (8 bytes). Epoch and first offset are in the header, under the checksum:
their reader compares them with what it expects.

A frame is valid if, in this order:
  1. the 32 bytes of its header lie within the room given (2^64 - 1 bytes at most; nothing behind the room is ever read);
  2. version is 1 or more and kind is 0, 1 or 2 (and 3, in a newer version);
  3. claim <= first, entries are 1 .. 2,000, first + entries does not wrap; all that the sizes are taken from (lengths,
     PieceHeader) lies within the room; so does the whole frame, padding included, which is at most 2^32 - 8 bytes;
  4. of a piece: pieces is 0, or number + 1;
  5. the checksum is right.
Then, if version is greater than 1, it is a frame of a newer version, and is told as such: so a newer version keeps the first 8
bytes, the rule of size and the checksum, or else takes another place to say what it is. 3 and 4 but for the sizes are not asked
of it. Zeroed bytes are no frame: their version is 0.

Layer: bytes. No state; any thread, no GIL.
"""
from walrus._checksum cimport crc32c, crc32c_copy
from walrus._libc cimport memcpy


cdef enum:
    VALUE_MASK = (1 << FRAME_VALUE_BITS) - 1
    KIND_MASK = 63
    VERSION_SHIFT = 28
    WINDOW_BYTES = 16384            # of a batch: copied, then added to the checksum while in the first-level cache


cdef extern from *:
    """
    #define FRAME_BYTES_MAX 0xFFFFFFF8u
    /* Keeps the compiler from storing the checksum before what it covers. */
    #define frame_barrier() __asm__ __volatile__("" ::: "memory")
    """
    const uint64_t FRAME_BYTES_MAX
    void frame_barrier() noexcept nogil


cdef uint32_t frame_seed(const uint8_t *log_id, uint64_t topic_id) noexcept nogil:
    return crc32c(crc32c(0, log_id, 16), &topic_id, sizeof(topic_id))


cdef inline uint32_t word_of(uint32_t kind, uint32_t value) noexcept nogil:
    return (<uint32_t>FRAME_VERSION << VERSION_SHIFT) | (kind << FRAME_VALUE_BITS) | value


# ------------------------------------------------------------------------------------------------------- writing

cdef inline uint32_t header_put(uint8_t *at, uint32_t seed, uint32_t word, uint32_t epoch, uint32_t claim,
                                uint64_t first, uint64_t time_ns) noexcept nogil:
    """All of the header but the checksum, which is given so far. Whole words, so that the checksum finds them forwarded."""
    cdef uint64_t *words = <uint64_t *>at
    words[0] = <uint64_t>word << 32
    words[1] = epoch | <uint64_t>claim << 32
    words[2] = first
    words[3] = time_ns
    return crc32c(crc32c(seed, &word, 4), at + 8, 24)


cdef inline uint32_t frame_finish(uint8_t *at, uint32_t crc, uint64_t size) noexcept nogil:
    """Padding, then the checksum as the last of all stores."""
    cdef uint32_t padded = frame_padded(size)
    while size < padded:
        at[size] = 0
        size += 1
    frame_barrier()
    (<uint32_t *>at)[0] = crc
    return padded


cdef uint32_t frame_write_single(uint8_t *at, uint32_t seed, uint32_t epoch, uint32_t claim, uint64_t first,
                                 uint64_t time_ns, const uint8_t *data, uint32_t length) noexcept nogil:
    cdef uint32_t crc = header_put(at, seed, word_of(FRAME_KIND_SINGLE, length), epoch, claim, first, time_ns)
    crc = crc32c_copy(crc, at + FRAME_HEADER_BYTES, data, length)
    return frame_finish(at, crc, FRAME_HEADER_BYTES + <uint64_t>length)


cdef inline uint8_t *lengths_put(uint8_t *at, const uint64_t *lengths, uint32_t count) noexcept nogil:
    cdef uint32_t i
    cdef uint32_t *target = <uint32_t *>at
    for i in range(count):
        target[i] = <uint32_t>lengths[i]
    return at + 4 * <uint64_t>count


cdef uint32_t frame_write_batch(uint8_t *at, uint32_t seed, uint32_t epoch, uint32_t claim, uint64_t first,
                                uint64_t time_ns, const uint8_t **data, const uint64_t *lengths,
                                uint32_t count) noexcept nogil:
    cdef uint32_t crc = header_put(at, seed, word_of(FRAME_KIND_BATCH, count), epoch, claim, first, time_ns)
    cdef uint8_t *done = at + FRAME_HEADER_BYTES
    cdef uint8_t *target = lengths_put(done, lengths, count)
    cdef uint32_t i
    for i in range(count):
        memcpy(target, data[i], lengths[i])
        target += lengths[i]
        if target - done >= WINDOW_BYTES:
            crc = crc32c(crc, done, target - done)
            done = target
    crc = crc32c(crc, done, target - done)
    return frame_finish(at, crc, target - at)


cdef uint32_t frame_write_packed(uint8_t *at, uint32_t seed, uint32_t epoch, uint32_t claim, uint64_t first,
                                 uint64_t time_ns, const uint8_t *data, const uint64_t *lengths,
                                 uint32_t count) noexcept nogil:
    cdef uint32_t crc = header_put(at, seed, word_of(FRAME_KIND_BATCH, count), epoch, claim, first, time_ns)
    cdef uint8_t *target = lengths_put(at + FRAME_HEADER_BYTES, lengths, count)
    cdef uint64_t payload = 0
    cdef uint32_t i
    for i in range(count):
        payload += lengths[i]
    crc = crc32c(crc, at + FRAME_HEADER_BYTES, 4 * <uint64_t>count)
    crc = crc32c_copy(crc, target, data, payload)
    return frame_finish(at, crc, (target - at) + payload)


cdef uint32_t frame_seal_piece(uint8_t *at, uint32_t seed, uint32_t epoch, uint32_t claim, uint64_t first,
                               uint64_t time_ns, uint32_t body_bytes, uint64_t stamp, uint32_t number,
                               uint32_t pieces, uint32_t entries) noexcept nogil:
    cdef PieceHeader *piece = <PieceHeader *>(at + FRAME_HEADER_BYTES)
    cdef uint32_t crc
    piece.stamp = stamp
    piece.number = number
    piece.pieces = pieces
    piece.entries = entries
    piece.reserved = 0
    crc = header_put(at, seed, word_of(FRAME_KIND_PIECE, body_bytes), epoch, claim, first, time_ns)
    crc = crc32c(crc, piece, FRAME_PIECE_BYTES + <uint64_t>body_bytes)
    return frame_finish(at, crc, FRAME_HEADER_BYTES + FRAME_PIECE_BYTES + <uint64_t>body_bytes)


# ------------------------------------------------------------------------------------------------------- reading

cdef inline bint batch_view(const uint8_t *at, uint64_t room, uint32_t count, FrameView *view) noexcept nogil:
    """Sizes of a batch; False if a length leads out of the room. Sums of 2,000 lengths of 32 bits cannot overflow 64."""
    cdef uint64_t payload = 0
    cdef uint32_t i
    if count < 1 or count > MAX_BATCH_ENTRIES or room - FRAME_HEADER_BYTES < 4 * <uint64_t>count:
        return False
    view.lengths = <const uint32_t *>(at + FRAME_HEADER_BYTES)
    for i in range(count):
        payload += view.lengths[i]
    if payload > FRAME_BYTES_MAX - FRAME_HEADER_BYTES - 4 * MAX_BATCH_ENTRIES:
        return False
    view.count = count
    view.body = at + FRAME_HEADER_BYTES + 4 * <uint64_t>count
    view.body_bytes = <uint32_t>payload
    return True


cdef inline bint piece_view(const uint8_t *at, uint64_t room, uint32_t value, uint32_t version,
                            FrameView *view) noexcept nogil:
    cdef const PieceHeader *piece = <const PieceHeader *>(at + FRAME_HEADER_BYTES)
    if room - FRAME_HEADER_BYTES < FRAME_PIECE_BYTES:
        return False
    view.body = at + FRAME_HEADER_BYTES + FRAME_PIECE_BYTES
    view.body_bytes = value
    view.count = piece.entries
    view.stamp = piece.stamp
    view.number = piece.number
    view.pieces = piece.pieces
    if version != FRAME_VERSION:
        return True
    if piece.entries < 1 or piece.entries > MAX_BATCH_ENTRIES:
        return False
    return piece.pieces == 0 or piece.pieces - 1 == piece.number


cdef inline bint header_view(const uint8_t *at, uint64_t room, FrameView *view) noexcept nogil:
    """Steps 1 to 4 of the rule: everything but the checksum. `room` is at least a header."""
    cdef const FrameHeader *header = <const FrameHeader *>at
    cdef uint32_t word = header.word
    cdef uint32_t version = word >> VERSION_SHIFT
    cdef uint32_t value = word & VALUE_MASK
    cdef uint64_t end
    view.kind = (word >> FRAME_VALUE_BITS) & KIND_MASK
    view.first = header.first
    view.time_ns = header.time_ns
    view.durable = header.first - header.claim
    view.epoch = header.epoch
    view.count = 1
    view.lengths = NULL
    view.body = at + FRAME_HEADER_BYTES
    view.body_bytes = value
    view.stamp = 0
    view.number = 0
    view.pieces = 0
    if view.kind == FRAME_KIND_BATCH:
        if not batch_view(at, room, value, view):
            return False
    elif view.kind == FRAME_KIND_PIECE:
        if not piece_view(at, room, value, version, view):
            return False
    elif view.kind != FRAME_KIND_SINGLE and (view.kind != FRAME_KIND_FOREIGN or version == FRAME_VERSION):
        return False
    end = ((view.body - at) + <uint64_t>view.body_bytes + 7) & ~<uint64_t>7
    if end > room:
        return False
    view.size = <uint32_t>end
    if version != FRAME_VERSION:
        return version > FRAME_VERSION
    return header.claim <= header.first and header.first + view.count > header.first


cdef int frame_read(const uint8_t *at, uint64_t room, uint32_t seed, FrameView *view) noexcept nogil:
    if room < FRAME_HEADER_BYTES or not header_view(at, room, view):
        return 0
    if crc32c(seed, at + 4, (view.body - at) - 4 + <uint64_t>view.body_bytes) != (<const uint32_t *>at)[0]:
        return 0
    return 1 if (<const uint32_t *>at)[1] >> VERSION_SHIFT == FRAME_VERSION else -1


cdef int frame_peek(const uint8_t *at, uint64_t room, FrameView *view) noexcept nogil:
    if room < FRAME_HEADER_BYTES or (<const uint32_t *>at)[1] >> VERSION_SHIFT != FRAME_VERSION:
        return 0
    return 1 if header_view(at, room, view) else 0


cdef uint64_t frame_search(const uint8_t *at, uint64_t room, uint32_t seed, FrameView *view) noexcept nogil:
    """Most places are turned down by one look at the word; of the rest, most by the sizes and the claim."""
    cdef uint64_t place = 0
    cdef uint32_t top
    while room - place >= FRAME_HEADER_BYTES:
        top = (<const uint32_t *>(at + place))[1] >> FRAME_VALUE_BITS
        # version 1, kinds 0 to 2: no other value of the ten bits can begin a frame that is returned
        if top - (<uint32_t>FRAME_VERSION << (VERSION_SHIFT - FRAME_VALUE_BITS)) <= FRAME_KIND_PIECE:
            if frame_read(at + place, room - place, seed, view) == 1:
                return place
        place += 8
        if place > room:
            break
    return room
