from collections.abc import Iterable
from typing import Self, TypeVar

from typing_extensions import Buffer, disjoint_base

from ._core import LogHandle

_AnyTopic = TypeVar("_AnyTopic", bound="TopicHandle")

@disjoint_base
class TopicHandle:
    """A named sequence of entries. Use ``log.topic(name)``."""

    def __new__(cls, log: LogHandle, name: str) -> Self: ...
    @property
    def log(self) -> LogHandle: ...
    @property
    def name(self) -> str: ...
    def _truncate(self, offset: int) -> None: ...
    @property
    def end_offset(self) -> int: ...
    @property
    def oldest_offset(self) -> int: ...
    @property
    def durable_offset(self) -> int: ...
    @property
    def size_bytes(self) -> int: ...
    def append(self, data: Buffer, timeout: float | None = None) -> int: ...
    def append_batch(
        self,
        entries: Iterable[Buffer] | None = None,
        timeout: float | None = None,
        *,
        data: Buffer | None = None,
        lengths: Buffer | Iterable[int] | None = None,
    ) -> int: ...

def append_batches(
    log: LogHandle, pairs: list[tuple[_AnyTopic, Iterable[Buffer]]], timeout: float | None = None
) -> list[int]: ...
