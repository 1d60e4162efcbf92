"""The measuring loops for rivals that Python calls. A rival is a class with the methods of `Store`; the loops are the
same for all.

Run as ``python -m rivals.NAME.driver key=value ...``; see ``rivals/job.py`` for the arguments.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

from .job import Histogram, Job, Memory, cpu_seconds, make_pool, percentiles

__all__ = ["Store", "main"]

CHECK_EVERY: Final = 256  # entries between two looks at the flag, which costs less than one append
SERIES_SECONDS: Final = 0.5
TICK_SECONDS: Final = 0.02


class Store:
    """A rival. Opening it is its constructor. What it has no way to do raises NotImplementedError, which the harness
    never asks for."""

    def __init__(self, job: Job) -> None:
        raise NotImplementedError

    def appender(self, topic: int) -> Callable[[bytes], Any]:
        """Appends one entry; it is as durable as ``job.durability`` says when the call returns."""
        raise NotImplementedError

    def batch_appender(self, topic: int) -> Callable[[list[bytes]], Any]:
        """Appends a list of entries, all or nothing where the rival can."""
        raise NotImplementedError

    def sync(self) -> None:
        """All that was appended is on the disk when it returns."""
        raise NotImplementedError

    def next_reader(self, topic: int) -> Callable[[], bytes | None]:
        """Takes one entry, its position kept as ``job.mode`` says."""
        raise NotImplementedError

    def batches(self, topic: int) -> Iterator[tuple[int, int]]:
        """Reads a topic from its first entry to its end, ``job.call_bytes`` at a time; gives (entries, payload bytes)
        of each."""
        raise NotImplementedError

    def first(self, topic: int) -> int:
        """The length of the topic's oldest entry: what a reopened log must be able to give."""
        raise NotImplementedError

    def own_figures(self) -> dict[str, Any]:
        """What else it says of itself."""
        return {}

    def close(self) -> None:
        """A clean end."""
        raise NotImplementedError


class Turns:
    """The pool cut into what a thread appends between two looks at the clock; made once, before anything is timed."""

    def __init__(self, job: Job) -> None:
        self.pool = make_pool(job)
        if job.batch > 1:
            long_enough = self.pool * -(-job.batch // len(self.pool))
            self.groups = [
                long_enough[at : at + job.batch] for at in range(0, len(long_enough) - job.batch + 1, job.batch)
            ]
        else:
            self.groups = [self.pool[at : at + job.stride] for at in range(0, len(self.pool), job.stride)]
        self.sizes = [sum(map(len, group)) for group in self.groups]

    def beginning_at(self, number: int) -> Iterator[tuple[list[bytes], int]]:
        """Groups and their sizes, for ever; each thread begins with another one."""
        at = number * 1009 % len(self.groups)
        while True:
            yield from zip(self.groups[at:], self.sizes[at:], strict=True)
            at = 0


class Worker:
    """One appending thread: counts, latencies, and what went wrong."""

    def __init__(self, job: Job, turns: Turns, topic: int, share: int) -> None:
        self.job, self.turns, self.topic, self.share = job, turns, topic, share
        self.entries = self.payload = 0
        self.histogram = Histogram()
        self.failure: BaseException | None = None

    def run(self, store: Store, begin: threading.Barrier, stop: threading.Event) -> None:
        try:
            if self.job.batch > 1:
                append_batch = store.batch_appender(self.topic)
                begin.wait()
                self._in_batches(append_batch, stop)
                return
            # One thread that appends a number of entries goes round all topics.
            turns = self.job.topics if self.share and self.job.threads == 1 else 1
            appenders = [store.appender(self.topic + turn) for turn in range(turns)]
            begin.wait()
            if self.share:
                self._so_many(appenders, stop)
            else:
                self._one_by_one(appenders[0], stop)
        except BaseException as failure:
            self.failure = failure
            stop.set()
            begin.abort()

    def _one_by_one(self, append: Callable[[bytes], Any], stop: threading.Event) -> None:
        add, clock = self.histogram.add, time.perf_counter_ns
        looks_left = looks = max(1, CHECK_EVERY // self.job.stride) if self.job.durability != "each" else 1
        for group, size in self.turns.beginning_at(self.topic):
            began = clock()
            append(group[0])
            add(clock() - began)
            for data in group[1:]:
                append(data)
            self.entries += len(group)
            self.payload += size
            looks_left -= 1
            if looks_left == 0:
                looks_left = looks
                if stop.is_set():
                    return

    def _so_many(self, appenders: list[Callable[[bytes], Any]], stop: threading.Event) -> None:
        pool, turns = self.turns.pool, len(appenders)
        for number in range(self.share):
            data = pool[number % len(pool)]
            appenders[number % turns](data)
            self.entries += 1
            self.payload += len(data)
            if stop.is_set():
                return

    def _in_batches(self, append: Callable[[list[bytes]], Any], stop: threading.Event) -> None:
        add, clock = self.histogram.add, time.perf_counter_ns
        for group, size in self.turns.beginning_at(self.topic):
            began = clock()
            append(group)
            add(clock() - began)
            self.entries += len(group)
            self.payload += size
            if stop.is_set() or 0 < self.share <= self.entries:
                return


def append_all(store: Store, job: Job, workers: list[Worker]) -> tuple[float, list[list[float]]]:
    """Runs the threads to their end: seconds it took, and (seconds, entries so far) now and then."""
    begin, stop = threading.Barrier(len(workers) + 1), threading.Event()
    threads = [threading.Thread(target=worker.run, args=(store, begin, stop)) for worker in workers]
    for thread in threads:
        thread.start()
    begin.wait()
    began = time.perf_counter()
    series: list[list[float]] = []
    while not stop.is_set() and any(thread.is_alive() for thread in threads):
        time.sleep(TICK_SECONDS)
        took = time.perf_counter() - began
        if took >= (len(series) + 1) * SERIES_SECONDS:
            series.append([round(took, 3), sum(worker.entries for worker in workers)])
        full = 0 < job.max_bytes <= sum(worker.payload for worker in workers)
        if full or (job.entries == 0 and took >= job.seconds):
            stop.set()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - began
    for worker in workers:
        if worker.failure is not None:
            raise worker.failure
    return took, series


def run_append(make: type[Store], job: Job) -> dict[str, Any]:
    """Threads, a topic each, for some seconds, or a number of entries or bytes."""
    turns = Turns(job)
    workers = [Worker(job, turns, number % job.topics, -(-job.entries // job.threads)) for number in range(job.threads)]
    memory = Memory()
    store = make(job)
    cpu = cpu_seconds()
    took, series = append_all(store, job, workers)
    cpu_appending = cpu_seconds() - cpu
    began = time.perf_counter()
    store.sync()
    synced = time.perf_counter() - began
    result = {
        "entries": sum(worker.entries for worker in workers),
        "bytes": sum(worker.payload for worker in workers),
        "seconds": took,
        "sync_seconds": synced,
        "cpu_seconds": cpu_appending,
        "cpu_seconds_with_sync": cpu_seconds() - cpu,
        "latency_ns": percentiles([worker.histogram for worker in workers]),
        "series": series,
        **memory.report(),
    }
    if job.end == "wait":
        wait_to_be_killed(result)
    store.close()
    return {**result, **store.own_figures()}


def wait_to_be_killed(result: dict[str, Any]) -> None:
    """The harness reads this line and sends SIGKILL."""
    print(json.dumps(result), flush=True)
    signal.pause()


def run_topics(make: type[Store], job: Job) -> dict[str, Any]:
    """One entry in each of many topics that exist, in turn, then a sync; again and again. Medians of a turn."""
    pool = make_pool(job)
    memory = Memory()
    store = make(job)
    appenders = [store.appender(topic) for topic in range(job.topics)]
    appending: list[float] = []
    syncing: list[float] = []
    entries = 0
    cpu, began, deadline = 0.0, 0.0, 0.0
    turn = 0
    while turn < 3 or time.perf_counter() < deadline:
        if turn == 1:  # the first makes the topics
            cpu, began = cpu_seconds(), time.perf_counter()
            deadline = began + job.seconds
        started = time.perf_counter()
        for number, append in enumerate(appenders):
            append(pool[(turn + number) % len(pool)])
        appended = time.perf_counter()
        store.sync()
        ended = time.perf_counter()
        if turn > 0:
            appending.append(appended - started)
            syncing.append(ended - appended)
            entries += job.topics
        turn += 1
    took = time.perf_counter() - began
    result = {
        "entries": entries,
        "bytes": entries * job.max,
        "seconds": took,
        "cpu_seconds": cpu_seconds() - cpu,
        "turns": turn - 1,
        "append_seconds_median": sorted(appending)[len(appending) // 2],
        "sync_seconds_median": sorted(syncing)[len(syncing) // 2],
        **memory.report(),
    }
    store.close()
    return result


def run_next(make: type[Store], job: Job) -> dict[str, Any]:
    """Takes entries one by one out of a topic that was filled before."""
    pool = make_pool(job)
    memory = Memory()
    store = make(job)
    append = store.appender(0)
    for number in range(job.entries):
        append(pool[number % len(pool)])
    store.sync()
    take, histogram, clock = store.next_reader(0), Histogram(), time.perf_counter_ns
    taken = payload = 0
    cpu, began = cpu_seconds(), clock()
    deadline = began + int(job.seconds * 1e9)
    now = began
    while now < deadline and taken < job.entries:
        data = take()
        if data is None:
            raise SystemExit(f"entry {taken} of {job.entries} was not given")
        after = clock()
        histogram.add(after - now)
        now = after
        taken += 1
        payload += len(data)
    result = {
        "entries": taken,
        "bytes": payload,
        "seconds": (now - began) / 1e9,
        "cpu_seconds": cpu_seconds() - cpu,
        "latency_ns": percentiles([histogram]),
        **memory.report(),
    }
    store.close()
    return result


def run_read(make: type[Store], job: Job) -> dict[str, Any]:
    """Reads topic 0 from end to end; hot: once before that, untimed."""
    memory = Memory()
    began = time.perf_counter()
    store = make(job)
    opened = time.perf_counter() - began
    if job.hot:
        for _ in store.batches(0):
            pass
    entries = payload = 0
    cpu, began = cpu_seconds(), time.perf_counter()
    for count, size in store.batches(0):
        entries += count
        payload += size
    took = time.perf_counter() - began
    if entries != job.entries:
        raise SystemExit(f"{entries} entries were read, {job.entries} were appended")
    result = {
        "entries": entries,
        "bytes": payload,
        "seconds": took,
        "cpu_seconds": cpu_seconds() - cpu,
        "open_seconds": opened,
        **memory.report(),
    }
    store.close()
    return result


def run_reopen(make: type[Store], job: Job) -> dict[str, Any]:
    """Opens what is there; each topic's oldest entry must come out of it."""
    memory = Memory()
    cpu, began = cpu_seconds(), time.perf_counter()
    store = make(job)
    opened = time.perf_counter() - began
    payload = sum(store.first(topic) for topic in range(job.topics))
    usable = time.perf_counter() - began
    result = {
        "entries": job.topics,
        "bytes": payload,
        "seconds": usable,
        "open_seconds": opened,
        "cpu_seconds": cpu_seconds() - cpu,
        **memory.report(),
    }
    store.close()
    return result


KINDS: Final = {"append": run_append, "topics": run_topics, "next": run_next, "read": run_read, "reopen": run_reopen}


def main(make: type[Store]) -> None:
    """Does what the command line says, prints the line of JSON."""
    job = Job.parse(sys.argv[1:])
    print(json.dumps(KINDS[job.kind](make, job)), flush=True)
