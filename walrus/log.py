"""An open log as Python users meet it: topics by name, batches over several, statistics, the end of its life.

Opening goes through ``options.resolve()`` and the compiled handle; what is in use is said once, to the logger ``walrus``. A
log that is collected without ``close()`` warns and is closed; one that is open when the interpreter ends is closed.
"""

from __future__ import annotations

import atexit
import errno
import logging
import os
import warnings
import weakref
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ._core import LogHandle
from ._core_repair import repair
from ._core_topic import append_batches
from .options import Options
from .stats import Recovery, Repair, Stats
from .topic import Topic

if TYPE_CHECKING:
    from typing import Self

    from typing_extensions import Buffer

__all__ = ["Log"]

logger = logging.getLogger("walrus")


def _close_at_exit(reference: weakref.ref[Log]) -> None:
    log = reference()
    if log is not None:
        log.close()


class Log(LogHandle):
    """An open log directory: ``walrus.open()`` gives one. Thread-safe; a context manager that closes at its end."""

    _options: Options
    _exit_hook: Callable[[], None] | None = None

    def __init__(self) -> None:
        raise TypeError(f"{type(self).__name__} is not made by calling it: use walrus.open()")

    @classmethod
    def _opened(cls, options: Options) -> Self:
        """Opens the directory; missing ones are made."""
        log = cls.__new__(cls)
        try:
            os.makedirs(options.path, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            said = "there is a file where the log's directory would be: give a directory, or a path where one can be made"
            raise NotADirectoryError(errno.ENOTDIR, said, options.path) from None
        log._open(options.path, **options.engine)
        log._options = options
        log._exit_hook = partial(_close_at_exit, weakref.ref(log))
        atexit.register(log._exit_hook)
        log._say_what_is_in_use()
        log._say_what_is_damaged()
        return log

    def _say_what_is_in_use(self) -> None:
        """One record: which way to the disk, and why not the wanted one."""
        if self._options.quiet:
            return
        stats = self.stats()
        why = f", because io_uring is not to be had ({stats.io_fallback})" if stats.io_fallback else ""
        logger.info("%s: writing with %s%s%s", self.path, stats.io, "" if stats.direct_io else ", without O_DIRECT", why)

    def _say_what_is_damaged(self) -> None:
        found = self.recovery
        if found.ranges_damaged or found.headers_damaged or found.older_catalog:
            logger.warning(
                "%s: opening it met damage: %d ranges of entries, %d headers, %d snapshots of the catalog; "
                "walrus verify reads all of it, and Log.repair() accepts what is lost of a topic",
                self.path, found.ranges_damaged, found.headers_damaged, found.older_catalog,
            )

    def topic(self, name: str) -> Topic:
        """The topic of that name: 1 to 1,024 bytes of UTF-8, any characters, else ``ValueError``. Its first append makes it."""
        return Topic(self, name)

    def append_batch(
        self, batches: Mapping[str, Iterable[bytes | Buffer]], timeout: float | None = None
    ) -> dict[str, int]:
        """Appends to several topics, each batch all or nothing; gives each topic's first offset.

        Every batch is checked, and room for all is made, before the first is written: a full disk changes nothing. A
        crash in between may keep some topics' batches. Limits (for each topic) and errors as ``Topic.append_batch``.
        """
        if not isinstance(batches, Mapping):
            raise TypeError(f"append_batch takes a mapping of topic names to entries, not {type(batches).__name__}")
        names = list(batches)
        pairs = [(Topic(self, name), batches[name]) for name in names]
        return dict(zip(names, append_batches(self, pairs, timeout), strict=True))

    def stats(self) -> Stats:
        """Counters since it was opened, and its state; also after ``close()``. ``ForkedError`` in the child of a fork."""
        return Stats.of(self._state())

    @property
    def recovery(self) -> Recovery:
        """What opening found: what was merged, cut, refused."""
        return Recovery.of(self._recovery())

    def repair(self, topic: str) -> Repair:
        """Lets a topic take appends again that lost entries which had been durable: keeps a copy, then accepts the hole.

        Offsets stay as they are; reading the lost ones goes on to raise ``CorruptionError``. A topic that needs no
        repair stays as it is. Durable when it returns; interrupted, it can be done again.
        """
        holes, copy = repair(self, topic)
        return Repair(topic, holes, copy)

    def close(self) -> None:
        """Writes and flushes everything, gives back thread, ring, memory and lock. Closing again does nothing.

        Calls of other threads that are under way end first, waiting ones with ``ClosedError``. A failure is raised
        (``LogFailedError``, ``StorageFullError``); all is given back nevertheless. A signal handler that interrupts a
        call on this log cannot close it (``WalrusError``, nothing changed): it would wait for that call.
        """
        try:
            super().close()
        finally:
            if self.closed and self._exit_hook is not None:
                atexit.unregister(self._exit_hook)
                self._exit_hook = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self, _warn: Any = warnings.warn) -> None:
        if self._exit_hook is None or self.closed:
            return
        _warn(f"unclosed log {self.path!r}: use a with block, or close()", ResourceWarning, source=self, stacklevel=2)
        self.close()

    def __repr__(self) -> str:
        return f"<walrus.{type(self).__name__} {self.path!r}{' (closed)' if self.closed else ''}>"
