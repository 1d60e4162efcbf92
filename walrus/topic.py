"""Topics as Python users meet them. `append` and `append_batch` are methods of the compiled handle itself."""

from __future__ import annotations

from collections.abc import Iterable
from typing import SupportsIndex

from ._core_read import Batch, EntryIterator, read_batch, read_many
from ._core_topic import TopicHandle
from .cursor import Cursor

__all__ = ["Topic"]


class Topic(TopicHandle):
    """A named sequence of entries with dense offsets from 0. Thread-safe. Made by its first append, not by its handle."""

    __slots__ = ()

    def read(self, start: int | None = None) -> EntryIterator:
        """Iterates over entries (Entry) from `start` (None: the oldest) to what is there now; moves no cursor.

        Raises ``OffsetOutOfRange`` where `start` is below the oldest entry or beyond the end, ``CorruptionError`` (with
        ``next_offset``) where bytes do not validate, ``OSError`` where the disk cannot be read.
        """
        return EntryIterator(self, start)

    def read_batch(self, start: int | None = None, max_bytes: int = 1 << 20, max_entries: int | None = None) -> Batch:
        """Entries from `start` (None: the oldest) on, as a Batch; moves no cursor. Bounds and errors as ``Cursor.read_batch``."""
        return read_batch(self, start, max_bytes, max_entries)

    def read_many(self, offsets: Iterable[SupportsIndex]) -> Batch:
        """The entries at scattered `offsets` (at most 2,000 ints), as a Batch in the order asked; moves no cursor.

        What is neither in staging nor in the cache is read at once: with io_uring by one submission, or by as few as the
        cache's 32 MiB allow (``stats().submitted_max``). The payloads are held in memory, all of them.

        Raises, and gives nothing, ``ValueError`` (more than 2,000 offsets, a negative one), ``TypeError``; and for the
        first such offset in the order asked, ``OffsetOutOfRange`` where there is no entry, ``CorruptionError`` (with
        ``next_offset``) where bytes do not validate, ``OSError`` where the disk cannot be read.
        """
        return read_many(self, offsets)

    def cursor(self, name: str) -> Cursor:
        """The durable cursor of that name (1 to 1,024 bytes of UTF-8); made by its first ``commit()``."""
        if name is None:
            raise TypeError("a cursor's name is a str, not None")
        return Cursor(self, name)

    def __repr__(self) -> str:
        return f"<walrus.Topic {self.name!r} of {self.log.path!r}>"
