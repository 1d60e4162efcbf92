"""Reading a log that another process writes: ``walrus.open(path, read_only=True)``.

``read_only`` speaks of entries: named cursors can be committed from here. Nothing here makes the writer wait.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from types import TracebackType
from typing import NoReturn, Self, SupportsIndex

from ._core_read import Batch, Entry
from ._core_view import ViewHandle
from .errors import CorruptionError, OffsetOutOfRange, ReadOnlyError
from .stats import ReaderStats

__all__ = ["LogReader", "TopicReader", "ViewCursor"]

NAME_BYTES_MAX = 1024
OFFSET_MAX = (1 << 64) - 1
SLICE_S = 0.05  # a sleeper looks up this often: signals, a new writer


def _encoded(name: str, what: str) -> bytes:
    if not isinstance(name, str):
        raise TypeError(f"{what} is a str, not {type(name).__name__}")
    encoded = name.encode("utf-8", "surrogateescape")
    if not 1 <= len(encoded) <= NAME_BYTES_MAX:
        raise ValueError(f"{what} has {len(encoded)} bytes; the limits are 1 and {NAME_BYTES_MAX} bytes of UTF-8")
    return encoded


def _offset(offset: SupportsIndex) -> int:
    if isinstance(offset, bool) or not hasattr(offset, "__index__"):
        raise TypeError(f"an offset is an int, not {type(offset).__name__}")
    value = offset.__index__()
    if value < 0:
        raise ValueError(f"offset {value}: offsets are 0 or more")
    return min(value, OFFSET_MAX)  # beyond every end, as the engine says then


class LogReader:
    """A log that another process writes, or that nobody has open. Any number of them, in any number of processes. Thread-safe.

    Sees what the writer has published: batches whole, and under ``SyncEach`` only what is durable (``uncommitted=True`` reads on). When
    a writer is killed and another takes over, the reader goes on with that one.
    """

    def __init__(self, path: str, uncommitted: bool = False) -> None:
        self._view = ViewHandle(path, uncommitted)

    @property
    def path(self) -> str:
        """The log's directory."""
        return self._view.path

    @property
    def closed(self) -> bool:
        """True after ``close()``."""
        return self._view.closed

    def topics(self) -> list[str]:
        """Names of the topics there are now, in the order of their making."""
        return self._view.topics()

    def topic(self, name: str) -> TopicReader:
        """A topic, there or not: one that is not there yet has no entries."""
        return TopicReader(self, name)

    def stats(self) -> ReaderStats:
        """What can be known of the log from here. Raises ``ClosedError``."""
        return ReaderStats.of(self._view.facts())

    def append_batch(self, *arguments: object, **options: object) -> NoReturn:
        """Not here: raises ``ReadOnlyError``."""
        raise ReadOnlyError(f"{self.path} is open read-only here; append in the process that has it open for writing", path=self.path)

    def close(self) -> None:
        """Gives mappings and descriptors back. Closing twice is fine."""
        self._view.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<walrus.LogReader of {self.path!r}{' (closed)' if self.closed else ''}>"


class TopicReader:
    """A topic of a log that another process writes. Thread-safe."""

    def __init__(self, log: LogReader, name: str) -> None:
        self.log, self.name = log, name
        self._encoded = _encoded(name, "a topic's name")

    @property
    def oldest_offset(self) -> int:
        """Offset of the oldest entry kept."""
        return self.log._view.offsets(self._encoded)[0]

    @property
    def end_offset(self) -> int:
        """Offset behind the newest entry that can be read here."""
        return self.log._view.offsets(self._encoded)[1]

    @property
    def durable_offset(self) -> int:
        """Offset behind the newest durable entry."""
        return self.log._view.offsets(self._encoded)[2]

    @property
    def size_bytes(self) -> int:
        """Payload bytes from the oldest entry kept to the writer's end."""
        return self.log._view.offsets(self._encoded)[3]

    def append(self, *arguments: object, **options: object) -> NoReturn:
        """Not here: raises ``ReadOnlyError``."""
        raise ReadOnlyError(f"topic {self.name!r} of {self.log.path} is open read-only here; append in the process that writes it",
                            topic=self.name, path=self.log.path)

    append_batch = append

    def read_batch(self, start: int | None = None, max_bytes: int = 1 << 20, max_entries: int | None = None) -> Batch:
        """Entries from `start` (None: the oldest) on, at least one if there is one; moves no cursor.

        Raises ``OffsetOutOfRange``, ``CorruptionError`` (with ``next_offset``), ``OSError``, ``ClosedError``.
        """
        first = self.oldest_offset if start is None else _offset(start)
        return self.log._view.take(self._encoded, first, max_bytes, max_entries)

    def read(self, start: int | None = None) -> Iterator[Entry]:
        """Entries (Entry) from `start` (None: the oldest) to what is there now; moves no cursor. Errors as ``read_batch``."""
        at = self.oldest_offset if start is None else _offset(start)
        end = self.end_offset
        if at > end:
            self.read_batch(at)
        while at < end:
            batch = self.read_batch(at, 1 << 18)
            if not len(batch):
                return
            for entry in batch.entries():
                if entry.offset >= end:
                    return
                yield entry
                at = entry.offset + 1

    def _wait(self, position: int, seconds: float = SLICE_S) -> None:
        """Until there may be something at `position`, at most that long; not at all if there is."""
        self.log._view.sleep(self._encoded, position, min(seconds, SLICE_S))

    def cursor(self, name: str) -> ViewCursor:
        """The named cursor, shared with every other process; one process at a time may commit it."""
        return ViewCursor(self, name)

    def __repr__(self) -> str:
        return f"<walrus.TopicReader {self.name!r} of {self.log.path!r}>"


class ViewCursor:
    """A named cursor, read and committed from a process that does not write the log. Not for several threads at once."""

    def __init__(self, topic: TopicReader, name: str) -> None:
        self.topic, self.name = topic, name
        self._encoded = _encoded(name, "a cursor's name")
        self._position: int | None = None
        with suppress(CorruptionError):
            self._position = self.committed

    @property
    def position(self) -> int:
        """Offset of the next entry that this handle gives.

        Raises ``CorruptionError`` where it would be the stored one and that is damaged, until ``seek()``.
        """
        if self._position is None:
            self._position = self.committed
        return self._position

    @property
    def committed(self) -> int:
        """The stored position; the oldest offset where none was stored. Raises ``CorruptionError``: it is damaged."""
        stored = self.topic.log._view.committed(self.topic._encoded, self._encoded)
        return self.topic.oldest_offset if stored is None else stored

    @property
    def lag(self) -> int:
        """Entries from the position to the end."""
        return max(0, self.topic.end_offset - self.position)

    def read_batch(self, max_bytes: int = 1 << 20, max_entries: int | None = None) -> Batch:
        """The next entries, at least one if there is one; moves the position. Errors as ``TopicReader.read_batch``."""
        batch = self.topic.read_batch(self.position, max_bytes, max_entries)
        if len(batch):
            self._position = batch.offsets[-1] + 1
        return batch

    def read_next(self) -> Entry | None:
        """The next entry, or None; moves the position."""
        batch = self.topic.read_batch(self.position, 0, 1)
        if not len(batch):
            return None
        entry = batch.entries()[0]
        self._position = entry.offset + 1
        return entry

    def seek(self, offset: int) -> None:
        """Moves the position (not the stored one). Raises ``OffsetOutOfRange``."""
        wanted = _offset(offset)
        oldest, end, _, _ = self.topic.log._view.offsets(self.topic._encoded)
        if not oldest <= wanted <= end:
            raise OffsetOutOfRange(f"offset {wanted} of topic {self.topic.name!r} in {self.topic.log.path} is out of range: it has "
                                   f"{oldest} to {end}", topic=self.topic.name, offset=wanted, path=self.topic.log.path,
                                   oldest=oldest, end=end)
        self._position = wanted

    def commit(self, offset: int | None = None) -> None:
        """Stores the position, or `offset`. Survives SIGKILL of reader and writer when it returns, a power cut after the writer's next sync.

        The first one makes this process the cursor's owner, until the log is closed. Raises ``CursorInUseError``
        (another process owns it), ``OffsetOutOfRange`` beyond the end, ``OSError`` (no space for a new cursor).
        """
        self.topic.log._view.commit(self.topic._encoded, self._encoded, self.position if offset is None else _offset(offset))

    def follow(self, timeout: float | None = None) -> Iterator[Entry]:
        """Entries as the writer publishes them; ends after `timeout` seconds without a new one (None: never).

        Sleeps on a futex meanwhile, also while there is no writer: the next one's entries come here too.
        """
        if timeout is not None and not timeout >= 0:
            raise ValueError(f"timeout={timeout!r}: seconds, 0 or more, or None")
        last = time.monotonic()
        while True:
            batch = self.topic.read_batch(self.position, 1 << 18)
            for entry in batch.entries():
                self._position = entry.offset + 1
                yield entry
            if len(batch):
                last = time.monotonic()
                continue
            left = SLICE_S if timeout is None else last + timeout - time.monotonic()
            if left <= 0:
                return
            self.topic._wait(self.position, left)

    def __repr__(self) -> str:
        return f"<walrus.ViewCursor {self.name!r} of topic {self.topic.name!r}>"
