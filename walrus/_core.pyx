"""The handle of an open log: opening, closing, sync, space, counts.

Invariants. A call that lets go of the GIL stands between enter() and leave(); close() refuses new ones, waits for those
under way, then closes the engine. `closing` changes with the GIL held, so a call that keeps the GIL needs no counting.
The struct lives as long as the handle, and every other handle keeps this one alive.

Threads: all methods from any thread. Nobody waits for a native lock, a futex or the disk while holding the GIL.
"""
cimport cython
from cpython.exc cimport PyErr_CheckSignals

from walrus._catalog cimport catalog_change
from walrus._changes cimport CHANGE_CLEAN, Change
from walrus._core_errors cimport raise_at_close, raise_code, raise_cursor, raise_open, raise_reentered
from walrus._cursors cimport cursor_find
from walrus._device cimport DEVICE_MMAP, DEVICE_URING, device_wake
from walrus._group_commit cimport sync_ticket, sync_wait
from walrus._libc cimport (int64_t, memset, uint8_t, walrus_add32, walrus_exchange32, walrus_futex_wait, walrus_lock,
                           walrus_monotonic_ns, walrus_store32, walrus_trylock, walrus_unlock)
from walrus._log cimport log_close, log_free, log_open, log_options_default, log_topic
from walrus._log_state cimport (LOG_CLOSED, LOG_FORKED, LOG_FULL, LOG_INTERRUPTED, LOG_LOCKED, LOG_POISONED,
                                LogOptions, log_check, log_enter, log_leave)
from walrus._topics cimport CURSOR_SHARED, Cursor, topic_next

import os
from threading import get_ident

cdef enum:
    WAIT_SLICE_NS = 50000000        # a waiter looks up this often: signals, deadline, close
    LOCK_RETRY_NS = 10000000


cdef bint lock_slice(uint32_t *lock) noexcept nogil:
    if walrus_trylock(lock):
        return True
    if walrus_exchange32(lock, 2) == 0:             # 2: held, with sleepers, so that unlock() wakes
        return True
    walrus_futex_wait(lock, 2, WAIT_SLICE_NS, 0)
    return walrus_exchange32(lock, 2) == 0


cdef int mark(Log *log, Topic *topic, bint clean) noexcept nogil:
    """The mark, with the end that it speaks of: what lies beyond makes the topic dirty again."""
    cdef Change change
    cdef int result
    memset(&change, 0, sizeof(change))
    change.kind = CHANGE_CLEAN
    change.topic_id = topic.id
    change.value = clean
    walrus_lock(&log.catalog.lock)
    walrus_lock(&topic.lock)
    change.extra = topic.end
    result = catalog_change(&log.catalog, &change, NULL)
    if result >= 0:
        topic.clean = clean
        topic.clean_end = topic.end
    walrus_unlock(&topic.lock)
    walrus_unlock(&log.catalog.lock)
    return result


cdef void space_round(Log *log) noexcept nogil:
    """A slice of waiting for the I/O thread's look at the log's space."""
    cdef uint32_t seen = walrus_load32(&log.complete_word)
    walrus_store32(&log.space_wanted, 1)
    device_wake(&log.device)
    walrus_add32(&log.complete_waiters, 1)
    walrus_futex_wait(&log.complete_word, seen, WAIT_SLICE_NS, 0)
    walrus_add32(&log.complete_waiters, <uint32_t>-1)


cdef int pause() except -1:
    """Between two tries for the directory's lock."""
    cdef uint32_t never = 0
    with nogil:
        walrus_futex_wait(&never, 0, LOCK_RETRY_NS, 0)
    PyErr_CheckSignals()
    return 0


@cython.no_gc_clear
cdef class LogHandle:
    """An open log directory. Use ``walrus.open()``."""

    def __cinit__(self, *args, **kwargs):
        self.log = NULL
        self.closing = True
        self.interrupted = set()

    def __dealloc__(self):
        if self.log != NULL:
            with nogil:
                log_free(self.log)

    def _open(self, str path, *, uint64_t staging_bytes, uint64_t log_file_bytes, uint64_t journal_file_bytes,
              uint32_t retention, uint64_t retention_bytes, uint32_t schedule, uint32_t schedule_ms, uint32_t way,
              uint32_t chunk_class_max, uint64_t lock_wait_ns, uint64_t room_wait_ns):
        """Opens the directory. Options are checked by ``options.py``; 0 stands for the engine's default of a size."""
        cdef LogOptions options
        cdef bytes encoded = os.fsencode(path)
        cdef const char *name = encoded
        cdef int code = LOG_LOCKED
        cdef int64_t holder = 0
        cdef uint64_t began = walrus_monotonic_ns()
        cdef Log *log = NULL
        log_options_default(&options)
        options.staging_bytes = staging_bytes if staging_bytes else options.staging_bytes
        options.journal_file_bytes = journal_file_bytes if journal_file_bytes else options.journal_file_bytes
        options.log_file_bytes = log_file_bytes
        options.retention = retention
        options.retention_bytes = retention_bytes
        options.schedule = schedule
        options.schedule_ms = schedule_ms
        options.way = way
        options.chunk_class_max = chunk_class_max
        while True:
            options.lock_timeout_ns = 0
            with nogil:
                code = log_open(name, &options, &log, &holder)
            if code == 0:
                break
            if code != LOG_LOCKED or walrus_monotonic_ns() - began >= lock_wait_ns:
                try:
                    raise_open(log, code, path, holder)
                finally:
                    log_free(log)
            log_free(log)
            pause()
        self.log = log
        self.path = path
        self.room_wait_ns = room_wait_ns
        self.closing = False

    # ---------------------------------------------------------------------------------------------- for the handles

    cdef int enter(self, object doing) except -1:
        cdef int code
        if self.log == NULL:
            raise ValueError(f"cannot {doing}: this log was never opened; use walrus.open()")
        code = LOG_FORKED if walrus_load32(&self.log.forked) else LOG_CLOSED if self.closing else log_enter(self.log)
        if code:
            return raise_code(self.log, code, doing, None, None)
        return 0

    cdef void leave(self) noexcept:
        log_leave(self.log)

    cdef bint in_handler(self) except -1:
        return get_ident() in self.interrupted

    cdef int check_signals(self) except -1:
        cdef object thread = get_ident()
        cdef bint outermost = thread not in self.interrupted
        self.interrupted.add(thread)
        try:
            PyErr_CheckSignals()
        finally:
            if outermost:
                self.interrupted.discard(thread)
        return 0

    cdef int make_durable(self, object doing, object topic, object offset, Topic *appended, uint64_t end,
                          uint64_t stamp) except -1:
        """A sync. On a full disk one that could do less than all is enough where `appended` is durable up to `end`, or
        the change `stamp`.
        """
        cdef uint64_t ticket
        cdef int code
        with nogil:
            ticket = sync_ticket(self.log)
        while True:
            with nogil:
                code = sync_wait(self.log, ticket, 0)
            if code == LOG_FULL and ((appended != NULL and walrus_load64(&appended.durable) >= end)
                                     or (stamp and walrus_load64(&self.log.durable_stamp) >= stamp)):
                code = 0
            if code == 0:
                return 0
            try:
                if code != LOG_INTERRUPTED:
                    raise_code(self.log, code, doing, topic, offset)
                self.check_signals()
            except BaseException as error:
                if offset is not None:
                    error.add_note(f"Offset {offset} of topic {topic!r} is written but was not seen to become durable: "
                                   "the outcome is "
                                   "unknown, opening the log again may bring it back.")
                raise

    cdef uint64_t deadline(self, object timeout) except? 0:
        cdef uint64_t wait_ns = self.room_wait_ns
        cdef double seconds
        if timeout is not None:
            seconds = timeout
            if not seconds >= 0:
                raise ValueError(f"timeout={timeout!r}: seconds, 0 or more, or None")
            wait_ns = <uint64_t>(seconds * 1e9) if seconds < 1e9 else <uint64_t>-1
        if wait_ns == <uint64_t>-1:
            return 0
        return walrus_monotonic_ns() + wait_ns

    cdef Topic *find(self, bytes name, bint create) except? NULL:
        cdef int code = 0
        cdef Topic *topic
        cdef const uint8_t *text = <const uint8_t *><const char *>name
        cdef uint32_t size = <uint32_t>len(name)
        with nogil:
            topic = log_topic(self.log, text, size, create, &code)
        if code and topic == NULL and (create or code != LOG_POISONED):
            raise_code(self.log, code, "make a topic" if create else "look up a topic", name.decode("utf-8", "replace"), None)
        return topic

    # -------------------------------------------------------------------------------------------------- public methods

    def close(self):
        """Writes and flushes everything, gives back thread, ring, memory and lock. Closing again does nothing.

        Calls of other threads that are under way end first, waiting ones with ``ClosedError``. A failure, also one that
        was told before, is raised here (``LogFailedError``, ``StorageFullError``); all is given back nevertheless. A
        signal handler that interrupts a call on this log cannot close it (``WalrusError``): it would wait for that call.
        """
        cdef int code
        if self.log == NULL or self.closing or walrus_load32(&self.log.forked):
            self.closing = True
            return
        if self.in_handler():
            raise_reentered(self.log, "close the log", None)
        self.closing = True
        with nogil:
            code = log_close(self.log)
        if code:
            raise_at_close(self.log, code)

    @property
    def closed(self):
        """True once ``close()`` was called, and in the child of a fork."""
        return self.closing or walrus_load32(&self.log.forked) != 0

    def sync(self):
        """Makes durable all that was appended and committed before, on every schedule. Returns when it is on the disk.

        Raises ``LogFailedError`` (a write or flush failed: the outcome is unknown), ``StorageFullError``,
        ``ClosedError``.
        """
        self.enter("sync")
        try:
            self.make_durable("sync", None, None, NULL, 0, 0)
        finally:
            self.leave()

    def reclaim(self):
        """Does now what the background does later: gives back the space of entries that retention lets go.

        Returns by how many bytes the log's files have shrunk (files kept for reuse do not count).
        """
        cdef uint64_t rounds, before
        cdef int code = 0
        self.enter("reclaim space")
        try:
            before = self.log.files.total_bytes
            rounds = walrus_load64(&self.log.space_rounds)
            # Two rounds: one may have been under way before we asked.
            while walrus_load64(&self.log.space_rounds) < rounds + 2:
                code = log_check(self.log)
                if code:
                    raise_code(self.log, code, "reclaim space", None, None)
                with nogil:
                    space_round(self.log)
                self.check_signals()
            return max(0, <object>before - <object>self.log.files.total_bytes)
        finally:
            self.leave()

    def topics(self):
        """Names (str) of all topics, in the order of their making."""
        cdef uint64_t at = 0
        cdef Topic *topic
        self.enter("list topics")
        try:
            names = []
            while True:
                with nogil:
                    topic = topic_next(&self.log.topics, &at)
                if topic == NULL:
                    return names
                names.append((<char *>topic.name)[:topic.name_bytes].decode("utf-8", "surrogateescape"))
        finally:
            self.leave()

    def _unread(self, bytes name):
        """Entries of the topic that the shared cursor has not consumed; 0 where there is no such topic."""
        cdef Topic *topic
        cdef Cursor *cursor
        cdef uint64_t position, end, low
        self.enter("count entries")
        try:
            topic = self.find(name, False)
            if topic == NULL:
                return 0
            with nogil:
                cursor = cursor_find(topic, CURSOR_SHARED, <const uint8_t *>b"", 0)
                low = walrus_load64(&topic.low)
                end = readable_end(self.log, topic)
            if cursor != NULL and cursor.damaged:
                raise_cursor(self.log, name.decode("utf-8", "surrogateescape"), None)
            position = low if cursor == NULL else walrus_load64(&cursor.position)
            if position < low:
                position = low
            return end - position if end > position else 0
        finally:
            self.leave()

    def _mark(self, bytes name, bint clean):
        """Sets the topic's mark, durably. An unknown topic is clean; it is made to be marked dirty."""
        cdef Topic *topic
        cdef int code
        self.enter("mark a topic")
        try:
            topic = self.find(name, not clean)
            if topic == NULL:
                return
            with nogil:
                code = mark(self.log, topic, clean)
            if code:
                raise_code(self.log, code, "mark a topic", name.decode("utf-8", "surrogateescape"), None)
            self.make_durable("mark a topic", None, None, NULL, 0, walrus_load64(self.log.catalog.stamp_word))
        finally:
            self.leave()

    def _is_clean(self, bytes name):
        cdef Topic *topic
        self.enter("look at a topic's mark")
        try:
            topic = self.find(name, False)
            return topic == NULL or (topic.clean != 0 and topic.clean_end == walrus_load64(&topic.end))
        finally:
            self.leave()

    def _state(self):
        """Counters and settings as a dict: what ``stats()`` is made of. Also after close."""
        cdef Log *log = self.log
        cdef uint64_t i, appends = 0
        if log == NULL:
            raise ValueError("this log was never opened; use walrus.open()")
        if walrus_load32(&log.forked):              # whoever held the lock below is not in this process
            raise_code(log, LOG_FORKED, "look at its statistics", None, None)
        with nogil:
            walrus_lock(&log.topics.lock)           # the table moves when it grows
            for i in range(log.topics.count):
                appends += log.topics.by_number[i].appended
            walrus_unlock(&log.topics.lock)
        values = dict(log.stats)
        values.update(log.device.stats)
        values.update(
            appends=appends,
            io="io_uring" if log.device.way == DEVICE_URING else "mmap" if log.device.way == DEVICE_MMAP else "pwrite",
            io_asked=log.device.asked, io_fallback_errno=log.device.fallback_errno, direct_io=not log.device.direct_refused,
            staging_bytes=log.staging.bytes, staging_free_bytes=log.staging.free_bytes, topics=log.topics.count,
            log_files=log.files.count, log_file_bytes=log.files.total_bytes, log_files_created=log.files.created,
            log_files_recycled=log.files.recycled, full=log.full != 0, failed=log.failure.set != 0, epoch=log.catalog.epoch)
        return values

    def _recovery(self):
        """What opening did, as a dict."""
        if self.log == NULL:
            raise ValueError("this log was never opened; use walrus.open()")
        return dict(self.log.recovery)
