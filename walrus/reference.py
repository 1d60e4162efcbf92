"""The names that users of the Rust Walrus know, over the same log: constructors, shared-cursor reads, counts, marks,
backends.

``walrus.open()``, the constructors and the builder are one implementation: what they give is a ``Walrus``, which is a
``Log``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, Literal, overload

from ._core_cursor import CursorHandle
from ._core_read import read_batch
from .log import Log
from .options import Backend, Options, Retention, resolve
from .reader import LogReader
from .schedules import FsyncSchedule, ReadConsistency
from .topic import Topic

if TYPE_CHECKING:
    from typing import Self

    from typing_extensions import Buffer

__all__ = ["Walrus", "WalrusBuilder", "disable_fd_backend", "enable_fd_backend", "open"]

_HANDLES_MAX: Final = 65_536  # remembered by name; made anew beyond that

_fd_backend = True


def enable_fd_backend() -> None:
    """Logs opened from now on with ``backend="auto"`` write through descriptors: io_uring, else pwrite. The default."""
    global _fd_backend
    _fd_backend = True


def disable_fd_backend() -> None:
    """Logs opened from now on with ``backend="auto"`` write log files through a mapping.

    A bad sector is then a SIGBUS, which ends the process: prefer the default.
    """
    global _fd_backend
    _fd_backend = False


class Walrus(Log):
    """A log under the names of the Rust crate. All of ``Log`` works on it too, on the same topics.

    The *shared cursor* of a topic is that of ``read_next`` and ``batch_read_for_topic``; ``ReadConsistency`` speaks of
    it alone.
    """

    _topics: dict[str, Topic]
    _shared: dict[str, CursorHandle]

    @classmethod
    def _opened(cls, options: Options) -> Self:
        log = super()._opened(options)
        log._topics = {}
        log._shared = {}
        return log

    # ---------------------------------------------------------------------------------------------------- constructors

    @classmethod
    def new(cls) -> Walrus:
        """The log of ``WALRUS_DATA_DIR`` (default ``wal_files``) and ``WALRUS_INSTANCE_KEY``, with defaults."""
        return open()

    @classmethod
    def with_consistency(cls, mode: ReadConsistency) -> Walrus:
        """As ``new``, with this consistency of the shared cursor."""
        return open(consistency=mode)

    @classmethod
    def with_consistency_and_schedule(cls, mode: ReadConsistency, fsync_schedule: FsyncSchedule) -> Walrus:
        """As ``new``, with this consistency and schedule."""
        return open(consistency=mode, fsync_schedule=fsync_schedule)

    @classmethod
    def new_for_key(cls, key: str) -> Walrus:
        """The log of a key: a directory of its own in ``WALRUS_DATA_DIR``."""
        return open(key=key)

    @classmethod
    def with_consistency_for_key(cls, key: str, mode: ReadConsistency) -> Walrus:
        """As ``new_for_key``, with this consistency of the shared cursor."""
        return open(key=key, consistency=mode)

    @classmethod
    def with_consistency_and_schedule_for_key(
        cls, key: str, mode: ReadConsistency, fsync_schedule: FsyncSchedule
    ) -> Walrus:
        """As ``new_for_key``, with this consistency and schedule."""
        return open(key=key, consistency=mode, fsync_schedule=fsync_schedule)

    @classmethod
    def builder(cls) -> WalrusBuilder:
        """Options one by one, then ``build()``."""
        return WalrusBuilder()

    # ---------------------------------------------------------------------------------------------------------- writes

    def append_for_topic(self, topic: str, data: bytes | Buffer) -> int:
        """Appends one entry; gives its offset. Errors as ``Topic.append``."""
        return self._topic(topic).append(data)

    def batch_append_for_topic(self, topic: str, batch: Iterable[bytes | Buffer]) -> int:
        """Appends up to 2,000 entries, all or nothing; gives the first offset. Errors as ``Topic.append_batch``."""
        return self._topic(topic).append_batch(batch)

    # ----------------------------------------------------------------------------------------------------------- reads

    def read_next(self, topic: str, checkpoint: bool = True) -> bytes | None:
        """The shared cursor's next entry, or None; ``checkpoint=False`` peeks, which changes nothing."""
        return self._shared_cursor(topic)._shared_next(checkpoint)

    def batch_read_for_topic(
        self,
        topic: str,
        max_bytes: int,
        checkpoint: bool = True,
        start_offset: int | None = None,
        *,
        max_entries: int | None = None,
    ) -> list[bytes]:
        """The shared cursor's next entries, at least one if there is one: payloads within `max_bytes`, at most 2,000.

        ``checkpoint=False`` peeks. With `start_offset` it reads from there and moves no cursor.
        """
        if start_offset is not None:
            return read_batch(self._topic(topic), start_offset, max_bytes, max_entries).tolist()
        return self._shared_cursor(topic)._shared_batch(max_bytes, max_entries, checkpoint).tolist()

    def seek_for_topic(self, topic: str, offset: int) -> None:
        """Moves the shared cursor, durably as its consistency says: behind a damaged entry, or back. ``OffsetOutOfRange``."""
        self._shared_cursor(topic).seek(offset)

    # ---------------------------------------------------------------------------------------------------------- counts

    def get_topic_entry_count(self, topic: str) -> int:
        """Entries that the shared cursor has not consumed; 0 for an unknown topic."""
        return self._unread(self._topic_name(topic))

    def get_topic_entry_counts(self) -> dict[str, int]:
        """The same for every topic."""
        return {name: self._unread(name.encode("utf-8", "surrogateescape")) for name in self.topics()}

    def get_topic_size(self, topic: str) -> int:
        """Payload bytes from the oldest entry kept to the end; 0 for an unknown topic."""
        return self._topic(topic).size_bytes

    def mark_topic_clean(self, topic: str) -> None:
        """Sets the topic's mark, durably; its next append sets it dirty."""
        self._mark(self._topic_name(topic), True)

    def mark_topic_dirty(self, topic: str) -> None:
        """Sets the topic's mark to dirty, durably."""
        self._mark(self._topic_name(topic), False)

    def topic_is_clean(self, topic: str) -> bool:
        """The topic's mark; an unknown topic is clean."""
        return self._is_clean(self._topic_name(topic))

    # ----------------------------------------------------------------------------------------------------------- inside

    def _topic(self, name: str) -> Topic:
        try:
            return self._topics[name]
        except (KeyError, TypeError):
            pass  # a new one, or no name at all: Topic says what is wrong with it
        if len(self._topics) >= _HANDLES_MAX:
            self._topics.clear()
        made = Topic(self, name)
        return self._topics.setdefault(name, made)

    def _topic_name(self, name: str) -> bytes:
        return self._topic(name).name.encode()

    def _shared_cursor(self, name: str) -> CursorHandle:
        topic = self._topic(name)
        found = self._shared.get(name)
        if found is not None:
            return found
        if len(self._shared) >= _HANDLES_MAX:
            self._shared.clear()
        made = CursorHandle(topic, None, self._options.consistency.persist_every)
        return self._shared.setdefault(name, made)


class WalrusBuilder:
    """Options of a log one by one; each method gives the builder back, ``build()`` opens."""

    def __init__(self) -> None:
        self._options: dict[str, Any] = {}

    def data_dir(self, path: str | os.PathLike[str]) -> Self:
        """The data directory; the environment's directory and key are then ignored."""
        self._options["path"] = path
        return self

    def key(self, key: str) -> Self:
        """A key: a sub-directory of its own."""
        self._options["key"] = key
        return self

    def consistency(self, mode: ReadConsistency) -> Self:
        """Of the shared cursors."""
        self._options["consistency"] = mode
        return self

    def fsync_schedule(self, schedule: FsyncSchedule) -> Self:
        """When appends become durable."""
        self._options["fsync_schedule"] = schedule
        return self

    def build(self) -> Walrus:
        """Opens the log, as ``walrus.open()`` does."""
        opened: Walrus = open(**self._options)
        return opened


@overload
def open(
    path: str | os.PathLike[str] | None = None,
    *,
    read_only: Literal[True],
    uncommitted: bool = False,
    key: str | None = None,
) -> LogReader: ...


@overload
def open(
    path: str | os.PathLike[str] | None = None,
    *,
    read_only: Literal[False] = False,
    key: str | None = None,
    consistency: ReadConsistency | None = None,
    fsync_schedule: FsyncSchedule | None = None,
    retention: Retention = None,
    staging_bytes: int | None = None,
    log_file_bytes: int | None = None,
    journal_file_bytes: int | None = None,
    chunk_bytes_max: int | None = None,
    backend: Backend = "auto",
    timeout: float | None = None,
) -> Walrus: ...


def open(
    path: str | os.PathLike[str] | None = None,
    *,
    read_only: bool = False,
    uncommitted: bool = False,
    key: str | None = None,
    consistency: ReadConsistency | None = None,
    fsync_schedule: FsyncSchedule | None = None,
    retention: Retention = None,
    staging_bytes: int | None = None,
    log_file_bytes: int | None = None,
    journal_file_bytes: int | None = None,
    chunk_bytes_max: int | None = None,
    backend: Backend = "auto",
    timeout: float | None = None,
) -> Walrus | LogReader:
    """Opens (or makes) the log in the directory `path`, for writing and reading; a log has one writer.

    Without `path`, ``WALRUS_DATA_DIR`` (default ``wal_files``) and ``WALRUS_INSTANCE_KEY`` hold, read now. A `key`
    names a sub-directory of its own, inside the directory whatever its characters.

    read_only: reads a log that another process writes (or nobody): gives a LogReader, makes nothing, needs no lock. Under ``SyncEach`` it
        stops at the durable offset, unless `uncommitted`. All other options are the writer's business.
    consistency: of the shared cursor of ``read_next``; default ``ReadConsistency.StrictlyAtOnce``.
    fsync_schedule: default ``FsyncSchedule.Milliseconds(200)``.
    retention: None keeps all; ``"consumed"`` lets entries go once every cursor of their topic has passed them; an int
        keeps that many payload bytes of each topic (of topics made from now on).
    staging_bytes: memory and file for the newest entries; 1 MiB to 64 GiB, default 64 MiB.
    log_file_bytes: size of each log file, 256 KiB to 64 GiB; default: growing from 16 to 256 MiB.
    journal_file_bytes: 128 KiB to 4 GiB, default 16 MiB; three of them.
    chunk_bytes_max: the largest piece of staging that one topic takes at once; a power of two, 1 KiB to 1 MiB, the
        default.
    backend: ``"auto"`` (io_uring, else pwrite), ``"io_uring"``, ``"pwrite"``, ``"mmap"``.
    timeout: seconds. Here: how long to wait for another writer to close (None: not at all); of appends: how long to wait
        for room (None: for ever).

    Raises ``LockedError`` (with the holder's pid), ``CorruptionError``, ``VersionError``, ``StorageFullError``,
    ``OSError``; ``ValueError`` and ``TypeError`` name the option, its value and its range.
    """
    options = resolve(
        path,
        key=key,
        consistency=consistency,
        fsync_schedule=fsync_schedule,
        retention=retention,
        staging_bytes=staging_bytes,
        log_file_bytes=log_file_bytes,
        journal_file_bytes=journal_file_bytes,
        chunk_bytes_max=chunk_bytes_max,
        backend=backend,
        timeout=timeout,
        fd_backend=_fd_backend,
    )
    if read_only:
        return LogReader(options.path, uncommitted)
    return Walrus._opened(options)
