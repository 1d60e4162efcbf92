"""One hot path of walrus on a small log: what ci/gate.py runs under callgrind. Uses the public API alone, so that it
runs on older commits too.

    python ci/gate_workload.py prepare DIRECTORY     outside callgrind: the logs that reading and recovery start from
    python ci/gate_workload.py PATH DIRECTORY        one path of PATHS

What could depend on the time of day or on the speed of the disk is kept out: payloads are fixed, staging holds all
that is appended, chunks are of a size that is reached at once, and what is read lies in log files, closed before.
"""

import gc
import os
import signal
import sys
import time

import walrus
from walrus import FsyncSchedule, ReadConsistency

ENTRY = bytes(range(100))
APPENDS = 4_000
BATCH_ENTRIES = 500
BATCHES = 20
TOPICS = 50
OPTIONS = {
    "fsync_schedule": FsyncSchedule.NoFsync,
    "staging_bytes": 16 << 20,
    "log_file_bytes": 4 << 20,
    "journal_file_bytes": 1 << 20,
    "chunk_bytes_max": 64 << 10,
    "backend": "pwrite",
}


def append(log, topic):
    for _ in range(APPENDS):
        topic.append(ENTRY)


def append_batch(log, topic):
    batch = [ENTRY] * BATCH_ENTRIES
    for _ in range(BATCHES):
        topic.append_batch(batch)


def read_batch(log, topic):
    cursor = topic.cursor("c")
    read = 0
    while batch := cursor.read_batch(1 << 18):
        read += len(batch)
    assert read == topic.end_offset


def to_bytes(log, topic):
    cursor = topic.cursor("c")
    while batch := cursor.read_batch(1 << 18):
        assert batch.tolist()[0] == ENTRY


def read_next(log, topic):
    read = 0
    while log.read_next("t") is not None:
        read += 1
    assert read == APPENDS


def recovery(log, topic):
    assert log.recovery.unclean
    assert log.recovery.chunks_adopted
    assert log.topic("3").end_offset == 40


PATHS = {
    "append": append,
    "append_batch": append_batch,
    "read_batch": read_batch,
    "to_bytes": to_bytes,
    "read_next": read_next,
    "recovery": recovery,
}
BEGINS_WITH = {"read_batch": "batches", "to_bytes": "batches", "read_next": "singles", "recovery": "killed"}


def written(log):
    """Waits until every sealed chunk lies in a log file: what recovery then finds does not hang on the disk's speed."""
    before = None
    while before != (now := log.stats().written_bytes):
        before = now
        time.sleep(0.1)


def killed(directory):
    """A log whose writer is gone: entries in log files, in the journal and in staging."""
    log = walrus.open(directory, **OPTIONS)
    for part in range(4):
        for number in range(TOPICS):
            log.topic(str(number)).append_batch([ENTRY] * 10)
        if part == 1:
            log.sync()
        written(log)
    big = log.topic("t")
    for part in range(BATCHES):
        big.append_batch([ENTRY] * BATCH_ENTRIES)
        if part % 5 == 4:
            written(log)
    os.kill(os.getpid(), signal.SIGKILL)


def prepare(directory):
    for name, path in (("singles", append), ("batches", append_batch)):
        with walrus.open(os.path.join(directory, name), **OPTIONS) as log:
            path(log, log.topic("t"))
    child = os.fork()
    if child == 0:
        killed(os.path.join(directory, "killed"))
    os.waitpid(child, 0)


def main(path, directory):
    os.environ["WALRUS_QUIET"] = "1"
    if path == "prepare":
        return prepare(directory)
    gc.disable()  # a collection would fall into the one or the other path as the heap happens to be
    begins_with = BEGINS_WITH.get(path, path)
    consistency = ReadConsistency.AtLeastOnce(1_000)
    with walrus.open(os.path.join(directory, begins_with), consistency=consistency, **OPTIONS) as log:
        PATHS[path](log, log.topic("t"))


if __name__ == "__main__":
    main(*sys.argv[1:])
