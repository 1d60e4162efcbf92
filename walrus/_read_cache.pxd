"""Cache of what was read of log files: ranges of frames in memory, bounded by bytes, shared by a log's readers.

Layer: the log. One lock inside; a range that somebody refers to stays, those that nobody does go, longest unused first.
"""
from walrus._libc cimport uint8_t, uint32_t, uint64_t
from walrus._device cimport Device
from walrus._logfiles cimport LogFile
from walrus._log_state cimport Log

cdef enum:
    CACHE_BUCKETS = 4096

ctypedef struct RangeKey:           # bytes [position, position + bytes) of a file in its use `number`
    LogFile *file
    uint64_t number
    uint64_t position
    uint64_t bytes

ctypedef struct CachedRange
ctypedef struct CachedRange:
    RangeKey key
    uint8_t *memory                 # BLOCK_BYTES aligned; the blocks around the range
    uint64_t memory_bytes
    const uint8_t *base             # the range's first byte
    uint64_t have                   # bytes of the range that the file had
    uint64_t turn                   # bytes that the cache had ever loaded when it was begun
    uint64_t verified               # so many bytes from its beginning are frames that were found valid (atomic)
    uint32_t state                  # futex: being loaded by a thread, asked for ahead, loaded, could not be read
    int code                        # why not: a negative errno
    uint32_t references
    bint listed                     # in the table
    bint buffered                   # its file is read through the page cache
    bint ahead                      # it was begun by cache_ahead
    bint unread                     # it was read before somebody wanted it, and nobody has wanted it yet
    CachedRange *next               # in its bucket; among evicted ones
    CachedRange *idle_before        # neighbours among the idle ones, or among those on their way
    CachedRange *idle_after
    char name[64]                   # of the file

ctypedef struct IdleList:
    CachedRange *oldest
    CachedRange *newest

ctypedef struct ReadCache:
    uint32_t lock
    uint64_t bytes_max
    uint64_t bytes
    uint64_t turn                   # bytes ever loaded
    CachedRange *buckets[4096]
    IdleList idle                   # loaded, listed, nobody refers to them: these go first
    IdleList idle_unread            # of them, those that nobody has wanted yet
    uint64_t unread_bytes           # of ranges that were read before somebody wanted them, and that nobody has wanted yet
    uint32_t ahead_lock             # taken before `lock`, and held while waiting for what is on its way
    CachedRange *on_their_way       # read ahead: the kernel has their memory; each has a reference for that

# The log's cache: made when it is opened. 0 or -ENOMEM. Closed when nobody reads any more.
cdef int read_cache_open(Log *log, uint64_t bytes_max) noexcept nogil
cdef void read_cache_close(Log *log) noexcept nogil
# A file is about to be reused: what was read of it is forgotten.
cdef void read_cache_forget(Log *log, LogFile *file) noexcept nogil
# Bytes of the blocks around the range: what it takes of the cache.
cdef uint64_t range_blocks(const RangeKey *key) noexcept nogil
# The range if it is there, loaded, with a reference; else NULL.
cdef CachedRange *cache_lookup(ReadCache *cache, const RangeKey *key) noexcept nogil
# The range with a reference, read if need be (one thread reads, others wait for it). The caller has pinned the file.
# NULL: *code says why.
cdef CachedRange *cache_load(ReadCache *cache, Device *device, const RangeKey *key, int *code) noexcept nogil
# Reads those of at most DEVICE_BATCH_MAX ranges that are not there, in one submission, and leaves them in the cache.
# The caller has pinned the files. 0 or a negative errno; a range that fails is not there afterwards.
cdef int cache_load_many(ReadCache *cache, Device *device, const RangeKey *keys, uint32_t count) noexcept nogil
# Can reads of that file be on their way while nobody waits?
cdef bint cache_goes_ahead(const Device *device, const RangeKey *key) noexcept nogil
# Begins to read those (of such files) that are not there, as far as there is room for what nobody has wanted yet. The caller has
# pinned the files, and need not do so any longer.
cdef void cache_ahead(ReadCache *cache, Device *device, const RangeKey *keys, uint32_t count) noexcept nogil
cdef void cache_unreference(ReadCache *cache, CachedRange *cached) noexcept nogil
# The next load of that range reads it from the disk again.
cdef void cache_discard(ReadCache *cache, const RangeKey *key) noexcept nogil
