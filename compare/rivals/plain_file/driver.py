"""A plain file per topic: what one gets without any library. No recovery, no retention, no index, no protection from
torn writes."""

from __future__ import annotations

import os
import struct
import threading
from collections.abc import Callable, Iterator
from zlib import crc32

from ..driver import Store, main
from ..job import Job
from . import settings

HEADER = struct.Struct("<II")


class PlainFile:
    """One topic: written at a position that is kept, in space that is allocated in steps."""

    def __init__(self, path: str, each: bool, step: int) -> None:
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
        self.position = 0
        self.allocated = 0
        self.step = step
        self.each = each
        self.lock = threading.Lock()

    def _write(self, data: bytes) -> None:
        with self.lock:
            while self.position + len(data) > self.allocated:
                os.posix_fallocate(self.descriptor, self.allocated, self.step)
                self.allocated += self.step
            self.position += os.pwrite(self.descriptor, data, self.position)
            if self.each:
                os.fdatasync(self.descriptor)

    def append(self, data: bytes) -> None:
        self._write(HEADER.pack(len(data), crc32(data)) + data)

    def append_batch(self, entries: list[bytes]) -> None:
        self._write(b"".join(part for data in entries for part in (HEADER.pack(len(data), crc32(data)), data)))

    def read(self, call_bytes: int) -> Iterator[list[bytes]]:
        """Entries of `call_bytes` at a time, checked; a length of 0 is the end."""
        position = 0
        while True:
            block = os.pread(self.descriptor, call_bytes + (1 << 17), position)
            at, found = 0, []
            while at + HEADER.size <= len(block):
                length, checksum = HEADER.unpack_from(block, at)
                data = block[at + HEADER.size : at + HEADER.size + length]
                if length == 0 or len(data) < length:
                    break
                if crc32(data) != checksum:
                    raise SystemExit(f"a damaged entry at {position + at}")
                found.append(data)
                at += HEADER.size + length
            if not found:
                return
            yield found
            position += at


class PlainFiles(Store):
    """Many topics are many files."""

    def __init__(self, job: Job) -> None:
        self.job = job
        os.makedirs(job.dir, exist_ok=True)
        step = max(settings.PREALLOCATE_BYTES_LEAST, settings.PREALLOCATE_BYTES // job.topics)
        self.files = [
            PlainFile(os.path.join(job.dir, str(topic)), job.durability == "each", step) for topic in range(job.topics)
        ]
        self.ending = threading.Event()
        self.syncer: threading.Thread | None = None
        if job.durability == "interval":
            self.syncer = threading.Thread(target=self._sync_now_and_then)
            self.syncer.start()

    def _sync_now_and_then(self) -> None:
        while not self.ending.wait(settings.INTERVAL_MS / 1000):
            self.sync()

    def appender(self, topic: int) -> Callable[[bytes], None]:
        return self.files[topic].append

    def batch_appender(self, topic: int) -> Callable[[list[bytes]], None]:
        return self.files[topic].append_batch

    def sync(self) -> None:
        for file in self.files:
            os.fdatasync(file.descriptor)

    def batches(self, topic: int) -> Iterator[tuple[int, int]]:
        for found in self.files[topic].read(self.job.call_bytes):
            yield len(found), sum(map(len, found))

    def close(self) -> None:
        self.ending.set()
        if self.syncer is not None:
            self.syncer.join()
        for file in self.files:
            os.ftruncate(file.descriptor, file.position or os.fstat(file.descriptor).st_size)
            os.close(file.descriptor)


if __name__ == "__main__":
    main(PlainFiles)
