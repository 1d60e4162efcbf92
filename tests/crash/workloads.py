"""Small workloads whose every device operation is traced; marks tell in the same trace what was promised, and when.

Run as a process of the debug build: python -m tests.crash.workloads NAME DIRECTORY TRACE SEED BACKEND [PROCESS [COPIES [STOP]]].
It goes on with what is in the directory, if PROCESS (how many worked there before) is not 0; COPIES is how many copies of the mapped
files those left; it dies at mark STOP. Marks:
  ["begin", topic, first, count, cuts]   an append or batch is about to be made, after that many truncations
  ["cut", topic, offset], ["cut done", topic, offset]   a truncation is about to be made, has returned
  ["durable", topic, end]          a sync (or an append under SyncEach) has returned: all below `end` is durable
  ["cursor", topic, value]         a commit is about to be made
  ["cursor durable", topic, value] ... and a sync has returned since
  ["recovered", topic, end, durable, value]  a process that goes on behind a crash found this end, durable offset, cursor
  ["mapped", number]               what the mapped files held just now was copied beside the trace, as NAME.number
"""
import contextlib
import json
import os
import random
import struct
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import walrus
from walrus import FsyncSchedule

MAGIC, MARK = 0x52545257, 16
CUTS_MAX = 4000                 # of a process
NAMES = ("a", "b", "long-topic-name-" * 6)


def payload(topic: int, offset: int, cuts: int = 0) -> bytes:
    """`cuts`: how often the topic had been truncated before: what is given out again has other bytes of the same length."""
    seed = (offset * 2654435761 + topic * 40503 + 12345) & 0xFFFFFFFF
    length = 9000 if seed % 61 == 0 else seed % 401
    head = struct.pack("<HHQ", topic, cuts, offset)
    return (head * (length // len(head) + 1))[:length]


# What of a mapped file a workload writes: its other pages are holes. Staging is small, control has its tables far apart.
RANGES = {"staging": [(0, 3 << 19)], "control": [(0, 4096), (1 << 20, 4096), (128 << 20, 4096), (256 << 20, 4096)]}


def mapped_read(path: Path) -> bytes:
    """The file's RANGES, one behind another; b"" if it is not there."""
    if not path.exists():
        return b""
    with path.open("rb") as file:
        return b"".join(os.pread(file.fileno(), size, at) for at, size in RANGES[path.name])


def mapped_write(path: Path, data: bytes) -> None:
    """A file that mapped_read() reads as `data`."""
    with path.open("wb") as file:
        for at, size in RANGES[path.name]:
            os.pwrite(file.fileno(), data[:size], at)
            data = data[size:]


class Teller:
    """Writes marks into the trace: one write each, so they stand in one order with the device's operations."""

    def __init__(self, path: str, stop: int) -> None:
        self.fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC)
        self.left = stop

    def __call__(self, *what: object) -> None:
        data = json.dumps(what).encode()
        os.write(self.fd, struct.pack("<IIIIQQQ", MAGIC, MARK, 0, 0, 0, len(data), 0) + data)
        self.left -= 1
        if self.left == 0:
            os._exit(0)                             # as SIGKILL does, with writes in flight or without


class Load:
    """A log with small files, so that every roll happens; and what the workloads do to it."""

    def __init__(self, directory: str, trace: str, seed: int, backend: str, schedule: object,
                 retention: str | None, process: int = 0, copies: int = 0, stop: int = 0) -> None:
        self.rng, self.tell, self.directory = random.Random(seed), Teller(trace, stop), directory
        self.each = schedule is FsyncSchedule.SyncEach
        self.options = {"fsync_schedule": schedule, "backend": backend, "staging_bytes": 1 << 20,
                        "log_file_bytes": 1 << 18, "journal_file_bytes": 1 << 17, "chunk_bytes_max": 1 << 14,
                        "retention": retention, "timeout": 30}
        self.trace, self.copies = trace, copies
        # What is given out again after a crash is told from what was there before, as it is after a truncation.
        self.cuts = [process * CUTS_MAX] * len(NAMES)
        self.open()
        self.borders = [[end] for end in self.ends]
        if process:
            for i, topic in enumerate(self.topics):
                self.tell("recovered", i, self.ends[i], topic.durable_offset, topic.cursor("c").committed)

    def copy_mapped(self) -> None:
        """What a power cut may leave of the mapped files is any mixture of pages that they held until then."""
        for name in ("control", "staging"):         # counted by the last one, and whole: the process may be killed meanwhile
            copy = Path(f"{self.trace}.{name}.{self.copies}")
            copy.with_name("copy").write_bytes(mapped_read(Path(self.directory) / name))
            copy.with_name("copy").rename(copy)
        self.tell("mapped", self.copies)
        self.copies += 1

    def open(self) -> None:
        self.log = walrus.open(self.directory, **self.options)
        self.topics = [self.log.topic(name) for name in NAMES]
        self.ends = [topic.end_offset for topic in self.topics]

    def append(self, i: int, count: int = 1, copies: bool = True) -> None:
        first = self.ends[i]
        cuts = self.cuts[i]
        self.tell("begin", i, first, count, cuts)
        if count == 1:
            self.topics[i].append(payload(i, first, cuts))
        else:
            self.topics[i].append_batch([payload(i, first + k, cuts) for k in range(count)])
        self.borders[i].append(first + count)
        self.ends[i] += count
        if self.each:
            self.tell("durable", i, self.ends[i])
        if copies and self.rng.random() < 0.12:
            self.copy_mapped()

    def cut(self, i: int) -> None:
        """Drops the last few frames."""
        del self.borders[i][max(1, len(self.borders[i]) - self.rng.randint(1, 4)):]
        offset = self.borders[i][-1]
        self.tell("cut", i, offset)
        self.topics[i]._truncate(offset)
        self.tell("cut done", i, offset)
        self.ends[i] = offset
        self.cuts[i] += 1

    def commit(self, i: int, value: int) -> None:
        """To `value`, or to the oldest entry that is kept."""
        value = max(value, self.topics[i].oldest_offset)
        self.tell("cursor", i, value)
        with contextlib.suppress(walrus.OffsetOutOfRange):      # entries are given up meanwhile
            self.topics[i].cursor("c").commit(value)

    def sync(self, topics: int = len(NAMES)) -> None:
        """What it makes durable is told of the first `topics`."""
        ends, values = self.ends[:topics], [topic.cursor("c").committed for topic in self.topics[:topics]]
        self.log.sync()
        for i, end in enumerate(ends):
            self.tell("durable", i, end)
            self.tell("cursor durable", i, values[i])

    def reopen(self) -> None:
        self.copy_mapped()                          # the control table is flushed as it is
        self.log.close()
        for i, end in enumerate(self.ends):
            self.tell("durable", i, end)
        self.open()


def appends(load: Load) -> None:
    """Appends and batches, a sync now and then; several log files are filled."""
    for step in range(260):
        i = load.rng.randrange(len(NAMES))
        load.append(i, load.rng.choice((1, 1, 1, 2, 7, 60)))
        if step % 9 == 0:
            load.sync()


def cursors(load: Load) -> None:
    for step in range(160):
        i = load.rng.randrange(len(NAMES))
        load.append(i, load.rng.choice((1, 3)))
        load.commit(i, load.rng.randint(0, load.ends[i]))
        if step % 7 == 0:
            load.sync()


def recycling(load: Load) -> None:
    """Consumed entries go, files are used again."""
    for step in range(300):
        i = load.rng.randrange(2)
        load.append(i, 20)
        if step % 5 == 0:
            for k in range(len(NAMES)):
                load.commit(k, load.ends[k])
                if load.rng.random() < 0.3:         # and back again, before anything is given up
                    load.commit(k, max(load.topics[k].oldest_offset, load.ends[k] - load.rng.randint(0, 90)))
            if load.rng.random() < 0.7:
                load.sync()
            load.log.reclaim()
    for step in range(24):                          # a file for a few batches
        load.append(step % 2, 150)
        if step % 3 == 2:
            for k in range(2):
                load.commit(k, load.ends[k])
        load.sync()
        load.log.reclaim()


def journal(load: Load) -> None:
    """Many small syncs: the ring of journal files comes round while chunks are open, long after a cursor was committed."""
    for step in range(330):
        load.append(load.rng.choice((0, 0, 0, 1)), load.rng.choice((1, 1, 2)))
        if step in (5, 120):
            load.append(2)
            load.commit(2, load.rng.randint(0, load.ends[2]))
        if step % 3 == 0:
            load.commit(0, load.rng.randint(0, load.ends[0]))
        load.sync()


def laps(load: Load) -> None:
    """A record of each sync is a quarter of a journal file. So one and the same makes the log prepare the next file of the
    ring, and is the last to fit: the file is written over at once, by the next sync. What lies in it alone is of a topic
    that gets an entry now and then."""
    for step in range(80):
        for i in range(2):
            size = 15_801
            while size > 15_800:                    # what a large entry is too much for becomes an extent
                count, size = 0, 0
                while size < 14_300:
                    size += len(payload(i, load.ends[i] + count, load.cuts[i])) + 4
                    count += 1
                load.append(i, count - 1 if size > 15_800 else count)
        if step % 4 == 0:
            load.append(2)
            load.commit(2, load.rng.randint(0, load.ends[2]))
        load.sync()


def consumed(load: Load) -> None:
    """Consumed entries are given up by the log itself, long before the schedule's sync."""
    for _ in range(8):
        for _ in range(12):
            load.append(load.rng.randrange(2), 60)
        for i in range(2):
            load.commit(i, load.ends[i])
        load.sync()
        for _ in range(3):
            time.sleep(0.06)
            load.append(load.rng.randrange(2), 200)


def punched(load: Load) -> None:
    """Files of which a little lives on: holes are punched around it. It is synced only after another snapshot."""
    for _ in range(12):
        for _ in range(load.rng.randrange(12, 20)):
            load.append(load.rng.randrange(2), 40)
        for i in range(2):
            load.commit(i, load.ends[i])
        load.sync()
        load.log.reclaim()
        load.append(2, 120)                         # more than a chunk: most of it never is in the journal
        for _ in range(load.rng.randrange(20, 32)):
            load.append(load.rng.randrange(2), 40)
        load.sync()


def truncations(load: Load) -> None:
    """Appends, and truncations to a frame's border, with and without a sync before and behind them."""
    for step in range(150):
        i = load.rng.randrange(2)
        load.append(i, load.rng.choice((1, 1, 3, 20)))
        if step % 11 == 0:
            load.sync()
        if step % 4 == 3:
            load.append(2, 200)                     # log files fill: snapshots
        if step % 6 == 5:
            load.cut(i)


def quiet(load: Load) -> None:
    """A thread truncates a topic again and again; no snapshot is taken meanwhile, and files are filled and used again."""
    done = threading.Event()

    def cut() -> None:
        while not done.is_set():
            load.append(2, 5, copies=False)
            load.cut(2)

    thread = threading.Thread(target=cut, daemon=True)
    thread.start()
    for step in range(160):
        load.append(load.rng.randrange(2), 25)
        if step % 6 == 5:
            for i in range(2):
                load.commit(i, load.ends[i])
            load.sync(2)
            load.log.reclaim()
        elif step % 2:
            load.sync(2)
    done.set()
    thread.join()


def large(load: Load) -> None:
    """Frames larger than a chunk, beside small ones."""
    for step in range(40):
        load.append(step % 3, load.rng.choice((1, 150, 300)))
        load.append((step + 1) % 3)
        if step % 4 == 0:
            load.sync()


def reopened(load: Load) -> None:
    for step in range(60):
        load.append(step % 3, load.rng.choice((1, 2, 40)))
        if step % 10 == 9:
            load.reopen()
        elif step % 4 == 0:
            load.sync()


WORKLOADS: dict[str, Callable[[Load], None]] = {f.__name__: f for f in (
    appends, cursors, journal, laps, truncations, quiet, recycling, consumed, punched, large, reopened)}
SCHEDULES = {"recycling": FsyncSchedule.Milliseconds(20), "consumed": FsyncSchedule.Milliseconds(10_000),
             "reopened": FsyncSchedule.SyncEach}    # NoFsync where none is named
CONSUMED = ("recycling", "consumed", "punched", "quiet")     # with retention="consumed"


def main(name: str, directory: str, trace: str, seed: str, backend: str, process: str = "0", copies: str = "0",
         stop: str = "0") -> None:
    load = Load(directory, trace, int(seed), backend, SCHEDULES.get(name, FsyncSchedule.NoFsync),
                "consumed" if name in CONSUMED else None, int(process), int(copies), int(stop))
    WORKLOADS[name](load)
    os._exit(0)                                     # no clean close: the last state of staging is what a kill leaves


if __name__ == "__main__":
    main(*sys.argv[1:])
