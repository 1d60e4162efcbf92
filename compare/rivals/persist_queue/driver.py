"""persist-queue: one FIFO queue for each topic, each a directory with its own SQLite file."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import persistqueue

from ..driver import Store, main
from ..job import Job
from . import settings


class PersistQueueStore(Store):
    """put() pickles the payload; that is its way."""

    def __init__(self, job: Job) -> None:
        self.job = job
        one_by_one = job.kind != "next" or job.mode == "strict"
        self.auto_commit = settings.AUTO_COMMIT and one_by_one
        os.makedirs(job.dir, exist_ok=True)
        self.queues: list[Any] = [
            persistqueue.FIFOSQLiteQueue(
                os.path.join(job.dir, str(topic)), multithreading=True, auto_commit=self.auto_commit
            )
            for topic in range(job.topics)
        ]

    def appender(self, topic: int) -> Callable[[bytes], Any]:
        put: Callable[[bytes], Any] = self.queues[topic].put
        return put

    def sync(self) -> None:
        if not self.auto_commit:
            for queue in self.queues:
                queue.task_done()

    def next_reader(self, topic: int) -> Callable[[], bytes | None]:
        queue, taken = self.queues[topic], 0

        def take() -> bytes | None:
            nonlocal taken
            data: bytes | None = queue.get(block=False)
            taken += 1
            if not self.auto_commit and taken % settings.COMMIT_EVERY == 0:
                queue.task_done()
            return data

        return take

    def close(self) -> None:
        for queue in self.queues:
            queue.close()


if __name__ == "__main__":
    main(PersistQueueStore)
