"""Walrus for Python through its Python API."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import walrus
from walrus import FsyncSchedule, ReadConsistency

from ..driver import Store, main
from ..job import Job
from . import settings


class WalrusStore(Store):
    """Topics by number; the shared cursor for `next_reader`."""

    def __init__(self, job: Job) -> None:
        self.job = job
        if job.mode == "numpy":
            import numpy  # noqa: F401 - loaded before the clock runs
        schedule = {
            "none": FsyncSchedule.NoFsync,
            "interval": FsyncSchedule.Milliseconds(settings.INTERVAL_MS),
            "each": FsyncSchedule.SyncEach,
        }[job.durability]
        consistency = ReadConsistency.StrictlyAtOnce
        if job.mode == "at_least_once":
            consistency = ReadConsistency.AtLeastOnce(settings.PERSIST_EVERY)
        self.log = walrus.open(
            job.dir,
            fsync_schedule=schedule,
            consistency=consistency,
            retention=max(1, job.retention // job.topics) if job.retention else None,
            **settings.OPTIONS,
        )

    def appender(self, topic: int) -> Callable[[bytes], Any]:
        return self.log.topic(str(topic)).append

    def batch_appender(self, topic: int) -> Callable[[list[bytes]], Any]:
        return self.log.topic(str(topic)).append_batch

    def sync(self) -> None:
        self.log.sync()

    def next_reader(self, topic: int) -> Callable[[], bytes | None]:
        name, take = str(topic), self.log.read_next
        return lambda: take(name, True)

    def batches(self, topic: int) -> Iterator[tuple[int, int]]:
        source, size = self.log.topic(str(topic)), self.job.call_bytes
        position, end = source.oldest_offset, source.end_offset
        while position < end:
            batch = source.read_batch(position, size)
            if self.job.mode == "numpy":
                payloads, _ = batch.to_numpy()
                yield len(batch), len(payloads)
            else:
                batch.tolist()
                yield len(batch), batch.payload_bytes
            position += len(batch)

    def first(self, topic: int) -> int:
        source = self.log.topic(str(topic))
        return source.read_batch(source.oldest_offset, 1).payload_bytes

    def own_figures(self) -> dict[str, Any]:
        stats = self.log.stats()
        return {
            "io": stats.io,
            "direct_io": stats.direct_io,
            "extent_bytes": stats.extent_bytes,
            "staging_bytes": stats.staging_bytes,
        }

    def close(self) -> None:
        self.log.close()


if __name__ == "__main__":
    main(WalrusStore)
