"""One hot path, over and over, for some seconds: something to profile, and to compare settings by.

    python asv_bench/hot.py PATH [--seconds S] [--entry-bytes N] [--set OPTION=VALUE ...]

Prints entries a second and ns an entry. An OPTION is one of walrus.open(), with an integer or text, or `schedule`
(each, none, milliseconds), or `persist_every` (0: StrictlyAtOnce). The log lies in a directory below --at (default:
the current one) and goes with the run; it keeps 256 MiB.
"""

import argparse
import tempfile
import time

import walrus
from walrus import FsyncSchedule, ReadConsistency

BATCH_ENTRIES = 2_000
READ_LOG_BYTES = 16 << 20  # half of the read cache: what is read is in memory


def option(text):
    name, _, value = text.partition("=")
    if name == "schedule":
        known = {"each": FsyncSchedule.SyncEach, "none": FsyncSchedule.NoFsync}
        return "fsync_schedule", known[value] if value in known else FsyncSchedule.Milliseconds(int(value))
    if name == "persist_every":
        return "consistency", ReadConsistency.AtLeastOnce(int(value)) if int(value) else ReadConsistency.StrictlyAtOnce
    return name, int(value) if value.isdigit() else value


def append(log, entry, given):
    append_to = log.topic("t").append
    while True:
        for _ in range(100):
            append_to(entry)
        yield 100


def batch(log, entry, given):
    topic, entries = log.topic("t"), [entry] * given.batch_entries
    while True:
        topic.append_batch(entries)
        yield given.batch_entries


def filled(log, entry, given):
    topic, entries = log.topic("t"), [entry] * BATCH_ENTRIES
    for _ in range(given.log_bytes // (len(entry) * BATCH_ENTRIES) or 1):
        topic.append_batch(entries)
    log.sync()
    return topic


def read(log, entry, given):
    topic = filled(log, entry, given)
    while True:
        offset = 0
        while result := topic.read_batch(offset, given.read_bytes):
            offset += len(result)
            yield len(result)


def read_bytes(log, entry, given):
    topic = filled(log, entry, given)
    while True:
        offset = 0
        while result := topic.read_batch(offset, given.read_bytes).tolist():
            offset += len(result)
            yield len(result)


def read_next(log, entry, given):
    filled(log, entry, given)
    while True:
        log.seek_for_topic("t", 0)
        read_to = 0
        while log.read_next("t") is not None:
            read_to += 1
            if read_to % 100 == 0:
                yield 100


PATHS = {"append": append, "batch": batch, "read": read, "read_bytes": read_bytes, "read_next": read_next}


def main():
    parser = argparse.ArgumentParser(description="One hot path, over and over.")
    parser.add_argument("path", choices=PATHS)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--entry-bytes", type=int, default=100)
    parser.add_argument("--batch-entries", type=int, default=BATCH_ENTRIES)
    parser.add_argument("--read-bytes", type=int, default=1 << 20, help="what one call of read_batch takes")
    parser.add_argument("--log-bytes", type=int, default=READ_LOG_BYTES, help="payload of the log that is read")
    parser.add_argument("--set", type=option, action="append", default=[], metavar="OPTION=VALUE")
    parser.add_argument("--at", default=".")
    given = parser.parse_args()
    options = {"retention": 256 << 20, **dict(given.set)}
    with (
        tempfile.TemporaryDirectory(prefix="walrus-hot-", dir=given.at) as directory,
        walrus.open(directory, **options) as log,
    ):
        entry = (bytes(range(256)) * (given.entry_bytes // 256 + 1))[: given.entry_bytes]
        rounds = PATHS[given.path](log, entry, given)
        next(rounds)
        done, began = 0, time.perf_counter()
        while (took := time.perf_counter() - began) < given.seconds:
            done += next(rounds)
    print(f"{given.path}: {done / took:,.0f} entries/s, {took / done * 1e9:,.1f} ns an entry")


if __name__ == "__main__":
    main()
