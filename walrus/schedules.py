"""When appends become durable, and when the shared cursor is persisted: the two choices that Walrus's users know.

Immutable values, made through ``FsyncSchedule`` and ``ReadConsistency``. A schedule says when ``sync`` is called; it
relaxes no order of writes, so what recovery gives back of a topic is always a prefix.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final, Literal, final

__all__ = ["FsyncSchedule", "ReadConsistency"]

_MILLISECONDS_MAX: Final = 86_400_000


@final
@dataclass(frozen=True)
class FsyncSchedule:
    """When appended entries are made durable against a power cut. (SIGKILL loses no returned append on any schedule.)

    ``FsyncSchedule.Milliseconds(n)``
        In the background, every n ms (1 to 86,400,000; the default of a log is 200). A power cut loses at most the last n ms
        and one flush.
    ``FsyncSchedule.SyncEach``
        Before each append or batch returns; threads share flushes. A power cut loses nothing that had returned.
    ``FsyncSchedule.NoFsync``
        Never for an append or a batch: by ``sync()`` and ``close()`` alone (and before space is used again).
    """

    kind: Literal["milliseconds", "sync_each", "no_fsync"]
    milliseconds: int = 0

    SyncEach: ClassVar[FsyncSchedule]
    NoFsync: ClassVar[FsyncSchedule]

    @staticmethod
    def Milliseconds(n: int = 200) -> FsyncSchedule:
        """Every `n` milliseconds. TypeError if it is no int, ValueError outside 1 to 86,400,000."""
        return FsyncSchedule("milliseconds", n)

    def __post_init__(self) -> None:
        if self.kind not in ("milliseconds", "sync_each", "no_fsync"):
            raise ValueError(f"FsyncSchedule({self.kind!r}): take FsyncSchedule.Milliseconds(n), .SyncEach or .NoFsync")
        n = self.milliseconds
        if isinstance(n, bool) or not isinstance(n, int):
            raise TypeError(f"FsyncSchedule.Milliseconds takes an int, not {type(n).__name__}")
        if self.kind == "milliseconds" and not 1 <= n <= _MILLISECONDS_MAX:
            raise ValueError(f"FsyncSchedule.Milliseconds({n}): from 1 to {_MILLISECONDS_MAX} milliseconds")
        if self.kind != "milliseconds" and n != 0:
            raise ValueError(f"FsyncSchedule({self.kind!r}, {n}): only Milliseconds(n) has a number")

    def __repr__(self) -> str:
        if self.kind == "milliseconds":
            return f"FsyncSchedule.Milliseconds({self.milliseconds})"
        return "FsyncSchedule.SyncEach" if self.kind == "sync_each" else "FsyncSchedule.NoFsync"


FsyncSchedule.SyncEach = FsyncSchedule("sync_each")
FsyncSchedule.NoFsync = FsyncSchedule("no_fsync")


@final
@dataclass(frozen=True)
class ReadConsistency:
    """When the shared cursor of ``read_next`` and ``batch_read_for_topic`` is persisted. Named cursors go by
    ``commit()``.

    ``ReadConsistency.StrictlyAtOnce``
        Before an entry is handed out: to the disk under ``SyncEach`` and ``Milliseconds``, to memory that outlives the
        process under ``NoFsync``. Never handed out twice.
    ``ReadConsistency.AtLeastOnce(persist_every=N)``
        Every N entries, and never beyond what earlier calls handed out. After a restart at most N entries are handed
        out again, or one call's entries where a call hands out more. 0 counts as 1.
    """

    persist_every: int = 0  # 0: strictly at once

    StrictlyAtOnce: ClassVar[ReadConsistency]

    @staticmethod
    def AtLeastOnce(persist_every: int) -> ReadConsistency:
        """Persisted every `persist_every` entries. TypeError if it is no int, ValueError if it is negative or above 2**32 - 1."""
        made = ReadConsistency(persist_every)
        return ReadConsistency(1) if made.strict else made

    def __post_init__(self) -> None:
        every = self.persist_every
        if isinstance(every, bool) or not isinstance(every, int):
            raise TypeError(f"ReadConsistency.AtLeastOnce takes an int, not {type(every).__name__}")
        if not 0 <= every < 1 << 32:
            raise ValueError(f"ReadConsistency.AtLeastOnce(persist_every={every}): from 0 to {(1 << 32) - 1} entries")

    @property
    def strict(self) -> bool:
        """True for ``StrictlyAtOnce``."""
        return self.persist_every == 0

    def __repr__(self) -> str:
        if self.strict:
            return "ReadConsistency.StrictlyAtOnce"
        return f"ReadConsistency.AtLeastOnce(persist_every={self.persist_every})"


ReadConsistency.StrictlyAtOnce = ReadConsistency()
