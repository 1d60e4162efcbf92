"""The handle of a cursor: a named one, or a topic's shared one, whose ReadConsistency is kept here.

Invariants. What a call hands out lies between the position when it took cursor.lock and the one when it let go of it,
so each entry goes to one caller. An error leaves position and stored value as they were. Named cursors are stored by
commit() alone. The shared cursor: strictly at once, its new position is stored (and flushed, but under NoFsync) before
the entries are handed out; at least once, what is stored never reaches beyond what earlier calls handed out, and is
moved on before more than `persist_every` entries would have to be handed out again. A peek, or a read that finds
nothing, changes nothing.

Threads: all methods from any thread, under cursor.lock; it is never waited for with the GIL held.
"""
cimport cython

from walrus._core cimport cuts, lock_slice, only_durable, readable_end
from walrus._control cimport ControlCursor
from walrus._core_errors cimport raise_closed, raise_code, raise_cursor, raise_cursor_in_use, raise_range, raise_reentered
from walrus._core_read cimport batch_taken, checked_bytes, checked_entries, checked_offset, empty_batch, reader_made
from walrus._core_topic cimport encoded_name
from walrus._cursors cimport cursor_commit, cursor_enter, cursor_find
from walrus._libc cimport (EAGAIN, int64_t, uint8_t, walrus_add32, walrus_futex_wait, walrus_load32, walrus_load64,
                           walrus_monotonic_ns, walrus_store64, walrus_trylock, walrus_unlock)
from walrus._log_state cimport LOG_NO_MEMORY, LOG_POISONED, SCHEDULE_EACH, SCHEDULE_NONE, Log, log_check
from walrus._read cimport reader_free
from walrus._topics cimport CURSOR_NAMED, CURSOR_SHARED, Cursor, Topic

cdef enum:
    AHEAD_BYTES = 65536             # what single reads take at once
    AHEAD_ENTRIES = 512
    WAIT_SLICE_NS = 50000000
    UNMADE_SLICE_NS = 10000000      # a topic that does not exist wakes nobody: look this often


cdef void wait_slice(Log *log, Topic *topic, uint64_t position, int64_t slice_ns) noexcept nogil:
    """Until something can be read at `position`, or the slice is over."""
    cdef uint32_t *word
    cdef uint32_t *waiters
    cdef uint32_t seen
    if topic == NULL:
        seen = 0
        walrus_futex_wait(&seen, 0, slice_ns, 0)
        return
    word = &log.sync_word if only_durable(log) else &topic.wake_word
    waiters = &log.sync_waiters if only_durable(log) else &topic.waiters
    seen = walrus_load32(word)
    walrus_add32(waiters, 1)
    if readable_end(log, topic) <= position:
        walrus_futex_wait(word, seen, slice_ns, 0)
    walrus_add32(waiters, <uint32_t>-1)


@cython.no_gc_clear
cdef class CursorHandle:
    """A durable read position. Use ``topic.cursor(name)``."""

    def __cinit__(self, TopicHandle topic not None, name, uint32_t persist_every=0):
        self.encoded = b"" if name is None else encoded_name(name, "a cursor's name")
        self.kind = CURSOR_SHARED if name is None else CURSOR_NAMED
        self.name = None if name is None else self.encoded.decode()
        self.topic = topic
        self.persist_every = persist_every

    def __dealloc__(self):
        if self.reader != NULL:
            reader_free(self.reader)

    # ------------------------------------------------------------------- inside, between log.enter() and log.leave()

    cdef bint exists(self, bint make) except -1:
        """Is there such a cursor? Entered if `make` and its topic exists."""
        cdef const uint8_t *name = <const uint8_t *><const char *>self.encoded
        cdef uint32_t size = <uint32_t>len(self.encoded)
        cdef Cursor *found
        if self.cursor != NULL:
            return True
        if not self.topic.exists():
            return False
        with nogil:
            found = cursor_find(self.topic.topic, self.kind, name, size)
            if found == NULL and make:
                found = cursor_enter(self.topic.topic, &self.topic.state.catalog, self.kind, name, size)
        if found == NULL and make:
            raise_code(self.topic.state, LOG_NO_MEMORY, "make a cursor", self.topic.name, None)
        if found != NULL:                           # else another thread, which reads by it, may have set it meanwhile
            self.cursor = found
        return self.cursor != NULL

    cdef int acquire(self) except -1:
        cdef bint held = walrus_trylock(&self.cursor.lock)
        while not held:
            if self.topic.log.closing:
                raise_closed(self.topic.state)
            with nogil:
                held = lock_slice(&self.cursor.lock)
            if held:
                return 0
            if self.topic.log.in_handler():         # it may be the interrupted call that holds it
                raise_reentered(self.topic.state, "use a cursor", self.topic.name)
            self.topic.log.check_signals()
        return 0

    cdef uint64_t standing(self) except? 0:
        """The position, if it can be used."""
        if self.cursor.damaged:
            raise_cursor(self.topic.state, self.topic.name, self.name)
        if self.cursor.position < walrus_load64(&self.topic.topic.low):
            if self.cursor.durable_once or self.cursor.position != self.cursor.committed:
                raise_range(self.topic.state, self.topic.topic, self.topic.name, self.cursor.position)
            walrus_store64(&self.cursor.position, walrus_load64(&self.topic.topic.low))     # never used: at the oldest entry
        return self.cursor.position

    cdef Batch fetch(self, uint64_t first, uint64_t max_bytes, uint32_t max_entries):
        if self.reader == NULL:
            self.reader = reader_made(self.topic)
        return batch_taken(self.topic, self.reader, first, readable_end(self.topic.state, self.topic.topic), max_bytes,
                           max_entries)

    cdef bint fetch_ahead(self, uint64_t first) except -1:
        """Makes ahead[ahead_index] the entry at `first`, or the next one there is; False: none."""
        cdef Batch ahead = self.ahead
        cdef uint64_t seen = cuts(self.topic.state)
        if (ahead is not None and self.ahead_index < ahead.taken.count and ahead.taken.offsets[self.ahead_index] == first
                and seen == self.ahead_cuts):
            return True
        self.ahead = None
        if first >= readable_end(self.topic.state, self.topic.topic):
            return False
        ahead = self.fetch(first, AHEAD_BYTES, AHEAD_ENTRIES)
        if ahead.taken.count == 0:
            return False
        self.ahead = ahead
        self.ahead_index = 0
        self.ahead_cuts = seen
        return True

    cdef int store(self, uint64_t offset, bint durably) except -1:
        cdef int code = log_check(self.topic.state)
        if code == 0:
            with nogil:
                code = cursor_commit(self.cursor, &self.topic.state.catalog, offset)
        if code == -EAGAIN:
            raise_cursor_in_use(self.topic.log.path, self.topic.name, self.name,
                                (<ControlCursor *>self.cursor.control).owner_pid)
        if code:
            raise_code(self.topic.state, code, "store a cursor", self.topic.name, offset)
        self.cursor.damaged = False
        if durably:
            self.topic.log.make_durable("store a cursor", self.topic.name, None, NULL, 0, self.cursor.stamp)
        return 0

    cdef int hand_out_strictly(self, uint64_t first, uint64_t following) except -1:
        walrus_store64(&self.cursor.position, following)
        try:
            self.store(following, self.topic.state.options.schedule != SCHEDULE_NONE)
        except BaseException:
            walrus_store64(&self.cursor.position, first)            # what is not handed out is not consumed
            with nogil:
                cursor_commit(self.cursor, &self.topic.state.catalog, first)
            raise
        return 0

    cdef int hand_out(self, uint64_t first, uint64_t following, uint32_t count) except -1:
        """Moves the position over `count` entries, and stores what the cursor's kind asks for."""
        if self.kind == CURSOR_SHARED:
            if self.persist_every == 0:
                return self.hand_out_strictly(first, following)
            if self.cursor.taken and self.cursor.taken + count > self.persist_every:
                self.store(first, self.topic.state.options.schedule != SCHEDULE_NONE)
                self.cursor.taken = 0
            self.cursor.taken += count
        walrus_store64(&self.cursor.position, following)
        return 0

    cdef object one(self, bint consume, bint as_entry):
        """The next entry or None."""
        cdef uint64_t first
        self.acquire()
        try:
            first = self.standing()
            if not self.fetch_ahead(first):
                return None
            found = self.ahead.entry(self.ahead_index) if as_entry else self.ahead.payload(self.ahead_index)
            if consume:
                self.hand_out(first, self.ahead.taken.offsets[self.ahead_index] + 1, 1)
                self.ahead_index += 1
                if self.ahead_index == self.ahead.taken.count:
                    self.ahead = None
            return found
        finally:
            walrus_unlock(&self.cursor.lock)

    cdef Batch many(self, uint64_t max_bytes, uint32_t max_entries, bint consume):
        cdef Batch batch
        cdef uint64_t first
        self.acquire()
        try:
            first = self.standing()
            batch = self.fetch(first, max_bytes, max_entries)
            if consume and batch.taken.count:
                self.hand_out(first, batch.taken.offsets[batch.taken.count - 1] + 1, batch.taken.count)
            return batch
        finally:
            walrus_unlock(&self.cursor.lock)

    # ----------------------------------------------------------------------------------------------------- the shared
    # one

    cdef bint has_entries(self) except -1:
        """Is there anything that a shared cursor could hand out? One that was never used is not entered for less."""
        return self.topic.exists() and readable_end(self.topic.state, self.topic.topic) > walrus_load64(&self.topic.topic.low)

    def _shared_next(self, bint checkpoint):
        """The payload of the next entry or None; consumed if `checkpoint`."""
        cdef Batch batch
        self.topic.log.enter("read")
        try:
            if self.exists(checkpoint and self.has_entries()):
                return self.one(checkpoint, False)
            batch = self.unused(0, 1)
            return batch.payload(0) if batch.taken.count else None
        finally:
            self.topic.log.leave()

    def _shared_batch(self, max_bytes, max_entries, bint checkpoint):
        cdef uint64_t bytes_max = checked_bytes(max_bytes)
        cdef uint32_t entries_max = checked_entries(max_entries)
        self.topic.log.enter("read")
        try:
            if self.exists(checkpoint and self.has_entries()):
                return self.many(bytes_max, entries_max, checkpoint)
            return self.unused(bytes_max, entries_max)
        finally:
            self.topic.log.leave()

    cdef Batch unused(self, uint64_t max_bytes, uint32_t max_entries):
        """What a cursor would hand out that was never used: the oldest entries."""
        cdef Reader *reader
        cdef uint64_t low
        if not self.has_entries():
            return empty_batch(self.topic)
        reader = reader_made(self.topic)
        try:
            low = walrus_load64(&self.topic.topic.low)
            return batch_taken(self.topic, reader, low, readable_end(self.topic.state, self.topic.topic), max_bytes, max_entries)
        finally:
            with nogil:
                reader_free(reader)

    # ------------------------------------------------------------------------------------------------------- public
    # methods

    def read_next(self):
        """The next entry (Entry) or None; the position moves behind it, nothing is stored before ``commit()``."""
        self.topic.log.enter("read")
        try:
            return self.one(True, True) if self.exists(True) else None
        finally:
            self.topic.log.leave()

    def read_batch(self, max_bytes=1 << 20, max_entries=None):
        """The next entries as a Batch (empty: there are none); the position moves behind them.

        At least one entry if there is one, then as long as the payloads fit `max_bytes`, at most `max_entries` (1 to
        2,000, the default). Raises ``CorruptionError`` (with ``next_offset``, for ``seek``), ``OffsetOutOfRange``
        (reclaimed), ``ClosedError``, ``OSError``; the position has not moved then.
        """
        cdef uint64_t bytes_max = checked_bytes(max_bytes)
        cdef uint32_t entries_max = checked_entries(max_entries)
        self.topic.log.enter("read")
        try:
            return self.many(bytes_max, entries_max, True) if self.exists(True) else empty_batch(self.topic)
        finally:
            self.topic.log.leave()

    def commit(self, offset=None):
        """Stores the position, or `offset`: where processing goes on after a restart.

        Survives SIGKILL when it returns; a power cut when it returns under ``SyncEach``, else with the log's next sync.
        The first one makes this process the cursor's owner, until the log is closed. Raises ``CursorInUseError``
        (another process owns it), ``OffsetOutOfRange``, ``StorageFullError``, ``LogFailedError``, ``ClosedError``,
        ``CorruptionError`` (the stored position is damaged: seek first).
        """
        cdef uint64_t value
        self.topic.log.enter("commit")
        try:
            if not self.exists(True):
                self.checked(0 if offset is None else offset)
                return
            self.acquire()
            try:
                if self.cursor.damaged:             # also for an offset that is given: where to read on is not known
                    raise_cursor(self.topic.state, self.topic.name, self.name)
                value = self.standing() if offset is None else self.checked(offset)
                self.store(value, self.topic.state.options.schedule == SCHEDULE_EACH)
            finally:
                walrus_unlock(&self.cursor.lock)
        finally:
            self.topic.log.leave()

    def seek(self, offset):
        """Moves the position to `offset`, from the oldest entry kept to the end; else ``OffsetOutOfRange``.

        A named cursor's is stored by ``commit()``; the shared one's at once.
        """
        cdef uint64_t value
        self.topic.log.enter("seek")
        try:
            value = self.checked(offset)
            if not self.exists(True):
                return
            self.acquire()
            try:
                if self.kind == CURSOR_SHARED:
                    self.store(value, self.topic.state.options.schedule != SCHEDULE_NONE)
                    self.cursor.taken = 0
                self.cursor.damaged = False
                walrus_store64(&self.cursor.position, value)
            finally:
                walrus_unlock(&self.cursor.lock)
        finally:
            self.topic.log.leave()

    cdef uint64_t checked(self, object offset) except? 0:
        cdef uint64_t low = 0, end = 0
        cdef uint64_t wanted = checked_offset(offset)
        if self.topic.exists():
            low = walrus_load64(&self.topic.topic.low)
            end = walrus_load64(&self.topic.topic.end)
        if not low <= wanted <= end:
            raise_range(self.topic.state, self.topic.topic, self.topic.name, wanted)
        return wanted

    @property
    def position(self):
        """The offset that is handed out next."""
        self.topic.log.enter("use a cursor")
        try:
            return self.standing_unlocked()
        finally:
            self.topic.log.leave()

    cdef uint64_t standing_unlocked(self) except? 0:
        cdef uint64_t low, position
        if not self.exists(False):
            return walrus_load64(&self.topic.topic.low) if self.topic.exists() else 0
        if self.cursor.damaged:
            raise_cursor(self.topic.state, self.topic.name, self.name)
        low = walrus_load64(&self.topic.topic.low)
        position = walrus_load64(&self.cursor.position)
        return low if position < low and not self.cursor.durable_once else position

    @property
    def committed(self):
        """The stored offset: where processing goes on after a restart (the oldest entry, where nothing was committed)."""
        self.topic.log.enter("use a cursor")
        try:
            if not self.exists(False) or not self.cursor.durable_once:
                return walrus_load64(&self.topic.topic.low) if self.topic.exists() else 0
            if self.cursor.damaged:
                raise_cursor(self.topic.state, self.topic.name, self.name)
            return walrus_load64(&self.cursor.committed)
        finally:
            self.topic.log.leave()

    @property
    def lag(self):
        """Entries between the position and the topic's end."""
        cdef uint64_t position, end
        self.topic.log.enter("use a cursor")
        try:
            position = self.standing_unlocked()
            end = readable_end(self.topic.state, self.topic.topic) if self.topic.exists() else 0
            return end - position if end > position else 0
        finally:
            self.topic.log.leave()

    # ------------------------------------------------------------------------------------------------------------
    # following

    cdef int wait(self, uint64_t deadline_ns) except -1:
        """A slice of waiting for a new entry."""
        cdef Topic *topic = self.topic.topic if self.exists(True) else NULL
        cdef uint64_t position = walrus_load64(&self.cursor.position) if self.cursor != NULL else 0, now
        cdef int64_t slice_ns = WAIT_SLICE_NS if topic != NULL else UNMADE_SLICE_NS
        if deadline_ns:
            now = walrus_monotonic_ns()
            if now >= deadline_ns:
                return 0
            if deadline_ns - now < <uint64_t>slice_ns:
                slice_ns = <int64_t>(deadline_ns - now)
        with nogil:
            wait_slice(self.topic.state, topic, position, slice_ns)
        self.topic.log.check_signals()
        return 0

    def _next_within(self, timeout):
        """The next entry (Entry), waited for up to `timeout` seconds (None: for ever); None when there was none."""
        cdef uint64_t deadline_ns = 0
        cdef double seconds
        if timeout is not None:
            seconds = timeout
            if not seconds >= 0:
                raise ValueError(f"timeout={timeout!r}: seconds, 0 or more, or None")
            deadline_ns = walrus_monotonic_ns() + (<uint64_t>(seconds * 1e9) if seconds < 1e9 else <uint64_t>1000000000000000000)
        while True:
            self.topic.log.enter("follow")
            try:
                entry = self.one(True, True) if self.exists(True) else None
                if entry is not None or (deadline_ns and walrus_monotonic_ns() >= deadline_ns):
                    return entry
                if walrus_load32(&self.topic.state.failure.set):
                    raise_code(self.topic.state, LOG_POISONED, "follow", self.topic.name, None)
                self.wait(deadline_ns)
            finally:
                self.topic.log.leave()
