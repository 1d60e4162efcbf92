"""``walrus bench``: how fast this machine appends, each figure beside its limit, measured in the same run.

The limit is measured right before and right after the figure; the higher one counts, and how far the two are apart says how
quiet the machine was: where they differ much, or the machine was busy at the start, the shares mean little, and the output
says so.

Every figure is measured in a process of its own, which writes at least the bytes asked for while retention recycles log files.
Afterwards the page cache is dropped and another process opens the log and compares every entry that was kept with what had been
appended: entry n of a topic is known from n alone. Nothing here passes or fails by a time; only a comparison can fail.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import walrus

from .errors import OffsetOutOfRange, WalrusError
from .limits import Limit, copying, flushed_writes, sequential_writes
from .progress import progress
from .schedules import FsyncSchedule

__all__ = ["FIGURES", "add_arguments", "run"]

GIB: Final = 1 << 30
MIB: Final = 1 << 20
SEED: Final = 1768
BATCH: Final = 2000
TOPIC_SHIFT: Final = 1009  # so that no two topics hold the same entry at the same offset
CHECK_EVERY: Final = 16_000  # entries between two looks at clock and statistics, which cost as much as some 100 appends
CHECK_EVERY_SYNCED: Final = 500
READ_BYTES: Final = 4 * MIB
OPENING: Final = "open"
OPENING_GIB: Final = 10.0
OPENING_QUICK_GIB: Final = 2.0
QUICK_GIB: Final = 3.0
LIMIT_BYTES_LEAST: Final = GIB
UNSTEADY: Final = 1.25  # two measurements of one limit that are further apart
BUSY_LOAD: Final = 0.25  # load average for each CPU at the start
SHOWN_STATS: Final = (
    "extents", "gathered_extents", "written_bytes", "direct_bytes", "submissions", "submitted", "submitted_max",
    "flushes", "records", "syncs", "room_waits", "room_wait_ns", "log_files_created", "log_files_recycled", "snapshots",
)  # fmt: skip


@dataclass(frozen=True)
class Figure:
    """What one run does. ``seconds``: at least that long; with ``at_most``, never longer, however few the bytes."""

    name: str
    title: str
    topics: int
    sizes: tuple[int, int]
    pool: int
    retention: int
    schedule: str = "milliseconds"
    seconds: float = 0.0
    at_most: bool = False
    target: int = 16 * GIB

    def payloads(self) -> list[bytes]:
        """The pool that entries are taken from, in turn."""
        source = random.Random(SEED)
        low, high = self.sizes
        return [source.randbytes(source.randint(low, high)) for _ in range(self.pool)]


FIGURES: Final = {
    figure.name: figure
    for figure in (
        Figure("append", "append, 100 B, 1 thread", 1, (100, 100), 64_000, GIB),
        Figure("append_batch", "append_batch of 2,000, 100 B, 1 thread", 1, (100, 100), 64_000, GIB),
        Figure("topics", "append, 500-1,024 B, 10 topics, 10 threads", 10, (500, 1024), 16_000, 128 * MIB, seconds=60),
        Figure("sync_each", "append under SyncEach, 100 B, 1 thread", 1, (100, 100), 64_000, 64 * MIB, schedule="sync_each"),
    )
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``walrus bench``."""
    parser.add_argument("--quick", action="store_true", help=f"about a minute in all: {QUICK_GIB:g} GiB a run, rougher figures")
    parser.add_argument("--directory", default=".", help="on the file system to measure; a temporary directory is made in it")
    parser.add_argument("--gib", type=float, help="each run writes at least that much (default 16)")
    parser.add_argument("--only", action="append", choices=[*FIGURES, OPENING], help="that figure; may be repeated")
    parser.add_argument("--json", metavar="FILE", help="write everything there")


# ------------------------------------------------------------------------------------------------------------ one figure


class Memory:
    """The most memory that this process had resident since `Memory` was made, over what it had then."""

    def __init__(self) -> None:
        Path("/proc/self/clear_refs").write_text("5")  # 5: the peak begins anew
        self.baseline = self._read("VmRSS")

    @staticmethod
    def _read(field: str) -> int:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
        return 0

    def peak_over_baseline(self) -> int:
        return self._read("VmHWM") - self.baseline


def shifted(pool: list[bytes], topic: int) -> list[bytes]:
    """The pool as a topic goes through it: entry n of the topic is ``shifted(...)[n % len(pool)]``."""
    shift = topic * TOPIC_SHIFT % len(pool)
    return pool[shift:] + pool[:shift]


def append_all(log: walrus.Log, pool: list[bytes], go_on: Callable[[], bool], check_every: int) -> list[int]:
    """One entry at a time into one topic; gives how many each topic got, as all of these do."""
    append, count = log.topic("0").append, 0
    while True:
        for at in range(0, len(pool), check_every):
            for data in pool[at : at + check_every]:
                append(data)
            count += check_every
            if not go_on():
                return [count]


def append_batches(log: walrus.Log, pool: list[bytes], go_on: Callable[[], bool]) -> list[int]:
    append, count = log.topic("0").append_batch, 0
    batches = [pool[at : at + BATCH] for at in range(0, len(pool), BATCH)]
    while True:
        for batch in batches:
            append(batch)
            count += BATCH
            if count % CHECK_EVERY == 0 and not go_on():
                return [count]


def append_in_threads(log: walrus.Log, pool: list[bytes], go_on: Callable[[], bool], topics: int) -> list[int]:
    """A thread and a topic each."""
    counts = [0] * topics
    stop = threading.Event()
    failures: list[BaseException] = []

    def work(number: int) -> None:
        append, mine = log.topic(str(number)).append, shifted(pool, number)
        try:
            while True:
                for at in range(0, len(mine), BATCH):
                    for data in mine[at : at + BATCH]:
                        append(data)
                    counts[number] += BATCH
                    if stop.is_set():
                        return
        except BaseException as failure:
            failures.append(failure)
            stop.set()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(topics)]
    for thread in threads:
        thread.start()
    while go_on() and not stop.is_set():
        time.sleep(0.1)
    stop.set()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return counts


def measure(figure: Figure, directory: str) -> dict[str, Any]:
    """Runs it in this process; gives counts, rates, statistics and memory."""
    pool = figure.payloads()
    schedule = FsyncSchedule.SyncEach if figure.schedule == "sync_each" else FsyncSchedule.Milliseconds(200)
    memory = Memory()
    with walrus.open(directory, retention=figure.retention, fsync_schedule=schedule) as log:
        before = log.stats()
        with progress(figure.target, "B", figure.name) as advance:
            began = time.perf_counter()
            shown = 0

            def go_on() -> bool:
                nonlocal shown
                took, written = time.perf_counter() - began, log.stats().written_bytes - before.written_bytes
                advance(written - shown)
                shown = written
                if figure.at_most and took >= figure.seconds:
                    return False
                return written < figure.target or took < figure.seconds

            if figure.topics > 1:
                counts = append_in_threads(log, pool, go_on, figure.topics)
            elif figure.name == "append_batch":
                counts = append_batches(log, pool, go_on)
            else:
                counts = append_all(log, pool, go_on, CHECK_EVERY_SYNCED if figure.schedule == "sync_each" else CHECK_EVERY)
            log.sync()
            took = time.perf_counter() - began
        after = log.stats()
        peak = memory.peak_over_baseline()
    payload = sum(sum(len(data) for data in pool) * (count // len(pool)) for count in counts)
    payload += sum(len(data) for i, count in enumerate(counts) for data in shifted(pool, i)[: count % len(pool)])
    stats = {name: getattr(after, name) - (0 if name == "submitted_max" else getattr(before, name)) for name in SHOWN_STATS}
    mapped = 0 if after.io == "mmap" else after.staging_bytes
    return {
        "counts": counts, "seconds": took, "entries_per_s": sum(counts) / took, "payload_bytes_per_s": payload / took,
        "written_bytes_per_s": stats["written_bytes"] / took, "io": after.io, "direct_io": after.direct_io, "stats": stats,
        "peak_bytes_over_baseline": peak, "peak_bytes_without_staging": peak - mapped,
    }  # fmt: skip


def compare(figure: Figure, directory: str, counts: list[int]) -> dict[str, Any]:
    """Opens the log in this process and compares every entry kept. Raises where one differs or is missing."""
    pool = figure.payloads()
    entries = size = 0
    began = time.perf_counter()
    with walrus.open(directory, retention=figure.retention) as log:
        opened = time.perf_counter() - began
        for number, count in enumerate(counts):
            topic = log.topic(str(number))
            if topic.end_offset != count:
                raise WalrusError(f"topic {number} ends at {topic.end_offset}, {count} entries were appended")
            kept = compare_topic(topic, shifted(pool, number))
            appended = sum(map(len, pool)) * (count // len(pool))
            if kept[1] < min(figure.retention, appended):
                raise WalrusError(f"topic {number} keeps {kept[1]} payload bytes; its retention is {figure.retention}")
            entries, size = entries + kept[0], size + kept[1]
    return {"entries": entries, "bytes": size, "open_s": opened, "seconds": time.perf_counter() - began}


def compare_topic(topic: walrus.Topic, pool: list[bytes]) -> tuple[int, int]:
    """Entries and bytes of a topic, each compared. Retention may go on below us."""
    wanted = pool + pool[:BATCH]
    entries = size = 0
    position = topic.oldest_offset
    while position < topic.end_offset:
        at = position % len(pool)
        try:
            batch = topic.read_batch(position, READ_BYTES)
        except OffsetOutOfRange:
            position = max(position + 1, topic.oldest_offset)
            entries = size = 0
            continue
        if len(batch) == 0 or batch.tolist() != wanted[at : at + len(batch)]:
            raise WalrusError(f"topic {topic.name}: entries from {position} on are not what was appended")
        entries += len(batch)
        size += batch.payload_bytes
        position += len(batch)
    return entries, size


# ------------------------------------------------------------------------------------------- opening after the writer's death


def write_until_killed(directory: str, size: int) -> dict[str, Any]:
    """Appends `size` bytes of payload in batches, and dies by SIGKILL in the middle of appending more; the count is in a file."""
    figure = FIGURES["append_batch"]
    pool = figure.payloads()
    batches = [pool[at : at + BATCH] for at in range(0, len(pool), BATCH)]
    log = walrus.open(directory)
    append, count = log.topic("0").append_batch, 0
    with progress(size, "B", OPENING) as advance:
        while True:
            for batch in batches:
                append(batch)
                count += BATCH
                advance(BATCH * figure.sizes[0])
                if count * figure.sizes[0] >= size:
                    Path(directory + ".count").write_text(str(count))
                    os.kill(os.getpid(), signal.SIGKILL)


def open_killed(directory: str) -> dict[str, Any]:
    """Opens what was left, and looks at both ends of it."""
    pool = FIGURES["append_batch"].payloads()
    began = time.perf_counter()
    log = walrus.open(directory)
    took = time.perf_counter() - began
    with log:
        topic, count = log.topic("0"), int(Path(directory + ".count").read_text())
        if not log.recovery.unclean or topic.end_offset != count:
            raise WalrusError(f"topic 0 ends at {topic.end_offset} after the kill, {count} entries were appended")
        for first in (0, count // 2, count - BATCH):
            at = first % len(pool)
            if topic.read_batch(first, READ_BYTES, BATCH).tolist() != (pool + pool[:BATCH])[at : at + BATCH]:
                raise WalrusError(f"entries from {first} on are not what was appended")
        return {"open_s": took, "entries": count, "log_file_bytes": log.stats().log_file_bytes, "log_files": log.stats().log_files}


def run_opening(base: str, gib: float) -> dict[str, Any]:
    """A log of that size whose writer is killed, opened by a new process with cold caches."""
    print(f"open after SIGKILL, {gib:g} GiB ...", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(prefix="walrus-bench-", dir=base) as directory:
        path = os.path.join(directory, "log")
        try:
            in_new_process(write_until_killed, path, int(gib * GIB))
        except WalrusError:
            if not os.path.exists(path + ".count"):
                raise
        caches = drop_caches(path)
        return {"name": OPENING, "title": f"open after SIGKILL, {gib:g} GiB of 100 B entries", "caches": caches,
                **in_new_process(open_killed, path)}  # fmt: skip


# -------------------------------------------------------------------------------------------------- processes of their own


def _work(connection: Connection, function: Callable[..., dict[str, Any]], arguments: tuple[Any, ...]) -> None:
    try:
        connection.send(function(*arguments))
    except (WalrusError, OSError, MemoryError) as failure:
        connection.send(f"{type(failure).__name__}: {failure}")


def in_new_process(function: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """Calls it in a fresh interpreter. Raises WalrusError with what it said where it failed."""
    context = multiprocessing.get_context("spawn")
    receiving, sending = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(sending, function, arguments), daemon=True)
    process.start()
    sending.close()
    try:
        answer: dict[str, Any] | str = receiving.recv()
    except EOFError:
        answer = "it ended without a result"
    process.join()
    if isinstance(answer, str):
        raise WalrusError(f"{function.__name__} in process {process.pid} (exit code {process.exitcode}): {answer}")
    return answer


def drop_caches(directory: str) -> str:
    """So that what is read afterwards comes from the disk. Says how."""
    os.sync()
    for file in Path(directory).iterdir():
        descriptor = os.open(file, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)
    try:
        Path("/proc/sys/vm/drop_caches").write_text("3")
    except OSError:
        return "posix_fadvise on its files (not root)"
    return "all page caches dropped"


# ----------------------------------------------------------------------------------------------------------- all of them


def planned(options: argparse.Namespace) -> list[Figure]:
    gib = options.gib if options.gib is not None else QUICK_GIB if options.quick else 16.0
    target = int(gib * GIB)
    chosen = []
    for figure in FIGURES.values():
        if options.only and figure.name not in options.only:
            continue
        made = replace(figure, target=target, retention=max(MIB, min(figure.retention, target // 8 // figure.topics)))
        if options.quick:
            made = replace(made, seconds=8.0, at_most=made.name in ("topics", "sync_each"))
            made = made if made.at_most else replace(made, seconds=0.0)
        chosen.append(made)
    return chosen


def limit_of(figure: Figure, directory: str, quick: bool) -> Limit:
    """One of the two: together they write as much as the figure."""
    if figure.schedule == "sync_each":
        return flushed_writes(directory, 2.0 if quick else 10.0)
    return sequential_writes(directory, max(figure.target // 2, LIMIT_BYTES_LEAST))


def run_one(figure: Figure, base: str, quick: bool) -> dict[str, Any]:
    """Limit, figure, comparison; nothing of it is left."""
    print(f"{figure.title} ...", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(prefix="walrus-bench-", dir=base) as directory:
        limits = [limit_of(figure, directory, quick)]
        path = os.path.join(directory, "log")
        result = in_new_process(measure, figure, path)
        limits.append(limit_of(figure, directory, quick))
        result["caches"] = drop_caches(path)
        result["compared"] = in_new_process(compare, figure, path, result["counts"])
    limit = max(limits, key=lambda one: one.per_second)
    shares = "entries_per_s" if limit.unit == "1/s" else "payload_bytes_per_s"
    result.update(name=figure.name, title=figure.title, limit=asdict(limit), share_of_limit=result[shares] / limit.per_second)
    result["limits"] = [one.per_second for one in limits]
    if limit.unit == "B/s":
        result["written_share_of_limit"] = result["written_bytes_per_s"] / limit.per_second
    return result


def machine(base: str) -> dict[str, Any]:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": model or platform.machine(), "cpus": len(os.sched_getaffinity(0)), "memory_bytes": memory,
        "kernel": platform.release(), "python": platform.python_version(), "walrus": walrus.__version__,
        "free_bytes": shutil.disk_usage(base).free, "load_average": os.getloadavg()[0],
    }  # fmt: skip


def run(options: argparse.Namespace) -> bool:
    """Everything asked for; prints a table as it goes. True where a comparison failed."""
    base = os.path.abspath(options.directory)
    if options.gib is not None and not options.gib > 0:
        raise ValueError(f"--gib {options.gib:g}: above 0")
    report: dict[str, Any] = {"machine": machine(base), "quick": options.quick, "figures": [], "failures": []}
    facts = report["machine"]
    print(f"{facts['cpu']}, {facts['cpus']} CPUs, {facts['memory_bytes'] / GIB:.0f} GiB, Linux {facts['kernel']}, "
          f"Python {facts['python']}, walrus {facts['walrus']}")
    if facts["load_average"] > BUSY_LOAD * facts["cpus"]:
        print(f"the machine is busy (load average {facts['load_average']:.1f}): these figures and limits mean little")
    copied = copying()
    report["memcpy"] = asdict(copied)
    print(f"{copied.what}: {copied.per_second / 1e9:.1f} GB/s\n")
    for figure in planned(options):
        try:
            result = run_one(figure, base, options.quick)
        except WalrusError as failure:
            report["failures"].append({"name": figure.name, "what": str(failure)})
            print(f"{figure.title}: FAILED: {failure}\n")
            continue
        report["figures"].append(result)
        print_result(result)
    if not options.only or OPENING in options.only:
        report_opening(options, base, report)
    if options.json:
        Path(options.json).write_text(json.dumps(report, indent=1) + "\n")
    return bool(report["failures"])


def report_opening(options: argparse.Namespace, base: str, report: dict[str, Any]) -> None:
    """As run(), for the log whose writer is killed."""
    gib = options.gib if options.gib is not None else OPENING_QUICK_GIB if options.quick else OPENING_GIB
    try:
        opened = run_opening(base, gib)
    except WalrusError as failure:
        report["failures"].append({"name": OPENING, "what": str(failure)})
        print(f"open after SIGKILL: FAILED: {failure}\n")
        return
    report["figures"].append(opened)
    print(f"{opened['title']}\n  {opened['open_s']:.3f} s by a new process, {opened['caches']}: {opened['entries']:,} entries, "
          f"{opened['log_file_bytes'] / GIB:.1f} GiB in {opened['log_files']} log files; both ends and the middle compared\n")


def print_result(result: dict[str, Any]) -> None:
    """A figure, its limit, and what the log said of itself."""
    limit, stats, compared = result["limit"], result["stats"], result["compared"]
    before, after = result["limits"]
    if limit["unit"] == "B/s":
        of_limit = f"{limit['per_second'] / 1e6:,.0f} MB/s (before {before / 1e6:,.0f}, after {after / 1e6:,.0f})"
        share = f"payload {result['share_of_limit']:.0%}, written {result['written_share_of_limit']:.0%}"
    else:
        of_limit = f"{limit['per_second']:,.0f}/s (before {before:,.0f}, after {after:,.0f})"
        share = f"{result['share_of_limit']:.0%}"
    unsteady = "; the limit is UNSTEADY" if max(before, after) > UNSTEADY * min(before, after) else ""
    payload, written = result["payload_bytes_per_s"] / 1e6, result["written_bytes_per_s"] / 1e6
    direct = stats["direct_bytes"] / max(1, stats["written_bytes"])
    requests = stats["submitted"] / max(1, stats["submissions"])
    print(result["title"])
    for line in (
        f"{result['entries_per_s']:,.0f} entries/s; payload {payload:,.0f} MB/s, written {written:,.0f} MB/s",
        f"limit: {of_limit}, {limit['what']}: {share} of it{unsteady}",
        f"{sum(result['counts']):,} entries in {result['seconds']:.1f} s; {result['io']}, {stats['written_bytes'] / GIB:.1f} GiB "
        f"written, {direct:.0%} by O_DIRECT",
        f"{stats['extents']:,} extents, {requests:.1f} SQEs a submission (most {stats['submitted_max']:,}), "
        f"{stats['flushes']:,} flushes, {stats['records']:,} journal records",
        f"{stats['room_waits']:,} waits for room ({stats['room_wait_ns'] / 1e9:.2f} s); log files: "
        f"{stats['log_files_created']} made, {stats['log_files_recycled']} recycled",
        f"memory: {result['peak_bytes_without_staging'] / 1e6:,.0f} MB at most, over interpreter, payloads and staging",
        f"reopened by a new process in {compared['open_s']:.2f} s, {result['caches']}: all {compared['entries']:,} entries kept "
        f"({compared['bytes']:,} bytes) are equal to what was appended",
    ):
        print("  " + line)
    print(flush=True)
