"""Walrus: an embedded, crash-safe streaming log on Linux io_uring.

    import walrus

    with walrus.open("data/events") as log:
        orders = log.topic("orders")
        offset = orders.append(b"...")
        for entry in orders.read():
            print(entry.offset, entry.data)

The distribution is ``walrus-log``. Another distribution owns the name ``walrus`` on the index; having both in one
environment is refused here, because they write over each other's files.
"""

from pathlib import Path as _Path

if (_Path(__file__).parent / "tusks").is_dir() or (_Path(__file__).parent / "containers.py").is_file():
    raise ImportError(
        f"{_Path(__file__).parent} holds files of two distributions that share the import name 'walrus': walrus-log "
        "(this one) and walrus "
        "(Redis containers). Keep one: pip uninstall walrus walrus-log, then pip install the one you want."
    )

from ._core_gather import MAX_BATCH_BYTES, MAX_BATCH_ENTRIES, MAX_ENTRY_BYTES
from ._core_read import Batch, Entry
from .cursor import Cursor
from .errors import (
    ClosedError,
    CorruptionError,
    CursorInUseError,
    EntryTooLargeError,
    ForkedError,
    LockedError,
    LogFailedError,
    OffsetOutOfRange,
    ReadOnlyError,
    StorageFullError,
    VersionError,
    WaitTimeoutError,
    WalrusError,
)
from .log import Log
from .reader import LogReader, TopicReader, ViewCursor
from .reference import Walrus, WalrusBuilder, disable_fd_backend, enable_fd_backend, open
from .schedules import FsyncSchedule, ReadConsistency
from .stats import Recovery, Repair, Stats
from .topic import Topic

__version__ = "0.1.0"

__all__ = [
    "MAX_BATCH_BYTES",
    "MAX_BATCH_ENTRIES",
    "MAX_ENTRY_BYTES",
    "Batch",
    "ClosedError",
    "CorruptionError",
    "Cursor",
    "CursorInUseError",
    "Entry",
    "EntryTooLargeError",
    "ForkedError",
    "FsyncSchedule",
    "LockedError",
    "Log",
    "LogFailedError",
    "LogReader",
    "OffsetOutOfRange",
    "ReadConsistency",
    "ReadOnlyError",
    "Recovery",
    "Repair",
    "Stats",
    "StorageFullError",
    "Topic",
    "TopicReader",
    "VersionError",
    "ViewCursor",
    "WaitTimeoutError",
    "Walrus",
    "WalrusBuilder",
    "WalrusError",
    "disable_fd_backend",
    "enable_fd_backend",
    "open",
]

