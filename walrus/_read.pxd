"""Reading: entries by offset from staging and from disk alike, through a cache of extents shared by the log's readers.

Layer: the log. A Reader is used by one thread at a time, without the GIL (reads may touch the disk). Chunks are pinned, and files,
while a reader stands in them; reader_rest() lets go. Every frame's checksum is verified before its bytes are handed out.
"""
from walrus._libc cimport int64_t, uint8_t, uint32_t, uint64_t
from walrus._log_state cimport Log
from walrus._topics cimport Topic

ctypedef struct ReadEntry:
    uint64_t offset
    uint64_t time_ns
    uint64_t length
    const uint8_t *data             # valid until the next call on this reader; NULL: part of a large frame, use read_large

ctypedef struct ReadFailure:        # after LOG_CORRUPT
    uint64_t offset                 # first offset that cannot be read
    uint64_t next_offset            # where reading can go on
    char file[64]
    uint64_t position
    int code                        # errno of a failed read, or 0: bytes do not validate

ctypedef struct Reader              # private fields in _read.pyx
cdef Reader *reader_new(Log *log, Topic *topic) noexcept nogil
cdef void reader_free(Reader *reader) noexcept nogil
# The next entry that reader_next gives. LOG_OUT_OF_RANGE below the low watermark or beyond the end.
cdef int reader_seek(Reader *reader, uint64_t offset) noexcept nogil
# 0, LOG_END at the limit (the topic's end, or its durable offset if durable_only), LOG_CORRUPT, LOG_OUT_OF_RANGE when reclamation
# overtook it, LOG_NO_MEMORY, a negative errno.
cdef int reader_next(Reader *reader, ReadEntry *entry, bint durable_only) noexcept nogil
# Copies the whole payload (entry.length bytes) of an entry whose data is NULL. Results as reader_next.
cdef int read_large(Reader *reader, const ReadEntry *entry, uint8_t *target) noexcept nogil
# Lets go of pinned chunk and files; the position stays and is found again cheaply. To be called before returning to Python.
cdef void reader_rest(Reader *reader) noexcept nogil
cdef uint64_t reader_offset(const Reader *reader) noexcept nogil
cdef ReadFailure *reader_failure(Reader *reader) noexcept nogil
# Loads the extents that hold `count` (at most 2,000) scattered offsets into the cache: one submission. 0 or a negative code.
cdef int read_prefetch(Log *log, Topic *topic, const uint64_t *offsets, uint32_t count) noexcept nogil
# Cache of extents: bounded by bytes; made with the log, one per log.
cdef int read_cache_open(Log *log, uint64_t bytes) noexcept nogil
cdef void read_cache_close(Log *log) noexcept nogil
# A file is about to be reused: forget what was read of it.
cdef void read_cache_forget(Log *log, void *file) noexcept nogil
