"""What the machine itself gives, measured by loops that know nothing of Walrus: the limits beside the figures of the bench.

Sequential O_DIRECT writing (by fio where it is installed, else by eight threads), one O_DIRECT write and flush at a time, copying
memory. Each makes its file in the directory given and removes it. Rates are per second, sizes in bytes.
"""

from __future__ import annotations

import itertools
import json
import mmap
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

__all__ = ["Limit", "copying", "flushed_writes", "sequential_writes"]

MIB: Final = 1 << 20
IN_FLIGHT: Final = 8
PAGE: Final = 4096
FILE_BYTES_MAX: Final = 1 << 30
FLUSHED_FILE_BYTES: Final = 64 * MIB
COPY_BYTES: Final = 64 * MIB
COPY_ROUNDS: Final = 24


@dataclass(frozen=True)
class Limit:
    """A rate, and how it was measured."""

    what: str
    per_second: float
    unit: str


@contextmanager
def _file(directory: str, size: int, flags: int) -> Iterator[tuple[str, int]]:
    """A written file of that size, opened; removed in the end. Falls back to the page cache where O_DIRECT is refused."""
    path = os.path.join(directory, "limit")
    with open(path, "wb") as made:
        block = os.urandom(MIB)
        for _ in range(0, size, MIB):
            made.write(block)
        made.flush()
        os.fsync(made.fileno())
        os.posix_fadvise(made.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    try:
        descriptor = os.open(path, os.O_WRONLY | flags)
    except OSError:
        descriptor = os.open(path, os.O_WRONLY)
    try:
        yield path, descriptor
    finally:
        os.close(descriptor)
        os.unlink(path)


def sequential_writes(directory: str, total: int) -> Limit:
    """Bytes a second of O_DIRECT writes of 1 MiB, 8 in flight, `total` bytes over a file that is overwritten again and again."""
    size = max(IN_FLIGHT * MIB, min(FILE_BYTES_MAX, total // 4) // MIB * MIB)
    with _file(directory, size, os.O_DIRECT) as (path, descriptor):
        rate = _by_fio(path, size, total) if shutil.which("fio") else None
        if rate is not None:
            return Limit(f"fio: O_DIRECT writes of 1 MiB, {IN_FLIGHT} in flight", rate, "B/s")
        return Limit(f"O_DIRECT writes of 1 MiB, {IN_FLIGHT} threads", _by_threads(descriptor, size, total), "B/s")


def _by_fio(path: str, size: int, total: int) -> float | None:
    """None where it fails, as it does where io_uring or O_DIRECT is refused."""
    command = ["fio", "--name=limit", f"--filename={path}", "--rw=write", "--bs=1M", "--direct=1", "--ioengine=io_uring"]
    command += [f"--iodepth={IN_FLIGHT}", f"--size={size}", f"--io_size={total}", "--output-format=json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return None
    return float(json.loads(done.stdout[done.stdout.index("{") :])["jobs"][0]["write"]["bw_bytes"])


def _by_threads(descriptor: int, size: int, total: int) -> float:
    positions = itertools.count(0, MIB)

    def work() -> None:
        with mmap.mmap(-1, MIB) as buffer:
            buffer.write(os.urandom(MIB))
            while (position := next(positions)) < total:
                os.pwrite(descriptor, buffer, position % size)

    threads = [threading.Thread(target=work) for _ in range(IN_FLIGHT)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    os.fdatasync(descriptor)
    return total / (time.perf_counter() - began)


def flushed_writes(directory: str, seconds: float) -> Limit:
    """Times a second that 4 KiB are written by O_DIRECT into a file that was written before, and fdatasync has returned."""
    count = 0
    with _file(directory, FLUSHED_FILE_BYTES, os.O_DIRECT) as (_, descriptor), mmap.mmap(-1, PAGE) as buffer:
        buffer.write(os.urandom(PAGE))
        began = time.perf_counter()
        while (took := time.perf_counter() - began) < seconds:
            os.pwrite(descriptor, buffer, count * PAGE % FLUSHED_FILE_BYTES)
            os.fdatasync(descriptor)
            count += 1
    return Limit("O_DIRECT write of 4 KiB and fdatasync, one after another", count / took, "1/s")


def copying() -> Limit:
    """Bytes a second of one thread that copies 64 MiB into memory that is already there."""
    source, target = bytearray(os.urandom(COPY_BYTES)), bytearray(COPY_BYTES)
    view = memoryview(target)
    view[:] = source
    began = time.perf_counter()
    for _ in range(COPY_ROUNDS):
        view[:] = source
    return Limit("memcpy, one thread", COPY_ROUNDS * COPY_BYTES / (time.perf_counter() - began), "B/s")
