"""Opening, closing, topics by name, fork: the engine as the Python border and C see it.

Opening: directory, lock (one_writer; open_waits: the lock's descriptor is registered with the ring, so a dead holder
keeps it until its last write has landed), device, recovery, I/O thread. Closing: nobody appends any more, everything
staged is written and flushed, one last snapshot says so. A fork's child closes lock and ring at once and marks every
log.

Threads: log_open and log_close of one log by one thread; different logs share nothing but the list that fork walks. No GIL.
"""
from walrus._catalog cimport catalog_change, catalog_close
from walrus._changes cimport CHANGE_TOPIC, Change
from walrus._control cimport ControlTopic, control_close, control_forked, control_topic
from walrus._device cimport DEVICE_AUTO, device_close, device_flush, device_forked, device_open
from walrus._extent cimport BLOCK_BYTES
from walrus._group_commit cimport sync_ticket, sync_wait
from walrus._iothread cimport iothread_start, iothread_stop
from walrus._journal cimport JOURNAL_FILE_BYTES, journal_close
from walrus._journal_reuse cimport snapshot_take
from walrus._libc cimport (EDQUOT, EEXIST, ENAMETOOLONG, ENOSPC, ESRCH, EWOULDBLOCK, LOCK_EX, LOCK_NB, LOCK_UN, O_CLOEXEC,
                           O_CREAT, O_DIRECTORY, O_RDONLY, O_RDWR, calloc, close, errno, flock, free, ftruncate, getpid,
                           kill, malloc, memset, mkdir, open, openat, posix_memalign, pread, pthread_atfork, pwrite,
                           strlen, walrus_add32, walrus_futex_wait, walrus_load32, walrus_lock, walrus_monotonic_ns,
                           walrus_no_copy_on_write,
                           walrus_sleep_ns, walrus_store32, walrus_store64, walrus_swap32, walrus_unlock)
from walrus._log_state cimport (FLIGHTS_MAX, GATHER_BUFFERS, GATHER_BYTES, GATHER_CHUNKS, LOG_FULL, LOG_INTERRUPTED, LOG_LOCKED,
                                LOG_NO_MEMORY, LOG_POISONED, RECORD_BYTES_MAX, RECORD_GROUPS_MAX, SCHEDULE_EACH,
                                SCHEDULE_MILLISECONDS, STAGING_BYTES_DEFAULT, TAIL_BYTES_MAX, log_check, log_fail)
from walrus._logfiles cimport LOG_FILE_BYTES_MAX, LOG_FILE_BYTES_MIN, logfiles_close, logfiles_flush
from walrus._extent cimport GroupHeader
from walrus._read_cache cimport read_cache_close, read_cache_open
from walrus._recovery cimport recover
from walrus._snapshot_format cimport SNAPSHOT_CLEAN_CLOSE
from walrus._staging cimport CHUNK_CLASSES, staging_close
from walrus._topics cimport topic_by_name, topic_enter, topic_next, topics_close, topics_open
from libc.stdio cimport snprintf
from libc.stdlib cimport atoll
from libc.string cimport strncpy

cdef enum:
    DEAD_HOLDER_WAIT_NS = 10000000000   # how long a killed process's writes may take to land
    READ_CACHE_BYTES = 33554432
    NAMES_BYTES = 1048576 + 1024

# The one thing that is the process's and not a log's: fork must find every open log.
cdef uint32_t open_logs_lock = 0
cdef Log *open_logs = NULL
cdef bint fork_handled = False


# ------------------------------------------------------------------------------------------------------------- fork

cdef void before_fork() noexcept nogil:
    walrus_lock(&open_logs_lock)


cdef void parent_after_fork() noexcept nogil:
    walrus_unlock(&open_logs_lock)


cdef void child_after_fork() noexcept nogil:
    """No thread but this one lives here, any lock may be held for ever: only marks and descriptors."""
    global open_logs_lock
    cdef Log *log = open_logs
    while log != NULL:
        walrus_store32(&log.forked, 1)
        if log.lock_fd >= 0:
            close(log.lock_fd)
        log.lock_fd = -1
        control_forked(&log.control)
        device_forked(&log.device)
        log = <Log *>log.next_open
    open_logs_lock = 0


cdef void enlist(Log *log) noexcept nogil:
    global open_logs, fork_handled
    walrus_lock(&open_logs_lock)
    if not fork_handled:
        pthread_atfork(before_fork, parent_after_fork, child_after_fork)
        fork_handled = True
    log.next_open = open_logs
    open_logs = log
    walrus_unlock(&open_logs_lock)


cdef void delist(Log *log) noexcept nogil:
    global open_logs
    cdef Log *at
    walrus_lock(&open_logs_lock)
    if open_logs == log:
        open_logs = <Log *>log.next_open
    else:
        at = open_logs
        while at != NULL and at.next_open != log:
            at = <Log *>at.next_open
        if at != NULL:
            at.next_open = log.next_open
    walrus_unlock(&open_logs_lock)


# ---------------------------------------------------------------------------------------------------------- opening

cdef void log_options_default(LogOptions *options) noexcept nogil:
    memset(options, 0, sizeof(LogOptions))
    options.staging_bytes = STAGING_BYTES_DEFAULT
    options.journal_file_bytes = JOURNAL_FILE_BYTES
    options.schedule = SCHEDULE_MILLISECONDS
    options.schedule_ms = 200
    options.way = DEVICE_AUTO
    options.chunk_class_max = CHUNK_CLASSES - 1


cdef int64_t holder_of(int fd) noexcept nogil:
    cdef char text[32]
    cdef ssize_t got
    memset(text, 0, sizeof(text))
    got = pread(fd, text, sizeof(text) - 1, 0)
    return atoll(text) if got > 0 else 0


cdef int lock_take(Log *log, int64_t *holder) noexcept nogil:
    """flock; a holder that is dead but still writing is waited for, a living one as long as lock_timeout_ns says."""
    cdef char text[32]
    cdef uint64_t began = walrus_monotonic_ns(), waited
    cdef bint dead
    log.lock_fd = openat(log.directory, b"lock", O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
    if log.lock_fd < 0:
        return -errno
    while flock(log.lock_fd, LOCK_EX | LOCK_NB) < 0:
        if errno != EWOULDBLOCK:
            return -errno
        holder[0] = holder_of(log.lock_fd)
        dead = holder[0] > 0 and kill(<int>holder[0], 0) < 0 and errno == ESRCH
        waited = walrus_monotonic_ns() - began
        if waited >= <uint64_t>log.options.lock_timeout_ns and not (dead and waited < DEAD_HOLDER_WAIT_NS):
            return LOG_LOCKED
        walrus_sleep_ns(1000000)
    snprintf(text, sizeof(text), b"%d\n", getpid())
    # For whoever is refused: no reason not to open where there is no space for it.
    if (ftruncate(log.lock_fd, 0) < 0
            or (pwrite(log.lock_fd, text, strlen(text), 0) < 0 and errno != ENOSPC and errno != EDQUOT)):
        return -errno
    return 0


cdef int buffers_make(Log *log) noexcept nogil:
    cdef int i
    for i in range(GATHER_BUFFERS):
        if posix_memalign(<void **>&log.gather[i], BLOCK_BYTES, GATHER_BYTES + 2 * BLOCK_BYTES):
            return LOG_NO_MEMORY
    for i in range(FLIGHTS_MAX):
        log.flights[i].chunks = <uint32_t *>malloc(GATHER_CHUNKS * sizeof(uint32_t))
        if log.flights[i].chunks == NULL:
            return LOG_NO_MEMORY
    log.pending = <uint32_t *>malloc(GATHER_CHUNKS * sizeof(uint32_t))
    log.sync_frames = <uint8_t *>malloc(RECORD_BYTES_MAX + TAIL_BYTES_MAX)
    log.sync_heads = <uint8_t *>malloc(RECORD_GROUPS_MAX * sizeof(GroupHeader))
    log.sync_names = <uint8_t *>malloc(NAMES_BYTES)
    if log.pending == NULL or log.sync_frames == NULL or log.sync_heads == NULL or log.sync_names == NULL:
        return LOG_NO_MEMORY
    return 0


cdef int directory_open(Log *log, const char *path) noexcept nogil:
    if strlen(path) >= sizeof(log.path):
        return -ENAMETOOLONG
    strncpy(log.path, path, sizeof(log.path) - 1)
    if mkdir(path, 0o755) < 0 and errno != EEXIST:
        return -errno
    log.directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    if log.directory < 0:
        return -errno
    walrus_no_copy_on_write(log.directory)
    return 0


cdef void descriptors_none(Log *log) noexcept nogil:
    """0 is a descriptor: what was never opened must not be closed."""
    log.directory = -1
    log.lock_fd = -1
    log.staging.file.fd = -1
    log.catalog.slot[0].fd = -1
    log.catalog.slot[1].fd = -1
    log.control.file.fd = -1
    log.device.wake_fd = -1


cdef int open_parts(Log *log, const char *path, int64_t *holder) noexcept nogil:
    cdef int result = directory_open(log, path)
    if result == 0:
        result = lock_take(log, holder)
    if result == 0:
        result = device_open(&log.device, log.directory, log.lock_fd, <int>log.options.way)
        log.device_opened = result == 0
    if result == 0:
        log.catalog.stamp_word = &log.catalog.stamp
        log.files.bytes_wanted = log.options.log_file_bytes if log.options.log_file_bytes else LOG_FILE_BYTES_MIN
        log.files.bytes_max = log.options.log_file_bytes if log.options.log_file_bytes else LOG_FILE_BYTES_MAX
        log.files.next_name = 1
        result = topics_open(&log.topics)
    if result == 0:
        result = read_cache_open(log, READ_CACHE_BYTES)
    if result == 0:
        result = buffers_make(log)
    if result == 0:
        result = recover(log)
    return result


cdef int settle(Log *log) noexcept nogil:
    cdef uint64_t ticket = sync_ticket(log)
    cdef int result = LOG_INTERRUPTED
    while result == LOG_INTERRUPTED:
        result = sync_wait(log, ticket, 0)
    return 0 if result == LOG_FULL else result


cdef int log_open(const char *path, const LogOptions *options, Log **opened, int64_t *holder) noexcept nogil:
    cdef int result
    cdef Log *log = <Log *>calloc(1, sizeof(Log))
    opened[0] = log
    holder[0] = 0
    if log == NULL:
        return LOG_NO_MEMORY
    log.options = options[0]
    descriptors_none(log)
    result = open_parts(log, path, holder)
    if result == 0:
        enlist(log)
        log.enlisted = True
        result = iothread_start(log)
        # What a SIGKILL left in staging becomes durable first: under SyncEach nobody sees an entry before that.
        if result == 0 and log.options.schedule == SCHEDULE_EACH and log.dirty_topics != NULL:
            result = settle(log)
    if result:
        release(log)
        walrus_store32(&log.closed, 2)
    return result


# ---------------------------------------------------------------------------------------------------------- closing

cdef void release(Log *log) noexcept nogil:
    """Every descriptor, mapping, thread. The struct and the topics stay for handles that point at them."""
    cdef int i
    iothread_stop(log, False)
    if log.enlisted:
        delist(log)
        log.enlisted = False
    read_cache_close(log)
    if log.device_opened:
        control_close(&log.control, log.clean)
        staging_close(&log.staging, &log.device)
        journal_close(&log.journal, &log.device)
        logfiles_close(&log.files, &log.device)
        catalog_close(&log.catalog, &log.device)
        device_close(&log.device)
        log.device_opened = False
    for i in range(GATHER_BUFFERS):
        free(log.gather[i])
        log.gather[i] = NULL
    for i in range(FLIGHTS_MAX):
        free(log.flights[i].chunks)
        log.flights[i].chunks = NULL
    free(log.pending)
    free(log.sync_frames)
    free(log.sync_heads)
    free(log.sync_names)
    free(log.sync_changes)
    free(log.sync_topics)
    log.pending = NULL
    log.sync_frames = NULL
    log.sync_heads = NULL
    log.sync_names = NULL
    log.sync_changes = NULL
    log.sync_topics = NULL
    if log.directory >= 0:
        close(log.directory)
    if log.lock_fd >= 0:
        # Last, and not by closing alone: a ring that is going away may hold the file a little longer.
        flock(log.lock_fd, LOCK_UN)
        close(log.lock_fd)
    log.directory = -1
    log.lock_fd = -1


cdef void quiesce(Log *log) noexcept nogil:
    """Nobody appends, reads or leads a sync from here on."""
    cdef uint64_t at = 0
    cdef uint32_t seen
    cdef Topic *topic = topic_next(&log.topics, &at)
    while topic != NULL:
        walrus_lock(&topic.lock)
        walrus_unlock(&topic.lock)
        topic = topic_next(&log.topics, &at)
    while True:
        seen = walrus_load32(&log.sync_word)
        if not walrus_load32(&log.sync_leader) and walrus_load32(&log.users) == 0:
            return
        walrus_add32(&log.sync_waiters, 1)
        walrus_futex_wait(&log.sync_word, seen, 10000000, 0)
        walrus_add32(&log.sync_waiters, <uint32_t>-1)


cdef int last_snapshot(Log *log) noexcept nogil:
    """All frames are in extents: flush those, and say in the catalog that staging holds nothing."""
    cdef Topic *topic
    cdef uint64_t i
    cdef int result
    if log.outstanding_first != NULL:
        return LOG_FULL
    result = logfiles_flush(&log.files, &log.device)
    if result < 0:
        return log_fail(log, -result, b"flush", b"log file")
    # After a clean close the table is trusted in any boot: what it holds is on the disk before the snapshot says so.
    result = device_flush(&log.device, &log.control.file)
    if result < 0:
        return log_fail(log, -result, b"flush", b"control")
    for i in range(log.topics.count):
        topic = log.topics.by_number[i]
        walrus_store64(&topic.durable, topic.end)
        if topic.control != NULL:
            walrus_store64(&(<ControlTopic *>topic.control).durable, topic.end)
    return snapshot_take(log, SNAPSHOT_CLEAN_CLOSE)


cdef int log_close(Log *log) noexcept nogil:
    cdef int result
    if walrus_load32(&log.forked):
        return 0
    if not walrus_swap32(&log.closed, 0, 1):
        return 0
    quiesce(log)
    iothread_stop(log, True)
    result = LOG_POISONED if walrus_load32(&log.failure.set) else last_snapshot(log)
    log.clean = result == 0
    release(log)
    walrus_store32(&log.closed, 2)
    return result


cdef void log_abort(Log *log) noexcept nogil:
    if walrus_load32(&log.forked) or not walrus_swap32(&log.closed, 0, 1):
        return
    quiesce(log)
    release(log)
    walrus_store32(&log.closed, 2)


cdef void log_free(Log *log) noexcept nogil:
    if log == NULL:
        return
    if walrus_load32(&log.forked):
        return                                      # mappings and locks are the parent's business: the child leaks a little
    log_abort(log)
    topics_close(&log.topics)
    free(log)


# ----------------------------------------------------------------------------------------------------------- topics

cdef Topic *topic_make(Log *log, const uint8_t *name, uint32_t name_bytes, int *code) noexcept nogil:
    """Holds catalog.lock: its slot, its change and its entry belong together."""
    cdef Change change
    cdef uint64_t id = (log.catalog.epoch << 32) | ((log.catalog.next_topic + 1) & <uint64_t>0xFFFFFFFF)
    cdef ControlTopic *slot = control_topic(&log.control, id, name, name_bytes, code)
    cdef Topic *topic
    if slot == NULL:
        return NULL
    log.catalog.next_topic += 1                     # also where the rest fails: no id is given twice
    code[0] = LOG_NO_MEMORY
    memset(&change, 0, sizeof(change))
    change.kind = CHANGE_TOPIC
    change.name_bytes = <unsigned short>name_bytes
    change.topic_id = id
    change.value = log.options.retention
    change.extra = log.options.retention_bytes
    if catalog_change(&log.catalog, &change, name) < 0:
        return NULL
    topic = topic_enter(&log.topics, log.catalog.log_id, id, name, name_bytes)
    if topic == NULL:
        return NULL
    topic.retention = <uint8_t>log.options.retention
    topic.retention_bytes = log.options.retention_bytes
    topic.clean = 1
    topic.control = <uint8_t *>slot
    code[0] = 0
    return topic


cdef Topic *log_topic(Log *log, const uint8_t *name, uint32_t name_bytes, bint create, int *code) noexcept nogil:
    cdef Topic *topic
    code[0] = log_check(log)
    if code[0] and code[0] != LOG_POISONED:
        return NULL
    topic = topic_by_name(&log.topics, name, name_bytes)
    if topic != NULL or not create or code[0]:
        if topic != NULL:
            code[0] = 0
        return topic
    walrus_lock(&log.catalog.lock)
    topic = topic_by_name(&log.topics, name, name_bytes)
    if topic == NULL:
        topic = topic_make(log, name, name_bytes, code)
    walrus_unlock(&log.catalog.lock)
    return topic
