"""What a driver is asked to do, and what it measures while it does it; shared by the drivers that are written in
Python.

A driver is called with ``key=value`` arguments and prints one line of JSON when it is done. Drivers in other languages
take the
same arguments and print the same line: ``driver.hpp``, ``walrus_rust/src/main.rs`` and ``kafka/src/Driver.java``.

Times are seconds, latencies nanoseconds, sizes bytes.
"""

from __future__ import annotations

import random
import resource
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

__all__ = ["Histogram", "Job", "Memory", "cpu_seconds", "make_pool", "percentiles"]

MIB: Final = 1 << 20
POOL_ENTRIES: Final = 16_000
POOL_BYTES_MAX: Final = 16 * MIB
SEED: Final = 1768
SUB_BITS: Final = 5  # 32 buckets for each power of two: a percentile is exact to 3 %
PERCENTILES: Final = (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999))


@dataclass(frozen=True)
class Job:
    """The arguments. 0 where a limit does not hold."""

    kind: str
    dir: str
    threads: int = 1
    topics: int = 1
    min: int = 100
    max: int = 100
    batch: int = 1
    durability: str = "none"  # none | interval (every 200 ms) | each
    seconds: float = 1.0
    entries: int = 0  # in all: end after that many
    max_bytes: int = 0  # payload in all: end after that much
    retention: int = 0  # payload bytes in all that must be kept; what is older may go
    stride: int = 1  # every stride-th call is timed
    mode: str = ""  # next: strict | at_least_once; read: bytes | numpy
    hot: int = 0
    call_bytes: int = MIB
    end: str = "close"  # fill: close | wait (until it is killed)

    @classmethod
    def parse(cls, arguments: list[str]) -> Job:
        """From ``key=value`` words."""
        kinds = {field.name: field.type for field in fields(cls)}
        values: dict[str, Any] = {}
        for word in arguments:
            key, _, text = word.partition("=")
            if key not in kinds:
                raise SystemExit(f"a driver knows no argument {key!r}; it knows {', '.join(kinds)}")
            values[key] = int(text) if kinds[key] == "int" else float(text) if kinds[key] == "float" else text
        return cls(**values)


def make_pool(job: Job) -> list[bytes]:
    """The payloads, made beforehand: taken in turn."""
    source = random.Random(SEED)
    count = max(64, min(POOL_ENTRIES, POOL_BYTES_MAX // job.max))
    return [source.randbytes(source.randint(job.min, job.max)) for _ in range(count)]


class Histogram:
    """Latencies in buckets of 3 %."""

    def __init__(self) -> None:
        self.counts = [0] * (64 << SUB_BITS)

    def add(self, ns: int) -> None:
        """One latency."""
        shift = ns.bit_length() - SUB_BITS - 1
        if shift <= 0:
            self.counts[ns] += 1
        else:
            self.counts[(shift << SUB_BITS) + (ns >> shift)] += 1


def percentiles(histograms: list[Histogram]) -> dict[str, float]:
    """Percentiles of all of them together, in ns, each the upper end of its bucket."""
    counts = [sum(column) for column in zip(*(one.counts for one in histograms), strict=True)]
    total = sum(counts)
    if total == 0:
        return {}
    found: dict[str, float] = {"samples": total}
    wanted = [*PERCENTILES, ("max", 1.0)]
    seen = 0
    for index, count in enumerate(counts):
        seen += count
        while wanted and seen >= wanted[0][1] * total:
            found[wanted.pop(0)[0]] = _upper_end(index)
    return found


def _upper_end(index: int) -> int:
    shift = max(0, (index >> SUB_BITS) - 1)
    return index if shift == 0 else ((index - (shift << SUB_BITS) + 1) << shift) - 1


class Memory:
    """The most memory that was resident since this was made, and what was before (interpreter and payloads)."""

    def __init__(self) -> None:
        Path("/proc/self/clear_refs").write_text("5")  # 5: the peak begins anew
        self.baseline = self._read("VmRSS")

    @staticmethod
    def _read(field: str) -> int:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
        return 0

    def report(self) -> dict[str, int]:
        """Both, in bytes."""
        return {"peak_rss": self._read("VmHWM"), "baseline_rss": self.baseline}


def cpu_seconds() -> float:
    """Of all threads of this process, user and system."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
