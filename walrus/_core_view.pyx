"""The handle of a log that another process writes: what reader.py builds its classes on.

Invariants. One call at a time per handle, by a lock that is never waited for with the GIL held (a Python lock gives it
up). Signal handlers may run in the middle of a call; where such a handler calls the same handle it is refused, as it can
neither wait for that call nor change what it works on. Topics are named by their encoded names: a new writer may take
over at any time, and then all is mapped anew. What was read counts only if none had by then: each call looks before and
after, and does it over.

Threads: any. The disk is read without the GIL.
"""
cimport cython
from cpython.exc cimport PyErr_CheckSignals

from walrus._control cimport (CONTROL_CLOSED, ControlCursor, ControlTopic, control_cursors_broken, control_forked,
                              control_load)
from walrus._core_errors cimport raise_cursor, raise_cursor_in_use, raise_open, raise_range, raise_read
from walrus._core_read cimport Batch, checked_bytes, checked_entries
from walrus._libc cimport EAGAIN, ENOENT, EROFS, calloc, free, int64_t, uint8_t, uint32_t, uint64_t, walrus_futex_wait
from walrus._log_state cimport LOG_END, LOG_OUT_OF_RANGE, LOG_UNSETTLED
from walrus._read cimport Reader, reader_failure, reader_free, reader_new
from walrus._topics cimport Topic, topic_by_name
from walrus._view cimport (View, view_close, view_cursor, view_cursor_commit, view_end, view_open, view_poll,
                           view_sleep_begin, view_stale, view_take, view_topics)

import os
import threading
import time
import weakref

from walrus.errors import ClosedError, OffsetOutOfRange, WalrusError

cdef enum:
    UNMARKED_SLICE_NS = 5000000         # where the control file cannot be written, nobody knows that somebody sleeps

cdef double SETTLE_S = 10.0             # so long a writer may take to open the log
cdef double SETTLE_SLICE_S = 0.002


@cython.no_gc_clear
cdef class ViewHandle:
    cdef View *view
    cdef readonly str path
    cdef object lock                    # reentrant, for handlers of signals alone
    cdef bint interrupted               # its holder runs signal handlers
    cdef dict readers                   # encoded topic name -> address of its Reader
    cdef readonly bint uncommitted
    cdef object __weakref__

    def __init__(self, str path, bint uncommitted):
        self.path = path
        self.uncommitted = uncommitted
        self.lock = threading.RLock()
        self.readers = {}
        self.view = <View *>calloc(1, sizeof(View))
        if self.view == NULL:
            raise MemoryError()
        self.map_anew()
        _handles.add(self)

    def __dealloc__(self):
        if self.view != NULL:
            self.unmap()
            free(self.view)

    cdef void unmap(self):
        for address in self.readers.values():
            reader_free(<Reader *><size_t>address)
        self.readers.clear()
        view_close(self.view)

    cdef int map_anew(self) except -1:
        """Cursors that are owned stay so, while the control file is the same one."""
        cdef bytes encoded = os.fsencode(self.path)
        cdef const char *name = encoded
        cdef int code, fd
        kept = os.dup(self.view.log.control.file.fd) if self.view.opened else None
        self.unmap()
        until = time.monotonic() + SETTLE_S
        try:
            while True:
                fd = os.dup(kept) if kept is not None else -1
                with nogil:
                    code = view_open(self.view, name, fd)
                if code == 0:
                    return 0
                view_close(self.view)
                if code == -ENOENT:
                    raise FileNotFoundError(ENOENT, "there is no log here: read_only=True makes none", self.path)
                if code != LOG_UNSETTLED:
                    raise_open(&self.view.log, code, self.path, 0)
                if time.monotonic() > until:
                    raise ClosedError(f"{self.path} was not closed before its writer or the machine went down, and "
                                      "nobody has opened it for writing since; do that once, which recovers it",
                                      path=self.path)
                self.pause(SETTLE_SLICE_S)
        finally:
            if kept is not None:
                os.close(kept)

    cdef int pause(self, double seconds) except -1:
        """In the middle of a call: signal handlers run."""
        self.interrupted = True
        try:
            time.sleep(seconds)
            PyErr_CheckSignals()                    # one that came while it did not sleep
        finally:
            self.interrupted = False
        return 0

    cdef int not_reentered(self) except -1:
        if self.interrupted:
            raise WalrusError(f"the log {self.path} is in the middle of a call that this signal handler interrupted; raise an "
                              "exception in the handler (SystemExit, KeyboardInterrupt), it ends that call", path=self.path)
        return 0

    cdef int current(self) except -1:
        """Before each call, with the lock: open, and the files of the writer that there is now."""
        self.not_reentered()
        if self.view == NULL:
            raise ClosedError(f"the log {self.path} is closed; open it again", path=self.path)
        if not self.view.opened or view_stale(self.view):
            self.map_anew()
        return 0

    def _forked(self):
        """In a fork's child: what is mapped and locked is the parent's. Used here, it is opened anew."""
        self.lock = threading.RLock()
        self.interrupted = False
        if self.view != NULL and self.view.opened:
            control_forked(&self.view.log.control)
            self.view.opened = False
            self.readers.clear()

    cdef bint topics_learnt(self) except -1:
        """False: another writer is making the table anew, which the caller looks at next."""
        cdef int code = view_topics(self.view)
        if code and not view_stale(self.view):
            raise_open(&self.view.log, code, self.path, 0)
        return code == 0

    cdef Topic *find(self, bytes name) except? NULL:
        cdef Topic *topic
        if not self.topics_learnt():
            return NULL
        topic = topic_by_name(&self.view.log.topics, <const uint8_t *><const char *>name, <uint32_t>len(name))
        if topic != NULL:
            view_poll(self.view, topic)
        return topic

    def close(self):
        with self.lock:
            self.not_reentered()
            if self.view != NULL:
                self.unmap()
                free(self.view)
                self.view = NULL

    @property
    def closed(self):
        return self.view == NULL

    def topics(self):
        """Names of the topics, in the order of their making."""
        cdef uint64_t i
        with self.lock:
            while True:
                self.current()
                if self.topics_learnt() and not view_stale(self.view):
                    break
            return [self.view.log.topics.by_number[i].name[:self.view.log.topics.by_number[i].name_bytes].decode("utf-8", "surrogateescape")
                    for i in range(self.view.log.topics.count)]

    def offsets(self, bytes name):
        """(oldest, end, durable, payload bytes) of the topic; zeros where there is none."""
        cdef Topic *topic
        cdef uint64_t end, payload_bytes
        with self.lock:
            while True:
                self.current()
                topic = self.find(name)
                end = view_end(self.view, topic, self.uncommitted) if topic != NULL else 0
                payload_bytes = (<ControlTopic *>topic.control).payload_bytes if topic != NULL else 0
                if not view_stale(self.view):
                    break
            if topic == NULL:
                return 0, 0, 0, 0
            return topic.low, end, topic.durable, payload_bytes

    def facts(self):
        """What the control file says of the log, as a dict: what ``stats()`` is made of."""
        with self.lock:
            self.current()
            head = self.view.log.control.head
            return {"topics": head.topics, "writer_pid": head.writer_pid, "epoch": head.epoch,
                    "staging_bytes": self.view.log.staging.bytes, "closed_cleanly": head.state == CONTROL_CLOSED}

    def take(self, bytes name, uint64_t first, max_bytes, max_entries):
        """A Batch from `first` on; empty at the end."""
        cdef uint64_t bytes_max = checked_bytes(max_bytes)
        cdef uint32_t entries_max = checked_entries(max_entries)
        cdef Batch batch = Batch.__new__(Batch)
        cdef Topic *topic
        cdef Reader *reader = NULL
        cdef uint64_t end = 0
        cdef int code
        text = name.decode("utf-8", "surrogateescape")
        batch.topic = text
        with self.lock:
            while True:
                self.current()
                topic = self.find(name)
                code = LOG_END
                batch.taken.count = 0
                if topic != NULL:
                    reader = self.reader_of(name, topic)
                    with nogil:
                        code = view_take(self.view, topic, reader, first, bytes_max, entries_max, self.uncommitted,
                                         &batch.taken)
                    end = view_end(self.view, topic, self.uncommitted)
                if not view_stale(self.view) and code != LOG_UNSETTLED:
                    break
                self.pause(0)
            if code == 0 or (code == LOG_END and first <= end):
                return batch
            if topic == NULL:
                raise OffsetOutOfRange(f"topic {text!r} of {self.path} has no offset {first}: it has no entries", topic=text,
                                       offset=first, path=self.path)
            self.refuse(topic, text, reader, code, first)

    cdef Reader *reader_of(self, bytes name, Topic *topic) except NULL:
        cdef Reader *reader
        if name not in self.readers:
            reader = reader_new(&self.view.log, topic)
            if reader == NULL:
                raise MemoryError()
            self.readers[name] = <size_t>reader
        return <Reader *><size_t>self.readers[name]

    cdef int refuse(self, Topic *topic, str text, Reader *reader, int code, uint64_t first) except -1:
        if code == LOG_OUT_OF_RANGE or code == LOG_END:
            return raise_range(&self.view.log, topic, text, first)
        return raise_read(&self.view.log, topic, reader_failure(reader), code, text, first)

    def committed(self, bytes topic_name, bytes cursor_name):
        """The cursor's stored position, or None."""
        cdef Topic *topic
        cdef ControlCursor *slot
        cdef uint64_t stamp = 0, value = 0
        cdef int loaded
        with self.lock:
            while True:
                self.current()
                topic = self.find(topic_name)
                loaded = 0
                if topic != NULL:
                    slot = view_cursor(self.view, topic, <const uint8_t *><const char *>cursor_name, <uint32_t>len(cursor_name))
                    if slot != NULL:
                        loaded = control_load(slot, &stamp, &value)
                    elif control_cursors_broken(&self.view.log.control):
                        loaded = -1                 # it may have been this one's
                if not view_stale(self.view):
                    break
            if loaded < 0:
                raise_cursor(&self.view.log, topic_name.decode("utf-8", "surrogateescape"),
                             cursor_name.decode("utf-8", "surrogateescape"))
            return value if loaded else None

    def commit(self, bytes topic_name, bytes cursor_name, uint64_t value):
        """Stores the position: it survives SIGKILL of both processes now, the power with the writer's next sync."""
        cdef Topic *topic
        cdef uint32_t owner = 0, size = <uint32_t>len(cursor_name)
        cdef const uint8_t *cursor = <const uint8_t *><const char *>cursor_name
        cdef int code
        text = topic_name.decode("utf-8", "surrogateescape")
        with self.lock:
            while True:
                self.current()
                topic = self.find(topic_name)
                code = LOG_OUT_OF_RANGE
                if topic != NULL:
                    with nogil:                     # it may wait for another process
                        code = view_cursor_commit(self.view, topic, cursor, size, value, &owner)
                if not view_stale(self.view):
                    break
            if code == LOG_OUT_OF_RANGE:
                raise_range(&self.view.log, topic, text, value)
            if code == -EAGAIN:
                raise_cursor_in_use(self.path, text, cursor_name.decode("utf-8", "surrogateescape"), owner)
            if code == -EROFS:
                raise WalrusError(f"the control file in {self.path} cannot be written by this process: cursors cannot be committed here",
                                  path=self.path)
            if code:
                raise OSError(-code, os.strerror(-code), self.path)

    def sleep(self, bytes name, uint64_t position, double seconds):
        """Until something is published, at most that long; not at all if the topic has something at `position`.

        Other threads may use the handle meanwhile.
        """
        cdef int64_t timeout_ns = <int64_t>(seconds * 1e9)
        cdef uint32_t *word = NULL
        cdef uint32_t seen = 0
        cdef bint shared = False
        with self.lock:
            self.current()
            if not view_sleep_begin(self.view, self.find(name), position, self.uncommitted, &word, &seen):
                return
            shared = self.view.writable
        # Without the lock: only the kernel looks at the word from here on, which may be unmapped meanwhile.
        if not shared and timeout_ns > UNMARKED_SLICE_NS:
            timeout_ns = UNMARKED_SLICE_NS
        with nogil:
            walrus_futex_wait(word, seen, timeout_ns, 1)


_handles = weakref.WeakSet()


def _after_fork():
    for handle in list(_handles):
        handle._forked()


os.register_at_fork(after_in_child=_after_fork)
