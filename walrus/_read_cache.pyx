"""Cache of what was read of log files: ranges of frames in memory, bounded by bytes, shared by a log's readers.

Invariants. `bytes` is the memory of all ranges, listed or not. A range in the idle list is listed, loaded and without
references; every other one has a reference. A key names the use of its file: a file that is reused is forgotten first, and
has another number afterwards. A range that failed, was discarded or forgotten leaves the table at once, and memory with its
last reference. Ranges in use may exceed bytes_max; idle ones go before a new range is read. What is read ahead is at most half
of it until somebody wants it; what nobody has wanted for long is abandoned. A range on its way has a reference and needs
nothing of its file, which may be reused meanwhile: what it holds then is never found. One that fails is no error: who wants it
reads it.

The files' O_DIRECT descriptors are read, so that reading a log leaves the page cache alone; where a file has to do without,
what was read is dropped from it.

Threads: any; `lock` is a leaf; whoever waits for a range on its way reaps for all, under ahead_lock. No GIL.
"""
from walrus._device cimport (DEVICE_MMAP, DEVICE_URING, Completion, ReadRange, device_read, device_read_begin, device_read_many,
                             device_read_reap)
from walrus._extent cimport BLOCK_BYTES
from walrus._libc cimport (EIO, ENOMEM, POSIX_FADV_DONTNEED, calloc, free, int64_t, malloc, memcpy, posix_fadvise,
                           posix_memalign, walrus_exchange32, walrus_futex_wait, walrus_futex_wake, walrus_load32,
                           walrus_lock, walrus_unlock)

cdef enum:
    RANGE_LOADING = 0
    RANGE_AHEAD = 1
    RANGE_LOADED = 2
    RANGE_FAILED = 3
    AHEAD_MAX = 256                 # ranges of one call of cache_ahead
    REAP_MAX = 64
    ABANDONED = 4                   # times the cache's size has been loaded since, and still nobody has wanted it


# --------------------------------------------------------------------------------------------------------- the table

cdef inline uint64_t begin_of(const RangeKey *key) noexcept nogil:
    return key.position & ~<uint64_t>(BLOCK_BYTES - 1)


cdef uint64_t range_blocks(const RangeKey *key) noexcept nogil:
    return ((key.position + key.bytes + BLOCK_BYTES - 1) & ~<uint64_t>(BLOCK_BYTES - 1)) - begin_of(key)


cdef inline uint32_t bucket_of(const RangeKey *key) noexcept nogil:
    cdef uint64_t value = (<uint64_t>key.file >> 4) ^ (key.position * <uint64_t>0x9E3779B97F4A7C15) ^ key.number
    value *= <uint64_t>0xFF51AFD7ED558CCD
    return <uint32_t>(value >> 40) & <uint32_t>(CACHE_BUCKETS - 1)


cdef inline bint same_key(const RangeKey *a, const RangeKey *b) noexcept nogil:
    return a.file == b.file and a.number == b.number and a.position == b.position and a.bytes == b.bytes


cdef CachedRange *table_find(ReadCache *cache, const RangeKey *key) noexcept nogil:
    cdef CachedRange *cached = cache.buckets[bucket_of(key)]
    while cached != NULL and not same_key(&cached.key, key):
        cached = cached.next
    return cached


cdef void table_put(ReadCache *cache, CachedRange *cached) noexcept nogil:
    cdef uint32_t bucket = bucket_of(&cached.key)
    cached.next = cache.buckets[bucket]
    cache.buckets[bucket] = cached
    cached.listed = True


cdef void table_remove(ReadCache *cache, CachedRange *cached) noexcept nogil:
    cdef uint32_t bucket = bucket_of(&cached.key)
    cdef CachedRange *at = cache.buckets[bucket]
    if at == cached:
        cache.buckets[bucket] = cached.next
    else:
        while at.next != cached:
            at = at.next
        at.next = cached.next
    cached.next = NULL
    cached.listed = False


cdef inline IdleList *idle_list(ReadCache *cache, const CachedRange *cached) noexcept nogil:
    return &cache.idle_unread if cached.unread else &cache.idle


cdef void idle_push(ReadCache *cache, CachedRange *cached) noexcept nogil:
    cdef IdleList *idle = idle_list(cache, cached)
    cached.idle_before = idle.newest
    cached.idle_after = NULL
    if idle.newest != NULL:
        idle.newest.idle_after = cached
    else:
        idle.oldest = cached
    idle.newest = cached


cdef void idle_remove(ReadCache *cache, CachedRange *cached) noexcept nogil:
    cdef IdleList *idle = idle_list(cache, cached)
    if cached.idle_before != NULL:
        cached.idle_before.idle_after = cached.idle_after
    else:
        idle.oldest = cached.idle_after
    if cached.idle_after != NULL:
        cached.idle_after.idle_before = cached.idle_before
    else:
        idle.newest = cached.idle_before
    cached.idle_before = NULL
    cached.idle_after = NULL


cdef inline void was_wanted(ReadCache *cache, CachedRange *cached) noexcept nogil:
    if cached.unread:
        cached.unread = False
        cache.unread_bytes -= cached.memory_bytes


cdef inline void refer(ReadCache *cache, CachedRange *cached) noexcept nogil:
    if cached.references == 0:
        idle_remove(cache, cached)
    cached.references += 1


cdef void range_free(CachedRange *cached) noexcept nogil:
    free(cached.memory)
    free(cached)


cdef CachedRange *take_out(ReadCache *cache, CachedRange *cached, CachedRange *gone) noexcept nogil:
    """Out of the table; if nobody refers to it, to the head of those that the caller frees without the lock."""
    table_remove(cache, cached)
    if cached.references == 0:
        idle_remove(cache, cached)
    was_wanted(cache, cached)
    if cached.references:
        return gone
    cache.bytes -= cached.memory_bytes
    cached.next = gone
    return cached


cdef void free_all(CachedRange *gone) noexcept nogil:
    cdef CachedRange *following
    while gone != NULL:
        following = gone.next
        range_free(gone)
        gone = following


# ----------------------------------------------------------------------------------------------------------- loading

cdef CachedRange *evict(ReadCache *cache, uint64_t wanted) noexcept nogil:
    """Takes out idle ranges until `wanted` bytes fit. Holds the lock."""
    cdef CachedRange *gone = NULL
    while cache.bytes + wanted > cache.bytes_max and cache.idle.oldest != NULL:
        gone = take_out(cache, cache.idle.oldest, gone)
    while cache.bytes + wanted > cache.bytes_max and cache.idle_unread.oldest != NULL:
        gone = take_out(cache, cache.idle_unread.oldest, gone)
    return gone


cdef void memory_give(CachedRange *cached, CachedRange *gone) noexcept nogil:
    """Memory for the range: that of an evicted one of about its size, whose pages are there already; else new."""
    cdef void *memory = NULL
    cdef CachedRange *at = gone
    cdef uint64_t wanted = cached.memory_bytes
    while at != NULL and at.memory_bytes != wanted:
        at = at.next
    if at != NULL and at.memory != NULL:
        cached.memory = at.memory
        at.memory = NULL
    elif posix_memalign(&memory, BLOCK_BYTES, wanted) == 0:
        cached.memory = <uint8_t *>memory
    free_all(gone)


cdef CachedRange *begin(ReadCache *cache, const RangeKey *key, uint32_t state, bint unread, bint *mine) noexcept nogil:
    """The range with a reference. `mine`: it was not there, the caller loads it; `unread`: for others. NULL: out of memory."""
    cdef CachedRange *gone
    cdef CachedRange *cached
    mine[0] = False
    walrus_lock(&cache.lock)
    cached = table_find(cache, key)
    if cached != NULL:
        refer(cache, cached)
        if not unread:
            was_wanted(cache, cached)
        walrus_unlock(&cache.lock)
        return cached
    cached = <CachedRange *>calloc(1, sizeof(CachedRange))
    if cached == NULL:
        walrus_unlock(&cache.lock)
        return NULL
    cached.key = key[0]
    cached.memory_bytes = range_blocks(key)
    cached.references = 1
    cached.state = state
    cached.buffered = not key.file.file.direct
    memcpy(cached.name, key.file.file.name, sizeof(cached.name))
    gone = evict(cache, cached.memory_bytes)
    cache.bytes += cached.memory_bytes
    cache.turn += cached.memory_bytes
    cached.turn = cache.turn
    cached.ahead = state == RANGE_AHEAD
    cached.unread = unread
    if unread:
        cache.unread_bytes += cached.memory_bytes
    table_put(cache, cached)
    walrus_unlock(&cache.lock)
    mine[0] = True
    memory_give(cached, gone)
    return cached


cdef void finish(ReadCache *cache, Device *device, CachedRange *cached, int64_t result) noexcept nogil:
    """Takes what a read gave, and wakes who waits for it."""
    cdef uint64_t before = cached.key.position - begin_of(&cached.key)
    if result < 0:
        walrus_lock(&cache.lock)
        if cached.listed:
            table_remove(cache, cached)
        was_wanted(cache, cached)
        walrus_unlock(&cache.lock)
        cached.code = <int>result
        walrus_exchange32(&cached.state, RANGE_FAILED)
    else:
        cached.base = cached.memory + before
        cached.have = <uint64_t>result - before if <uint64_t>result > before else 0
        if cached.have > cached.key.bytes:
            cached.have = cached.key.bytes
        if cached.buffered and device.way != DEVICE_MMAP:
            posix_fadvise(cached.key.file.file.fd, <int64_t>begin_of(&cached.key), <int64_t>cached.memory_bytes,
                          POSIX_FADV_DONTNEED)
        walrus_exchange32(&cached.state, RANGE_LOADED)
    walrus_futex_wake(&cached.state, 0x7FFFFFFF, 0)


cdef void arrived(ReadCache *cache, Device *device, CachedRange *cached, int64_t result) noexcept nogil:
    """Holds ahead_lock."""
    if cached.idle_before != NULL:
        cached.idle_before.idle_after = cached.idle_after
    else:
        cache.on_their_way = cached.idle_after
    if cached.idle_after != NULL:
        cached.idle_after.idle_before = cached.idle_before
    cached.idle_before = NULL
    cached.idle_after = NULL
    finish(cache, device, cached, result)
    cache_unreference(cache, cached)


cdef void reap(ReadCache *cache, Device *device, bint wait) noexcept nogil:
    """Holds ahead_lock. With `wait`, at least one range arrives, if any is on its way."""
    cdef Completion completions[REAP_MAX]
    cdef uint32_t i, n = device_read_reap(device, completions, REAP_MAX, wait)
    for i in range(n):
        arrived(cache, device, <CachedRange *>completions[i].tag, completions[i].result)
    while wait and n == 0 and cache.on_their_way != NULL:
        arrived(cache, device, cache.on_their_way, -EIO)


cdef void range_wait(ReadCache *cache, Device *device, CachedRange *cached) noexcept nogil:
    """Until it is loaded, or has failed."""
    cdef uint32_t state = walrus_load32(&cached.state)
    while state == RANGE_LOADING or state == RANGE_AHEAD:
        if state == RANGE_LOADING:
            walrus_futex_wait(&cached.state, RANGE_LOADING, -1, 0)
        else:
            walrus_lock(&cache.ahead_lock)
            if walrus_load32(&cached.state) == RANGE_AHEAD:
                reap(cache, device, True)
            walrus_unlock(&cache.ahead_lock)
        state = walrus_load32(&cached.state)


cdef CachedRange *cache_load(ReadCache *cache, Device *device, const RangeKey *key, int *code) noexcept nogil:
    cdef bint mine = False, ahead = True
    cdef CachedRange *cached
    while ahead:                                    # what failed when it was read ahead is read once more
        cached = begin(cache, key, RANGE_LOADING, False, &mine)
        if cached == NULL:
            code[0] = -ENOMEM
            return NULL
        ahead = cached.ahead
        if mine and cached.memory == NULL:
            finish(cache, device, cached, -ENOMEM)
        elif mine:
            finish(cache, device, cached,
                   device_read(device, &key.file.file, cached.memory, cached.memory_bytes, begin_of(key)))
        range_wait(cache, device, cached)
        if walrus_load32(&cached.state) == RANGE_LOADED:
            return cached
        code[0] = cached.code
        cache_unreference(cache, cached)
    return NULL


cdef void read_of(CachedRange *cached, ReadRange *read) noexcept nogil:
    read.source = &cached.key.file.file
    read.buffer = cached.memory
    read.bytes = cached.memory_bytes
    read.position = begin_of(&cached.key)
    read.tag = <uint64_t>cached
    read.result = 0


cdef uint32_t begin_many(ReadCache *cache, Device *device, const RangeKey *keys, uint32_t count, CachedRange **begun,
                         ReadRange *reads) noexcept nogil:
    """Enters those that are not there; how many are to be read."""
    cdef uint32_t i, wanted = 0
    cdef bint mine = False
    cdef CachedRange *cached
    for i in range(count):
        cached = begin(cache, &keys[i], RANGE_LOADING, True, &mine)
        if cached == NULL:
            break
        if mine and cached.memory == NULL:
            finish(cache, device, cached, -ENOMEM)
        if not mine or cached.memory == NULL:
            cache_unreference(cache, cached)
            continue
        begun[wanted] = cached
        read_of(cached, &reads[wanted])
        wanted += 1
    return wanted


cdef int cache_load_many(ReadCache *cache, Device *device, const RangeKey *keys, uint32_t count) noexcept nogil:
    cdef ReadRange *reads = <ReadRange *>malloc(count * sizeof(ReadRange))
    cdef CachedRange **begun = <CachedRange **>malloc(count * sizeof(CachedRange *))
    cdef uint32_t i, wanted
    cdef int result = 0
    if reads == NULL or begun == NULL:
        free(reads)
        free(begun)
        return -ENOMEM
    wanted = begin_many(cache, device, keys, count, begun, reads)
    if wanted:
        result = device_read_many(device, reads, wanted)
    for i in range(wanted):
        finish(cache, device, begun[i], reads[i].result if result >= 0 else <int64_t>result)
        cache_unreference(cache, begun[i])
    free(reads)
    free(begun)
    return result if result < 0 else 0


cdef bint has_room(ReadCache *cache, const RangeKey *key) noexcept nogil:
    cdef uint64_t most = cache.bytes_max // 2, wanted = range_blocks(key)
    cdef CachedRange *oldest
    cdef CachedRange *gone = NULL
    cdef bint room
    walrus_lock(&cache.lock)
    oldest = cache.idle_unread.oldest
    while cache.unread_bytes + wanted > most and oldest != NULL and cache.turn - oldest.turn > ABANDONED * cache.bytes_max:
        gone = take_out(cache, oldest, gone)
        oldest = cache.idle_unread.oldest
    room = cache.unread_bytes + wanted <= most
    walrus_unlock(&cache.lock)
    free_all(gone)
    return room


cdef CachedRange *begin_ahead(ReadCache *cache, Device *device, const RangeKey *key) noexcept nogil:
    """NULL: it is there already, or there is no memory for it."""
    cdef bint mine = False
    cdef CachedRange *cached = begin(cache, key, RANGE_AHEAD, True, &mine)
    if cached == NULL:
        return NULL
    if mine and cached.memory == NULL:
        finish(cache, device, cached, -ENOMEM)
    if not mine or cached.memory == NULL:
        cache_unreference(cache, cached)
        return NULL
    return cached


cdef void on_its_way(ReadCache *cache, CachedRange *cached) noexcept nogil:
    cached.idle_before = NULL
    cached.idle_after = cache.on_their_way
    if cache.on_their_way != NULL:
        cache.on_their_way.idle_before = cached
    cache.on_their_way = cached


cdef bint cache_goes_ahead(const Device *device, const RangeKey *key) noexcept nogil:
    return device.way == DEVICE_URING and key.file.file.direct


cdef void cache_ahead(ReadCache *cache, Device *device, const RangeKey *keys, uint32_t count) noexcept nogil:
    cdef ReadRange reads[AHEAD_MAX]
    cdef CachedRange *cached
    cdef uint32_t i, begun, wanted = 0
    walrus_lock(&cache.ahead_lock)
    reap(cache, device, False)
    for i in range(count if count < AHEAD_MAX else AHEAD_MAX):
        if not cache_goes_ahead(device, &keys[i]) or not has_room(cache, &keys[i]):
            break
        cached = begin_ahead(cache, device, &keys[i])
        if cached != NULL:
            read_of(cached, &reads[wanted])
            wanted += 1
    begun = device_read_begin(device, reads, wanted)
    for i in range(wanted):
        cached = <CachedRange *>reads[i].tag
        on_its_way(cache, cached)
        if i >= begun:
            arrived(cache, device, cached, -EIO)
    walrus_unlock(&cache.ahead_lock)


# -------------------------------------------------------------------------------------------------- keeping, forgetting

cdef CachedRange *cache_lookup(ReadCache *cache, const RangeKey *key) noexcept nogil:
    cdef CachedRange *cached
    walrus_lock(&cache.lock)
    cached = table_find(cache, key)
    if cached != NULL and walrus_load32(&cached.state) != RANGE_LOADED:
        cached = NULL
    if cached != NULL:
        refer(cache, cached)
        was_wanted(cache, cached)
    walrus_unlock(&cache.lock)
    return cached


cdef void cache_unreference(ReadCache *cache, CachedRange *cached) noexcept nogil:
    cdef bint last
    walrus_lock(&cache.lock)
    cached.references -= 1
    last = cached.references == 0
    if last and cached.listed:
        idle_push(cache, cached)
        last = False
    elif last:
        cache.bytes -= cached.memory_bytes
    walrus_unlock(&cache.lock)
    if last:
        range_free(cached)


cdef void cache_discard(ReadCache *cache, const RangeKey *key) noexcept nogil:
    cdef CachedRange *gone = NULL
    cdef CachedRange *cached
    walrus_lock(&cache.lock)
    cached = table_find(cache, key)
    if cached != NULL:
        gone = take_out(cache, cached, NULL)
    walrus_unlock(&cache.lock)
    free_all(gone)


cdef void read_cache_forget(Log *log, LogFile *file) noexcept nogil:
    cdef ReadCache *cache = <ReadCache *>log.read_cache
    cdef CachedRange *gone = NULL
    cdef CachedRange *cached
    cdef CachedRange *following
    cdef uint32_t i
    walrus_lock(&cache.lock)
    for i in range(CACHE_BUCKETS):
        cached = cache.buckets[i]
        while cached != NULL:
            following = cached.next
            if cached.key.file == file:
                gone = take_out(cache, cached, gone)
            cached = following
    walrus_unlock(&cache.lock)
    free_all(gone)


cdef int read_cache_open(Log *log, uint64_t bytes_max) noexcept nogil:
    cdef ReadCache *cache = <ReadCache *>calloc(1, sizeof(ReadCache))
    if cache == NULL:
        return -ENOMEM
    cache.bytes_max = bytes_max
    log.read_cache = cache
    return 0


cdef void read_cache_close(Log *log) noexcept nogil:
    cdef ReadCache *cache = <ReadCache *>log.read_cache
    cdef Completion completions[REAP_MAX]
    cdef CachedRange *cached
    cdef uint32_t i
    if cache == NULL:
        return
    while device_read_reap(&log.device, completions, REAP_MAX, True):
        pass                                        # the kernel has none of their memory any more
    while cache.on_their_way != NULL:
        cached = cache.on_their_way
        cache.on_their_way = cached.idle_after
        if cached.listed:
            table_remove(cache, cached)
        range_free(cached)
    for i in range(CACHE_BUCKETS):
        free_all(cache.buckets[i])
    free(cache)
    log.read_cache = NULL
