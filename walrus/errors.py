"""What can go wrong, as types. Every message says what happened, where (topic, offset, path) and what to do.

Definitions only: the Python border turns the engine's codes into these in one place (`_core_errors.pyx`). Real I/O
errors are ``OSError`` with errno and file; wrong arguments are ``TypeError`` and ``ValueError``.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "ClosedError",
    "CorruptionError",
    "CursorInUseError",
    "EntryTooLargeError",
    "ForkedError",
    "LockedError",
    "LogFailedError",
    "OffsetOutOfRange",
    "ReadOnlyError",
    "StorageFullError",
    "VersionError",
    "WaitTimeoutError",
    "WalrusError",
]


class WalrusError(Exception):
    """The base of all errors of a log that are not an ``OSError``, a ``TypeError`` or a ``ValueError`` alone.

    Attributes (None where they say nothing): ``topic`` (str), ``offset`` (int), ``path`` (str, of the log's directory).
    """

    topic: str | None
    offset: int | None
    path: str | None

    def __init__(self, *args: Any, topic: str | None = None, offset: int | None = None, path: str | None = None) -> None:
        super().__init__(*args)
        self.topic = topic
        self.offset = offset
        self.path = path


class CorruptionError(WalrusError):
    """Bytes on the disk do not validate. No cursor has moved; other offsets and other topics stay readable.

    ``file`` and ``position`` say where it was seen (None: not one place); ``next_offset`` is where reading can go on,
    for ``cursor.seek()`` and ``topic.read()`` (None where the error is not about a read).
    """

    next_offset: int | None
    file: str | None
    position: int | None

    def __init__(
        self,
        *args: Any,
        topic: str | None = None,
        offset: int | None = None,
        path: str | None = None,
        next_offset: int | None = None,
        file: str | None = None,
        position: int | None = None,
    ) -> None:
        super().__init__(*args, topic=topic, offset=offset, path=path)
        self.next_offset = next_offset
        self.file = file
        self.position = position


class VersionError(WalrusError):
    """A file was written by a newer version of the format than this build reads. Nothing was changed."""


class LockedError(WalrusError):
    """Somebody has the directory open for writing: another process, or this one. ``pid`` is the holder's (None: unknown)."""

    pid: int | None

    def __init__(self, *args: Any, path: str | None = None, pid: int | None = None) -> None:
        super().__init__(*args, path=path)
        self.pid = pid


class CursorInUseError(WalrusError):
    """Another process owns the cursor: one process at a time commits it. It is free again when that one ends."""


class ReadOnlyError(WalrusError):
    """The log was opened with ``read_only=True``: entries are appended by the process that has it open for writing."""


class ClosedError(WalrusError):
    """The log was closed."""


class ForkedError(WalrusError):
    """The handle was opened before a fork, and this is the child: open the log in the process that uses it."""


class EntryTooLargeError(WalrusError, ValueError):
    """One entry is larger than ``MAX_ENTRY_BYTES``. Nothing was changed."""


class OffsetOutOfRange(WalrusError, LookupError):
    """The offset is below the oldest entry kept or beyond the end. ``oldest`` and ``end`` are the allowed ones."""

    oldest: int | None
    end: int | None

    def __init__(
        self,
        *args: Any,
        topic: str | None = None,
        offset: int | None = None,
        path: str | None = None,
        oldest: int | None = None,
        end: int | None = None,
    ) -> None:
        super().__init__(*args, topic=topic, offset=offset, path=path)
        self.oldest = oldest
        self.end = end


class StorageFullError(WalrusError, OSError):
    """No space on the disk. A state, not a failure: reads work, ``reclaim()`` works, appends work again when there is room."""


class LogFailedError(WalrusError, OSError):
    """A write or a flush failed (errno and file as in ``OSError``). The outcome of what was not yet durable is unknown
    until the log is opened again; appends are refused, reads of what is durable go on.
    """


class WaitTimeoutError(WalrusError, TimeoutError):
    """``timeout`` seconds were over before there was room to append. Nothing was changed."""
