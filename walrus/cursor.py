"""Cursors as Python users meet them. Reading and storing are methods of the compiled handle; here is what is built on them."""

from __future__ import annotations

from collections.abc import Iterator

from ._core_cursor import CursorHandle
from ._core_read import Entry

__all__ = ["Cursor"]


class Cursor(CursorHandle):
    """A named, durable read position of a topic; independent of all others. Two handles of one name are one cursor.

    Starts at the oldest entry. Thread-safe: each entry goes to one caller. Durable by ``commit()`` alone.
    """

    __slots__ = ()

    def follow(self, timeout: float | None = None) -> Iterator[Entry]:
        """Entries as they come, each moving the position by one; ends after `timeout` seconds without a new one (None:
        never).

        ``commit()`` in the loop's body stores the position behind the entry at hand. Closing the log raises
        ``ClosedError`` here.
        """
        while (entry := self._next_within(timeout)) is not None:
            yield entry

    def __repr__(self) -> str:
        return f"<walrus.Cursor {self.name!r} of topic {self.topic.name!r}>"
