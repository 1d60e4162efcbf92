"""LMDB as a log: topic and number as the key, put in order with APPEND where there is one topic; a transaction for each
append."""

from __future__ import annotations

import os
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any

import lmdb

from ..driver import Store, main
from ..job import Job
from . import settings

KEY = struct.Struct(">IQ")
CURSOR = b"\xff\xff\xff\xffcursor"  # behind all topics


class LmdbStore(Store):
    """LMDB has one writer at a time: threads wait for each other inside it, without the GIL."""

    def __init__(self, job: Job) -> None:
        self.job = job
        os.makedirs(job.dir, exist_ok=True)
        durable = job.durability == "each" or job.kind == "topics" or job.mode == "strict"
        options: dict[str, Any] = {**settings.COMMON, **(settings.SYNCED if durable else settings.UNSYNCED)}
        self.environment = lmdb.open(job.dir, **options)
        self.ends = [self._end_of(topic) for topic in range(job.topics)]
        self.open_transaction: Any = None
        self.lock = threading.Lock()
        self.ending = threading.Event()
        self.syncer: threading.Thread | None = None
        if job.durability == "interval" and job.kind == "append":
            self.syncer = threading.Thread(target=self._sync_now_and_then)
            self.syncer.start()

    def _end_of(self, topic: int) -> int:
        with self.environment.begin() as transaction, transaction.cursor() as cursor:
            found = cursor.prev() if cursor.set_range(KEY.pack(topic + 1, 0)) else cursor.last()
            if not found:
                return 0
            key = cursor.key()
            return KEY.unpack(key)[1] + 1 if len(key) == KEY.size and KEY.unpack(key)[0] == topic else 0

    def _sync_now_and_then(self) -> None:
        while not self.ending.wait(settings.INTERVAL_MS / 1000):
            self.environment.sync(True)

    def appender(self, topic: int) -> Callable[[bytes], None]:
        begin, pack, ends = self.environment.begin, KEY.pack, self.ends
        last = self.job.topics == 1

        def append(data: bytes) -> None:
            with self.lock, begin(write=True) as transaction:
                transaction.put(pack(topic, ends[topic]), data, append=last)
                ends[topic] += 1

        def append_to_one_transaction(data: bytes) -> None:
            if self.open_transaction is None:
                self.open_transaction = begin(write=True)
            self.open_transaction.put(pack(topic, ends[topic]), data, append=last)
            ends[topic] += 1

        return append_to_one_transaction if self.job.kind in ("topics", "next") else append

    def batch_appender(self, topic: int) -> Callable[[list[bytes]], None]:
        def append(entries: list[bytes]) -> None:
            with self.lock, self.environment.begin(write=True) as transaction:
                first = self.ends[topic]
                pairs = [(KEY.pack(topic, first + number), data) for number, data in enumerate(entries)]
                with transaction.cursor() as cursor:
                    cursor.putmulti(pairs, append=self.job.topics == 1)
                self.ends[topic] += len(entries)

        return append

    def sync(self) -> None:
        if self.open_transaction is not None:
            self.open_transaction.commit()
            self.open_transaction = None
        else:
            self.environment.sync(True)

    def next_reader(self, topic: int) -> Callable[[], bytes | None]:
        every = 1 if self.job.mode == "strict" else settings.PERSIST_EVERY
        position = 0

        def take() -> bytes | None:
            nonlocal position
            keep = (position + 1) % every == 0
            with self.environment.begin(write=keep) as transaction:
                data: bytes | None = transaction.get(KEY.pack(topic, position))
                position += 1
                if keep:
                    transaction.put(CURSOR, position.to_bytes(8, "big"))
            return data

        return take

    def batches(self, topic: int) -> Iterator[tuple[int, int]]:
        with self.environment.begin() as transaction, transaction.cursor() as cursor:
            entries: list[bytes] = []
            payload = 0
            if not cursor.set_range(KEY.pack(topic, 0)):
                return
            end = KEY.pack(topic + 1, 0)
            for key, data in cursor:
                if key >= end:
                    break
                entries.append(data)
                payload += len(data)
                if payload >= self.job.call_bytes:
                    yield len(entries), payload
                    entries, payload = [], 0
            yield len(entries), payload

    def first(self, topic: int) -> int:
        with self.environment.begin() as transaction, transaction.cursor() as cursor:
            if not cursor.set_range(KEY.pack(topic, 0)):
                raise SystemExit("a topic is empty")
            return len(cursor.value())

    def close(self) -> None:
        self.ending.set()
        if self.syncer is not None:
            self.syncer.join()
        self.environment.sync(True)
        self.environment.close()


if __name__ == "__main__":
    main(LmdbStore)
