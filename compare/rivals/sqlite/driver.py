"""sqlite3 as a log: a row for each entry, a transaction for each append or batch."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator

from ..driver import Store, main
from ..job import Job
from . import settings

INSERT = "INSERT INTO entry VALUES (?, ?, ?)"


class SqliteStore(Store):
    """One connection under a lock: SQLite has one writer at a time, and connections that wait for each other are
    slower."""

    def __init__(self, job: Job) -> None:
        self.job = job
        os.makedirs(job.dir, exist_ok=True)
        path = os.path.join(job.dir, "log.sqlite")
        self.connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        level = "FULL" if job.kind == "topics" or job.mode == "strict" else settings.SYNCHRONOUS[job.durability]
        for statement in (*settings.PRAGMAS, f"PRAGMA synchronous={level}"):
            self.connection.execute(statement)
        self.connection.execute(settings.SCHEMA)
        self.connection.execute(settings.SCHEMA_CURSOR)
        self.ends = [
            self.connection.execute(
                "SELECT coalesce(max(number) + 1, 0) FROM entry WHERE topic = ?", (topic,)
            ).fetchone()[0]
            for topic in range(job.topics)
        ]
        self.lock = threading.Lock()

    def appender(self, topic: int) -> Callable[[bytes], None]:
        execute, ends = self.connection.execute, self.ends

        def append(data: bytes) -> None:
            with self.lock:
                if self.job.kind in ("topics", "next") and not self.connection.in_transaction:
                    execute("BEGIN IMMEDIATE")  # one transaction, committed by sync(): the fastest way
                execute(INSERT, (topic, ends[topic], data))
                ends[topic] += 1

        return append

    def batch_appender(self, topic: int) -> Callable[[list[bytes]], None]:
        def append(entries: list[bytes]) -> None:
            with self.lock:
                self.connection.execute("BEGIN IMMEDIATE")
                first = self.ends[topic]
                self.connection.executemany(
                    INSERT, ((topic, first + number, data) for number, data in enumerate(entries))
                )
                self.connection.execute("COMMIT")
                self.ends[topic] += len(entries)

        return append

    def sync(self) -> None:
        if self.connection.in_transaction:
            self.connection.execute("COMMIT")  # of run_topics, under synchronous=FULL
        else:
            self.connection.execute("PRAGMA wal_checkpoint(FULL)")

    def next_reader(self, topic: int) -> Callable[[], bytes | None]:
        execute = self.connection.execute
        every = 1 if self.job.mode == "strict" else settings.PERSIST_EVERY
        position = 0

        def take() -> bytes | None:
            nonlocal position
            row = execute("SELECT data FROM entry WHERE topic = ? AND number = ?", (topic, position)).fetchone()
            if row is None:
                return None
            position += 1
            if position % every == 0:
                execute("INSERT OR REPLACE INTO cursor VALUES (?, ?)", (topic, position))
            return bytes(row[0])

        return take

    def batches(self, topic: int) -> Iterator[tuple[int, int]]:
        position = 0
        limit = max(1, min(settings.READ_ROWS, self.job.call_bytes // self.job.max))
        query = "SELECT data FROM entry WHERE topic = ? AND number >= ? ORDER BY number LIMIT ?"
        while rows := self.connection.execute(query, (topic, position, limit)).fetchall():
            yield len(rows), sum(len(row[0]) for row in rows)
            position += len(rows)

    def first(self, topic: int) -> int:
        row = self.connection.execute(
            "SELECT data FROM entry WHERE topic = ? ORDER BY number LIMIT 1", (topic,)
        ).fetchone()
        return len(row[0])

    def close(self) -> None:
        self.connection.close()


if __name__ == "__main__":
    main(SqliteStore)
