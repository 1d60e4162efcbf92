"""Reading: entries by offset from staging and from disk alike, through a cache shared by the log's readers.

Layer: the log. A Reader is used by one thread at a time, without the GIL (reads may touch the disk). Chunks are pinned, and
what was read of files is held, while a reader stands in them; reader_rest() lets go. Every frame's checksum is verified before
its bytes are handed out.
"""
from walrus._libc cimport uint8_t, uint32_t, uint64_t
from walrus._frame cimport FrameView
from walrus._log_state cimport Log
from walrus._read_large cimport LargeFrame
from walrus._read_source cimport ReadFailure, Source
from walrus._topics cimport Topic

ctypedef struct ReadEntry:
    uint64_t offset
    uint64_t time_ns
    uint64_t length
    const uint8_t *data             # valid until the next call on this reader; NULL: it lies in several pieces, use read_large

# Private to _read.pyx: others have pointers to it only.
ctypedef struct Reader:
    Log *log
    Topic *topic
    uint64_t offset                 # of the next entry
    Source source                   # the run of frames at hand
    uint64_t at                     # place of the current frame in it, or of the next
    uint64_t walked                 # first offset of that frame
    bint framed
    FrameView view
    uint32_t index                  # entry of the frame whose payload begins `begin` bytes into view.body
    uint64_t begin
    uint64_t before_at              # the frame before it: a reader that took one entry too many steps back
    uint64_t before_first
    bint before
    LargeFrame large
    bint rested
    uint64_t cut                    # newest entry of the topic's epoch list when all this was found
    ReadFailure failure

cdef Reader *reader_new(Log *log, Topic *topic) noexcept nogil               # at the low watermark; NULL: out of memory
cdef void reader_free(Reader *reader) noexcept nogil
# The next entry that reader_next gives. LOG_OUT_OF_RANGE below the low watermark or beyond the end.
cdef int reader_seek(Reader *reader, uint64_t offset) noexcept nogil
# 0, LOG_END at the limit (the topic's end, or its durable offset if durable_only), LOG_CORRUPT, LOG_OUT_OF_RANGE when reclamation
# overtook it, LOG_NO_MEMORY, a negative errno. After a code the next entry is the same one as before.
cdef int reader_next(Reader *reader, ReadEntry *entry, bint durable_only) noexcept nogil
# Up to max_entries entries that lie together, at least one if there is one; stops before one (but the first) that would make
# the payloads more than max_bytes, at the end of what is held, and behind an entry whose data is NULL. Codes as reader_next.
cdef int reader_take(Reader *reader, uint64_t max_bytes, uint32_t max_entries, ReadEntry *entries, uint32_t *count,
                     bint durable_only) noexcept nogil
# Copies the whole payload (entry.length bytes) of an entry whose data is NULL. Results as reader_next.
cdef int read_large(Reader *reader, const ReadEntry *entry, uint8_t *target) noexcept nogil
# Lets go of what is pinned; the position stays and is found again cheaply. To be called before returning to Python.
cdef void reader_rest(Reader *reader) noexcept nogil
cdef uint64_t reader_offset(const Reader *reader) noexcept nogil
# Offset behind the last entry that can be read now.
cdef uint64_t reader_end(const Reader *reader, bint durable_only) noexcept nogil
# After LOG_CORRUPT or a negative errno.
cdef ReadFailure *reader_failure(Reader *reader) noexcept nogil
# Loads what the first *covered (at least one) of `count` scattered offsets need into the cache, by one submission: as many
# as fit into one and into the cache. 0 or LOG_NO_MEMORY.
cdef int reader_prefetch(Reader *reader, const uint64_t *offsets, uint32_t count, uint32_t *covered) noexcept nogil
# Sum of the payloads of entries [first, end). Codes as reader_next.
cdef int read_payload_bytes(Log *log, Topic *topic, uint64_t first, uint64_t end, uint64_t *bytes) noexcept nogil
# Does a frame begin at `offset`, or the topic end there?
cdef bint read_is_border(Log *log, Topic *topic, uint64_t offset) noexcept nogil
