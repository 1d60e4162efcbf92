"""What the benchmarks have in common: logs in directories of their own, payloads made beforehand, timing that ends
in minutes.
"""
import os
import shutil
import subprocess
import tempfile

import walrus

RETENTION_BYTES = 256 << 20         # files are recycled, so a benchmark fills no disk
BATCH_ENTRIES = 2_000


def payloads(count, entry_bytes):
    """Entries that differ, so that nothing is compressed or shared on the way."""
    noise = os.urandom(entry_bytes + count)
    return [noise[i:i + entry_bytes] for i in range(count)]


def written(directory, entries, entry_bytes, topics=("t",), **options):
    """A closed log of batches."""
    batch = payloads(min(BATCH_ENTRIES, entries), entry_bytes)
    with walrus.open(directory, **options) as log:
        for name in topics:
            topic = log.topic(name)
            for _ in range(entries // len(batch)):
                topic.append_batch(batch)


def copied(source):
    """A copy of a log in a directory of its own; holes stay holes."""
    directory = tempfile.mkdtemp(prefix="walrus-asv-", dir=".")
    subprocess.run(["cp", "-a", "--sparse=always", f"{source}/.", directory], check=True)
    return directory


def cool(directory):
    """Drops the page cache's copy, where there is one."""
    for name in os.listdir(directory):
        file = os.open(os.path.join(directory, name), os.O_RDONLY)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(file)


class Timing:
    """Few samples, each of one or more rounds: the whole suite takes minutes."""

    warmup_time = 0.0
    sample_time = 0.05
    repeat = (3, 5, 1.0)
    rounds = 1
    timeout = 120


class OwnLog(Timing):
    """An open log that goes with the benchmark."""

    def make(self, **options):
        self.directory = tempfile.mkdtemp(prefix="walrus-asv-", dir=".")
        self.log = walrus.open(self.directory, retention=RETENTION_BYTES, **options)
        self.topic = self.log.topic("t")

    def teardown(self, *params):
        self.log.close()
        shutil.rmtree(self.directory)
