"""The I/O thread: takes sealed chunks, writes extents, frees staging, runs the schedule, prepares and recycles files.

One native thread per open log. It alone changes flights and log files once the log is open. All signals are blocked in
it. When it meets a failure the log is poisoned, and it goes on only to reap what is in flight: waiters are never left
alone.

Threads: this one. It never takes the GIL.
"""
from walrus._device cimport device_start, device_stop, device_wake
from walrus._group_commit cimport sync_by_iothread
from walrus._journal_reuse cimport journal_prepare, snapshot_take
from walrus._libc cimport (SIG_SETMASK, WALRUS_DEBUG, int64_t, pthread_create, pthread_join, pthread_sigmask, sigfillset,
                           sigset_t, uint32_t, uint64_t, walrus_exchange32, walrus_futex_wait, walrus_load32,
                           walrus_monotonic_ns, walrus_sleep_ns, walrus_store32)
from walrus._log_state cimport LOG_FULL, LOG_POISONED, SCHEDULE_MILLISECONDS, files_complete_wake, log_fail, log_wake_all
from walrus._logfiles cimport LOGFILE_FULL, LogFile, logfile_finish
from walrus._rules cimport RULE_RECYCLE_HEAD, rule_broken
from walrus._space cimport space_punch, space_raise_watermarks, space_release
from walrus._writeback cimport seal_all, seal_cold, writeback_reap, writeback_submit, writeback_wait

cdef enum:
    IDLE_NS = 200000000             # looks up at least this often
    SPACE_NS = 100000000            # between two looks at the watermarks
    ROOM_NS = 2000000000            # that closing waits for room
    ROOM_LOOK_NS = 100000000


cdef int finish_files(Log *log) noexcept nogil:
    """Full log files, once nothing is in flight in them: table, flush; then a snapshot may list them."""
    cdef LogFile *file = log.files.first
    cdef int result
    while file != NULL:
        if file.state == LOGFILE_FULL and file.in_flight == 0:
            result = logfile_finish(&log.files, file, &log.device, log.catalog.log_id)
            if result < 0:
                return log_fail(log, -result, b"flush", file.file.name)
            walrus_store32(&log.snapshot_wanted, 1)
            walrus_store32(&log.release_wanted, 1)
        file = file.next
    return 0


cdef bint finishing(Log *log) noexcept nogil:
    cdef LogFile *file = log.files.first
    while file != NULL:
        if file.state == LOGFILE_FULL:
            return True
        file = file.next
    return False


cdef int catalog_step(Log *log) noexcept nogil:
    """The snapshot that is wanted, and the next journal file before a sync has to wait for it."""
    cdef uint32_t following = (log.journal.at + 1) % log.journal.count
    cdef uint32_t wanted
    cdef int result = 0
    # No rule says when a snapshot comes; where recycle_head is broken, it comes late enough for that to be seen.
    cdef bint late = WALRUS_DEBUG and rule_broken(RULE_RECYCLE_HEAD)
    if walrus_load32(&log.snapshot_wanted) and not finishing(log) and not late:
        walrus_store32(&log.snapshot_wanted, 0)
        result = snapshot_take(log, 0)
        if result == LOG_POISONED:
            return result
    wanted = walrus_exchange32(&log.journal_wanted, 0)
    if wanted:
        result = journal_prepare(log, wanted - 1)
    elif log.journal.position * 2 > log.journal.file_bytes and not log.journal.ready[following]:
        result = journal_prepare(log, following)
    return result if result == LOG_POISONED else 0


cdef int space_step(Log *log, uint64_t now) noexcept nogil:
    """Raises watermarks, makes them durable, gives files free."""
    cdef int changed, result = 0
    cdef bint asked = walrus_exchange32(&log.space_wanted, 0), punch = False
    if asked or now >= log.next_space_ns:
        log.next_space_ns = now + SPACE_NS
        if asked:
            result = sync_by_iothread(log)          # only what is durable may be given up
            if result == LOG_POISONED:
                return result
        changed = space_raise_watermarks(log)
        if changed < 0:
            return log_fail(log, -changed, b"raise watermarks in", b"catalog")
        if changed and (asked or log.options.schedule != SCHEDULE_MILLISECONDS):
            result = sync_by_iothread(log)          # NoFsync too: before space is used again
        punch = log.punch_later
    if result != LOG_POISONED and walrus_exchange32(&log.release_wanted, 0):
        result = space_release(log)
        punch = result == 0
    if punch and result != LOG_POISONED:
        result = space_punch(log, asked or walrus_load32(&log.full) != 0)
    if asked:
        log.space_rounds += 1
        files_complete_wake(log)
    return result if result == LOG_POISONED else 0


cdef int schedule_step(Log *log, uint64_t now) noexcept nogil:
    cdef int result
    if log.options.schedule != SCHEDULE_MILLISECONDS or now < log.next_sync_ns:
        return 0
    result = sync_by_iothread(log)
    log.next_sync_ns = walrus_monotonic_ns() + <uint64_t>log.options.schedule_ms * 1000000
    return result if result == LOG_POISONED else 0


cdef int64_t sleep_time(Log *log) noexcept nogil:
    """Until the next thing that is due."""
    cdef uint64_t now = walrus_monotonic_ns(), left = IDLE_NS
    if log.options.schedule == SCHEDULE_MILLISECONDS:
        if log.next_sync_ns <= now:
            return 0
        if log.next_sync_ns - now < left:
            left = log.next_sync_ns - now
    if walrus_load32(&log.journal_wanted) or walrus_load32(&log.space_wanted):
        return 0
    return <int64_t>left


cdef int step(Log *log) noexcept nogil:
    cdef uint64_t now
    cdef int result
    seal_cold(log)
    result = writeback_submit(log)
    if result == 0:
        result = finish_files(log)
    if result == 0:
        result = catalog_step(log)
    now = walrus_monotonic_ns()
    if result == 0:
        result = schedule_step(log, now)
    if result == 0:
        result = space_step(log, now)
    return result


cdef void drain(Log *log) noexcept nogil:
    """Everything into extents. Room that was made may be had only a little later: of ext4 with its next journal commit."""
    cdef uint64_t until = walrus_monotonic_ns() + ROOM_NS
    seal_all(log)
    while writeback_wait(log, log.sealed, True) == LOG_FULL and walrus_monotonic_ns() < until:
        walrus_sleep_ns(ROOM_LOOK_NS)


cdef void *run(void *argument) noexcept nogil:
    cdef Log *log = <Log *>argument
    cdef sigset_t all_signals
    cdef int result
    sigfillset(&all_signals)
    pthread_sigmask(SIG_SETMASK, &all_signals, NULL)
    result = device_start(&log.device)
    if result < 0:
        log_fail(log, -result, b"start", b"the I/O thread")
    walrus_store32(&log.thread_started, 1)
    log.next_sync_ns = walrus_monotonic_ns() + <uint64_t>log.options.schedule_ms * 1000000
    files_complete_wake(log)
    while not walrus_load32(&log.thread_stop):
        if walrus_load32(&log.failure.set) == 0:
            step(log)
        # More may be queued than flights allow: then only completions are worth waking for.
        writeback_reap(log, sleep_time(log))
    if walrus_load32(&log.thread_stop) == 1 and walrus_load32(&log.failure.set) == 0:
        drain(log)
        finish_files(log)
    while log.flight_count and walrus_load32(&log.failure.set) == 0:
        writeback_reap(log, IDLE_NS)
    device_stop(&log.device)
    walrus_store32(&log.thread_done, 1)
    log_wake_all(log)
    return NULL


cdef int iothread_start(Log *log) noexcept nogil:
    cdef uint32_t seen
    cdef int result = pthread_create(&log.thread, NULL, run, log)
    if result:
        return -result
    while True:
        seen = walrus_load32(&log.complete_word)
        if walrus_load32(&log.thread_started):
            break
        walrus_futex_wait(&log.complete_word, seen, 10000000, 0)
    return LOG_POISONED if walrus_load32(&log.failure.set) else 0


cdef void iothread_stop(Log *log, bint drain) noexcept nogil:
    if not walrus_load32(&log.thread_started):
        return
    walrus_store32(&log.thread_stop, 1 if drain else 2)
    device_wake(&log.device)
    pthread_join(log.thread, NULL)
    log.thread_started = 0
