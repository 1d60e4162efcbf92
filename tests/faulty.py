"""A workload on a faulty disk, on the debug build: its n-th operation of a kind fails, then the log is opened again and
compared.

As a program: python -m tests.faulty DIRECTORY WAY FAULT, the fault with {n} where the number goes: "flush:{n}:EIO".
It runs once for each of some n, from the first operation of the kind to the last, and prints what came of it as JSON:
{"outcome": how often}.
"""
import errno
import itertools
import json
import random
import shutil
import sys
import time
from collections import Counter
from pathlib import Path

import walrus
from tests.native.device_build import load_device_probe

SMALL = {"staging_bytes": 1 << 20, "log_file_bytes": 256 << 10, "journal_file_bytes": 128 << 10,
         "fsync_schedule": walrus.FsyncSchedule.NoFsync}
RUNS_MAX = 16
FAILED = (walrus.LogFailedError, walrus.StorageFullError)


class Oracle:
    """What was appended to each topic, in order, and up to where it is durable."""

    def __init__(self):
        self.appended = {"a": [], "b": [], "large": []}
        self.durable = dict.fromkeys(self.appended, 0)
        self.random = random.Random(1)

    def append(self, log, name, sizes):
        """One batch. One that raises is noted too: it may be there, as a whole; but not where there was no space."""
        batch = [self.random.randbytes(size) for size in sizes]
        self.appended[name].append(batch)
        try:
            log.topic(name).append_batch(batch)
        except walrus.StorageFullError:
            assert log.topic(name).end_offset == sum(map(len, self.appended[name][:-1]))
            self.appended[name].pop()
            raise

    def sync(self, log):
        ends = {name: log.topic(name).end_offset for name in self.appended}
        log.sync()
        self.durable = ends

    def check(self, log, whole=False):
        """Each topic is a run of whole batches from the first, all that is durable among them."""
        for name, batches in self.appended.items():
            found = [entry.data for entry in log.topic(name).read()]
            ends = [0, *itertools.accumulate(map(len, batches))]
            assert len(found) in ends, f"part of a batch of {name}: {len(found)} of {ends}"
            assert found == list(itertools.chain(*batches))[:len(found)], f"other bytes in {name}"
            assert len(found) >= self.durable[name], f"lost of {name}: {len(found)}, durable {self.durable[name]}"
            if whole:
                assert len(found) == ends[-1], f"lost what was acknowledged of {name}: {len(found)} of {ends[-1]}"

    def forget_unknown(self, log):
        """What raised is not there, or it is: from here on that is known."""
        for name, batches in self.appended.items():
            end = log.topic(name).end_offset
            while sum(map(len, batches)) > end:
                batches.pop()


def at_once(action, *arguments):
    action(*arguments)


def when_there_is_room(action, *arguments):
    """A log on a disk that was full looks again by itself, about ten times a second."""
    deadline = time.monotonic() + 10
    while True:
        try:
            return action(*arguments)
        except walrus.StorageFullError:
            assert time.monotonic() < deadline, "still full"
            time.sleep(0.01)


def work(log, oracle, do=at_once):
    for round_ in range(12):
        do(oracle.append, log, "a", [100] * 20)
        do(oracle.append, log, "b", [3000, 0, 1])
        do(oracle.append, log, "large", [90_000 if round_ % 3 else 200_000])
        if round_ % 2:
            do(oracle.sync, log)


def refuses(log, oracle, error):
    """A failed log: nothing is appended or called durable, no flush is tried again, what is durable can be read."""
    assert error.errno in (errno.EIO, errno.ENOSPC) and error.path == log.path, error
    assert log.stats().failed
    time.sleep(0.02)                # another thread's flush, of another file, may have been under way
    flushes = log.stats().flushes
    for attempt in (log.sync, lambda: log.topic("a").append(b"x"), lambda: log.topic("b").append_batch([b"x"] * 3),
                    lambda: log.topic("new").append(b"x"), log.sync):
        try:
            attempt()
        except walrus.LogFailedError:
            continue
        raise AssertionError("a failed log took something on")
    assert log.stats().flushes == flushes, "a flush was tried again"
    for name in oracle.appended:
        topic = log.topic(name)
        assert topic.durable_offset <= topic.end_offset
        assert sum(1 for _ in topic.read()) == topic.durable_offset
    oracle.check(log)


def goes_on(log, oracle):
    """There is room again: everything works, nothing that was acknowledged is missing."""
    oracle.forget_unknown(log)
    work(log, oracle, when_there_is_room)
    oracle.check(log, whole=True)


def run(path, way, set_faults, fault):
    """What came of it: an outcome in words."""
    oracle = Oracle()
    shutil.rmtree(path, ignore_errors=True)
    set_faults(fault)
    try:
        log = walrus.open(path, backend=way, **SMALL)
    except OSError as error:
        outcome = f"open: {type(error).__name__}"
    else:
        outcome = worked(log, oracle, set_faults)
    set_faults(b"")
    with walrus.open(path, backend=way, **SMALL) as log:
        oracle.check(log)
        goes_on(log, oracle)
    with walrus.open(path, backend=way, **SMALL) as log:
        assert not log.recovery.unclean
        oracle.check(log, whole=True)
    return outcome


def worked(log, oracle, set_faults):
    outcome = "unseen"
    try:
        work(log, oracle)
    except walrus.LogFailedError as error:
        refuses(log, oracle, error)
        outcome = "LogFailedError"
    except walrus.StorageFullError:
        assert not log.stats().failed
        oracle.check(log)
        set_faults(b"")
        goes_on(log, oracle)
        outcome = "StorageFullError"
    try:
        log.close()
    except FAILED as error:
        at_close = type(error).__name__
        if outcome == "unseen":
            return f"close: {at_close}"
        assert outcome == at_close, f"{outcome}, and at close {at_close}"
    return outcome


def operations(path, way, kind):
    """How many there are of a kind when nothing fails, opening and closing included."""
    oracle = Oracle()
    shutil.rmtree(path, ignore_errors=True)
    with walrus.open(path, backend=way, **SMALL) as log:
        work(log, oracle)
    stats = log.stats()
    return {"flush": stats.flushes, "write": stats.writes, "complete": stats.extents,
            "submit": stats.submissions}.get(kind, 4 + stats.log_files_created)


def main(directory, way, fault):
    set_faults = load_device_probe().set_faults
    path = Path(directory) / "faulty"
    assert set_faults(b"") == 0
    count = operations(path, way, fault.split(":")[0])
    spread = (1 + (count - 1) * i // RUNS_MAX for i in range(RUNS_MAX))
    chosen = sorted({*range(1, 5), *spread} & set(range(1, count + 1)))
    outcomes = Counter()
    for n in chosen:
        try:
            outcomes[run(path, way, set_faults, fault.format(n=n).encode())] += 1
        except BaseException as error:
            error.add_note(f"fault {fault.format(n=n)}, way {way}")
            raise
    shutil.rmtree(path)
    print(json.dumps(outcomes))


if __name__ == "__main__":
    main(*sys.argv[1:])
