"""The workloads: what is asked of each rival, how long, and what the table says of it.

A workload is one driver run (`args`), some after another run that fills the directory (`fill`). Sizes in bytes, times
in seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

__all__ = ["GROUPS", "Workload", "planned"]

MIB: Final = 1 << 20
GIB: Final = 1 << 30
LONG_BYTES_MAX: Final = 24 * GIB  # of rivals without retention: such a run ends there
RETENTION: Final = 2 * GIB
STRIDE: Final = 16  # unsynced appends are so short that timing each would be most of what is timed

GROUPS: Final = {
    "append": "Appending, one thread, nothing synced",
    "long": "Ten threads, a topic each, 500-1,024 B",
    "fsync": "Each append durable when it returns, 500-1,024 B",
    "flight": "Durable appends, many in flight",
    "topics": "One entry of 100 B in each of many topics, then a sync",
    "next": "One entry at a time with its position kept, 100 B",
    "read": "Batches of about 1 MiB",
    "reopen": "Opening what is there",
    "space": "Bytes on the disk",
}


@dataclass(frozen=True)
class Workload:
    """One row of the plan. `args` and `fill` are arguments of drivers; `kill` ends the filling process by SIGKILL."""

    name: str
    group: str
    title: str
    args: dict[str, str | int | float]
    fill: dict[str, str | int | float] = field(default_factory=dict)
    kill: bool = False
    cold: bool = False
    # What fio does beside it, and its arguments: "write", "read", "fdatasync", or nothing.
    limit: str = ""
    only: tuple[str, ...] = ()
    quick: bool = False

    @property
    def kind(self) -> str:
        return str(self.args["kind"])


def _append(seconds: float, **more: str | int | float) -> dict[str, str | int | float]:
    return {
        "kind": "append",
        "seconds": seconds,
        "stride": STRIDE,
        "retention": RETENTION,
        "max_bytes": LONG_BYTES_MAX,
        **more,
    }


def _appending(quick: bool) -> list[Workload]:
    short, long = (0.5, 1.0) if quick else (5.0, 60.0)
    # The published shape of the Rust Walrus lasts two minutes.
    published = 1.0 if quick else 120.0
    threads: dict[str, str | int | float] = {"threads": 10, "topics": 10, "min": 500, "max": 1024}
    return [
        Workload("append_100", "append", "100 B", _append(short, min=100, max=100), limit="write"),
        Workload("append_1k", "append", "1 KB", _append(short, min=1024, max=1024)),
        Workload("threads10", "long", "no fsync", _append(published, **threads), limit="write"),
        Workload("threads10_200ms", "long", "fsync every 200 ms", _append(long, **threads, durability="interval")),
        Workload(
            "threads10_batch",
            "long",
            "batches of 2,000, no fsync",
            _append(long, **threads, batch=2000) | {"stride": 1},
            limit="write",
        ),
    ]


def _durable(quick: bool) -> list[Workload]:
    seconds = 0.5 if quick else 5.0
    each: dict[str, str | int | float] = {"durability": "each", "min": 500, "max": 1024}
    rows = [
        Workload(
            f"fsync_{n}",
            "fsync",
            f"{n} thread{'s' * (n > 1)}",
            _append(seconds, **each, threads=n, topics=n) | {"stride": 1},
            limit="fdatasync" if n == 1 else "",
        )
        for n in (1, 10, 64)
    ]
    rows += [
        Workload(
            f"flight_{n}",
            "flight",
            f"{n} threads, 100 B, 2,048 in flight each",
            {**_append(seconds, threads=n, topics=n), "stride": 1, "mode": "flight", "durability": "each"},
            only=("walrus_native",),
        )
        for n in (1, 2, 10)
    ]
    rows += [
        Workload(
            f"topics_{n}",
            "topics",
            f"{n:,} topic{'s' * (n > 1)}",
            {"kind": "topics", "seconds": seconds / 2, "topics": n, "min": 100, "max": 100},
        )
        for n in (1, 1000, 10_000)
    ]
    return rows


def _reading(quick: bool) -> list[Workload]:
    seconds = 0.5 if quick else 5.0
    rows = []
    for mode, title, entries in (
        ("strict", "StrictlyAtOnce: each on the disk", (2000, 100_000)),
        ("at_least_once", "AtLeastOnce(1000)", (150_000, 2_000_000)),
    ):
        rows.append(
            Workload(
                f"next_{mode}",
                "next",
                title,
                {
                    "kind": "next",
                    "mode": mode,
                    "entries": entries[0 if quick else 1],
                    "seconds": seconds,
                    "durability": "interval",
                },
            )
        )
    size = (24 if quick else 512) * MIB
    cold_size = (48 if quick else 2048) * MIB
    shapes = ((100, "100 B"), (1024, "1 KB"), (64 << 10, "64 KB"))
    for cold in (False, True):
        for payload, title in shapes:
            entries_ = (cold_size if cold else size) // (payload if payload >= 1024 else 4 * payload)
            for mode in ("bytes", "numpy"):
                # As buffers without an object for each entry: only Walrus has that; it is said of entries written in
                # batches.
                batch = 1 if mode == "bytes" and payload == 100 else 2000 if payload < 4096 else 16
                name = f"read_{title.replace(' ', '').lower()}_{'cold' if cold else 'hot'}" + (
                    "_numpy" if mode == "numpy" else ""
                )
                shape: dict[str, str | int | float] = {
                    "entries": -(-entries_ // batch) * batch,
                    "min": payload,
                    "max": payload,
                }
                rows.append(
                    Workload(
                        name,
                        "read",
                        f"{title}, {'cold' if cold else 'hot'}" + (", as numpy buffers" if mode == "numpy" else ""),
                        {"kind": "read", "hot": int(not cold), "mode": mode, **shape},
                        fill={"kind": "append", "batch": batch, **shape},
                        cold=cold,
                        limit="read" if cold and payload == 64 << 10 and mode == "bytes" else "",
                        only=("walrus",) if mode == "numpy" else (),
                    )
                )
    return rows


def _one_of_many(quick: bool) -> Workload:
    """One topic's entries lie scattered between those of the others."""
    topics, each = 1000, 64 if quick else 1024
    shape: dict[str, str | int | float] = {"min": 1024, "max": 1024}
    return Workload(
        "read_one_of_1000",
        "read",
        f"1 KB, cold, one topic of {topics:,}",
        {"kind": "read", "mode": "bytes", "entries": each, **shape},
        fill={"kind": "append", "topics": topics, "entries": each * topics, **shape},
        cold=True,
    )


def _ends(quick: bool) -> list[Workload]:
    size = (128 if quick else 2048) * MIB
    entries = size // 762 // 20_000 * 20_000
    fill: dict[str, str | int | float] = {
        "kind": "append",
        "threads": 10,
        "topics": 10,
        "min": 500,
        "max": 1024,
        "entries": entries,
        "durability": "interval",
        "batch": 100,
    }
    count = 100_000 if quick else 1_000_000
    shape: dict[str, str | int | float] = {"kind": "reopen", "topics": 10, "min": 500, "max": 1024}
    written = f"{size / GIB:g} GiB"
    return [
        Workload(
            "reopen_killed", "reopen", f"{written}, after SIGKILL", shape, fill={**fill, "end": "wait"}, kill=True
        ),
        Workload("reopen_clean", "reopen", f"{written}, after a clean end", shape, fill=fill),
        Workload("space_single", "space", f"{count:,} single appends of 100 B", {"kind": "append", "entries": count}),
        Workload(
            "space_batch",
            "space",
            f"{count:,} entries of 100 B in batches of 2,000",
            {"kind": "append", "entries": count, "batch": 2000},
        ),
    ]


def planned(quick: bool) -> list[Workload]:
    """All of them, in the order they are run."""
    return [
        replace(row, quick=quick)
        for row in (*_appending(quick), *_durable(quick), *_reading(quick), _one_of_many(quick), *_ends(quick))
    ]
