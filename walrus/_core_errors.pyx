"""Codes of the engine become exceptions: the one place.

Every message says what was being done, where (topic, offset, path) and what to do. Threads: with the GIL.
"""
import os

from walrus import errors

from walrus._libc cimport EDQUOT, ENOSPC, walrus_load64
from walrus._log_state cimport (LOG_CLOSED, LOG_CORRUPT, LOG_DAMAGED, LOG_FOREIGN, LOG_FORKED, LOG_FULL, LOG_LOCKED,
                                LOG_NO_MEMORY, LOG_OUT_OF_RANGE, LOG_POISONED, LOG_TIMEOUT, LOG_TOO_LARGE, LOG_TOO_NEW)


cdef str path_of(Log *log):
    return os.fsdecode(<bytes>log.path)


cdef str where(object topic, object offset):
    """", topic 'orders', offset 7"": the part of a message that says where."""
    text = ""
    if topic is not None:
        text += f", topic {topic!r}"
    if offset is not None:
        text += f", offset {offset}"
    return text


cdef str file_of(char *name):
    return os.fsdecode(<bytes>name)


cdef object failed(Log *log, object doing, object topic, object offset):
    """The log is poisoned: by what."""
    path = path_of(log)
    code = log.failure.code
    file = os.path.join(path, file_of(log.failure.file))
    what = (<bytes>log.failure.what).decode()
    return errors.LogFailedError(
        code, f"{os.strerror(code)}: could not {what} (seen while trying to {doing}{where(topic, offset)}); appends "
              "are refused from "
        f"now on, what is durable can still be read; whether entries that were not yet durable are kept is unknown "
        "until the "
        f"log is closed and opened again: look there before appending them again", file,
        topic=topic, offset=offset, path=path)


cdef object full(Log *log, object doing, object topic, object offset):
    path = path_of(log)
    return errors.StorageFullError(
        ENOSPC, f"no space on the disk to {doing}{where(topic, offset)}; make room (delete files, move cursors on "
                "under "
        f"retention=\"consumed\" and call reclaim()) and try again: the log stays usable", path,
        topic=topic, offset=offset, path=path)


cdef object full_at_close(Log *log):
    path = path_of(log)
    return errors.StorageFullError(
        ENOSPC, "no space on the disk to write everything out at close; what was appended is still in the staging file "
                "and comes back when "
        "the log is opened again on this machine before it restarts: make room and open it", path, path=path)


cdef object closed(Log *log, object doing):
    path = path_of(log)
    return errors.ClosedError(f"cannot {doing}: the log in {path} is closed; open it again with walrus.open()", path=path)


cdef object forked(Log *log, object doing):
    path = path_of(log)
    return errors.ForkedError(
        f"cannot {doing}: the log in {path} was opened before this process was forked and belongs to the parent; open "
        "logs in the "
        "process that uses them (or fork first)", path=path)


cdef object io_error(Log *log, int code, object doing, object topic, object offset):
    path = path_of(log)
    if code == ENOSPC or code == EDQUOT:
        return full(log, doing, topic, offset)
    return OSError(code, f"{os.strerror(code)}, trying to {doing}{where(topic, offset)}", path)


cdef object described(Log *log, int code, object doing, object topic, object offset):
    path = path_of(log)
    if code == LOG_POISONED:
        return failed(log, doing, topic, offset)
    if code == LOG_FULL:
        return full(log, doing, topic, offset)
    if code == LOG_CLOSED:
        return closed(log, doing)
    if code == LOG_FORKED:
        return forked(log, doing)
    if code == LOG_NO_MEMORY:
        return MemoryError(f"not enough memory to {doing}{where(topic, offset)}")
    if code == LOG_TIMEOUT:
        return errors.WaitTimeoutError(
            f"timed out waiting to {doing}{where(topic, offset)}: the disk does not keep up; nothing was appended; "
            "wait longer, "
            "append less, or give the log more staging_bytes", topic=topic, offset=offset, path=path)
    if code == LOG_DAMAGED:
        return errors.CorruptionError(
            f"topic {topic!r} in {path} lost entries that had been durable, and takes no appends until "
            f"repair({topic!r}) accepts the "
            "hole; reading shows which offsets are affected", topic=topic, offset=offset, path=path)
    if code == LOG_TOO_LARGE:
        return errors.EntryTooLargeError(f"an entry is too large to {doing}{where(topic, offset)}", topic=topic, path=path)
    if code == LOG_OUT_OF_RANGE:
        return errors.OffsetOutOfRange(f"cannot {doing}{where(topic, offset)}: no such offset", topic=topic, offset=offset,
                                       path=path)
    if -1000 < code < 0:
        return io_error(log, -code, doing, topic, offset)
    return errors.WalrusError(f"could not {doing}{where(topic, offset)}: unexpected code {code}", topic=topic, offset=offset,
                              path=path)


cdef int raise_code(Log *log, int code, object doing, object topic, object offset) except -1:
    raise described(log, code, doing, topic, offset)


cdef int raise_closed(Log *log) except -1:
    raise closed(log, "use it")


cdef int raise_reentered(Log *log, object doing, object topic) except -1:
    path = path_of(log)
    raise errors.WalrusError(
        f"cannot {doing}{where(topic, None)} here: this signal handler interrupted a call on the log in {path}, which it "
        "would wait for; raise an exception in the handler (SystemExit, KeyboardInterrupt), it ends that call; do it there",
        topic=topic, path=path)


cdef int raise_cursor(Log *log, object topic, object name) except -1:
    path = path_of(log)
    cursor = "the shared cursor" if name is None else f"cursor {name!r}"
    raise errors.CorruptionError(
        f"{cursor} of topic {topic!r} in {path} is damaged: its stored position does not validate, and none is "
        "guessed; seek() to the "
        "offset where processing is to go on", topic=topic, path=path, file="control")


cdef int raise_cursor_in_use(object path, object topic, object name, uint32_t pid) except -1:
    owner = "another handle of this process" if pid == os.getpid() else f"another process{f', {pid}' if pid else ''}"
    raise errors.CursorInUseError(
        f"cursor {name!r} of topic {topic!r} in {path} is owned by {owner}: one at a time commits it; it is free when that "
        "one closes the log or ends, or use another name", topic=topic, path=path)


cdef int raise_at_close(Log *log, int code) except -1:
    raise full_at_close(log) if code == LOG_FULL else described(log, code, "close the log", None, None)


cdef int raise_range(Log *log, Topic *state, object name, uint64_t offset) except -1:
    oldest = walrus_load64(&state.low) if state != NULL else 0
    end = walrus_load64(&state.end) if state != NULL else 0
    if offset < oldest:
        reason = f"it was reclaimed; the oldest entry kept is {oldest}: seek({oldest}) goes on there"
    else:
        reason = f"it is beyond the end, {end}"
    raise errors.OffsetOutOfRange(
        f"offset {offset} of topic {name!r} in {path_of(log)} is out of range: {reason}",
        topic=name, offset=offset, path=path_of(log), oldest=oldest, end=end)


cdef int raise_read(Log *log, Topic *state, ReadFailure *failure, int code, object name, uint64_t offset) except -1:
    if code == LOG_OUT_OF_RANGE:
        return raise_range(log, state, name, offset)
    if failure == NULL or not (code == LOG_CORRUPT or (failure.code and code == -failure.code)):
        raise described(log, code, "read", name, offset)
    path = path_of(log)
    file = file_of(failure.file)
    bad, following, position = failure.offset, failure.next_offset, failure.position
    if failure.code:
        file = os.path.join(path, file)
        raise OSError(failure.code, f"{os.strerror(failure.code)}, reading topic {name!r}, offset {bad}, at byte {position}; "
                      f"other offsets stay readable: go on at {following}", file)
    place = f" ({file} at byte {position})" if file else ""
    raise errors.CorruptionError(
        f"entries {bad} to {following - 1} of topic {name!r} in {path} are damaged: their bytes do not match their "
        f"checksum{place}; no "
        f"cursor has moved; seek({following}) goes on behind them", topic=name, offset=bad, path=path,
        next_offset=following, file=file or None, position=position if file else None)


cdef int raise_open(Log *log, int code, object path, int64_t holder) except -1:
    file = what = ""
    if log != NULL and log.failure.set:
        file = file_of(log.failure.file)
        what = (<bytes>log.failure.what).decode()
    seen = os.path.join(path, file) if file else path
    if code == LOG_LOCKED:
        pid = holder if holder > 0 else None
        by = f"process {pid}" if pid and pid != os.getpid() else "this process" if pid else "another process"
        raise errors.LockedError(
            f"{path} is open for writing in {by}: a log has one writer; close it there, or give timeout= to wait for "
            "it",
            path=path, pid=pid)
    if code == LOG_CORRUPT:
        raise errors.CorruptionError(
            f"cannot open {path}: {seen} is damaged ({what or 'it does not validate'}); nothing was changed; keep a "
            "copy of the "
            "directory before you do anything to it", path=path, file=file or None)
    if code == LOG_TOO_NEW:
        raise errors.VersionError(
            f"cannot open {path}: {seen} was written by a newer version of walrus ({what}); nothing was changed; "
            "upgrade walrus-log",
            path=path)
    if code == LOG_FOREIGN:
        raise errors.CorruptionError(
            f"cannot open {path}: {seen} does not belong to this log ({what or 'another log wrote it'}); nothing was "
            "changed; move it "
            "out of the directory if it came there by mistake", path=path, file=file or None)
    if code == LOG_NO_MEMORY or log == NULL:
        raise MemoryError(f"not enough memory to open {path}")
    raise described(log, code, "open the log", None, None)
