"""Appending, reading and reopening one topic, from commit to commit. Logs lie in the directory that asv runs a benchmark in."""
import os
import tempfile

import walrus

SIZES = (100, 4096)
ENTRIES = 20_000
BATCH = 1_000


class Append:
    """`ENTRIES` appends to a log that is open already; durability follows the default schedule."""

    params = SIZES
    param_names = ("bytes",)
    number = 1

    def setup(self, size):
        self.entry = os.urandom(size)
        self.batch = [self.entry] * BATCH
        self.directory = tempfile.TemporaryDirectory(dir=".")
        self.log = walrus.open(self.directory.name)
        self.topic = self.log.topic("t")

    def teardown(self, size):
        self.log.close()
        self.directory.cleanup()

    def time_append(self, size):
        for _ in range(ENTRIES):
            self.topic.append(self.entry)

    def time_append_batch(self, size):
        for _ in range(ENTRIES // BATCH):
            self.topic.append_batch(self.batch)

    def time_append_batch_and_sync(self, size):
        for _ in range(ENTRIES // BATCH):
            self.topic.append_batch(self.batch)
        self.log.sync()


class Read:
    """Reads from the oldest entry to the end of a log that was written and closed before."""

    params = SIZES
    param_names = ("bytes",)
    number = 1

    def setup_cache(self):
        for size in SIZES:
            with walrus.open(f"read-{size}") as log:
                topic = log.topic("t")
                for _ in range(ENTRIES // BATCH):
                    topic.append_batch([os.urandom(size) for _ in range(BATCH)])

    def setup(self, size):
        self.log = walrus.open(f"read-{size}")
        self.topic = self.log.topic("t")

    def teardown(self, size):
        self.log.close()

    def time_read(self, size):
        assert sum(len(entry.data) for entry in self.topic.read()) == ENTRIES * size

    def time_read_batch(self, size):
        offset = 0
        while offset < ENTRIES:
            offset += len(self.topic.read_batch(offset))


class Open:
    """Opening and closing a log that was closed."""

    number = 1

    def setup_cache(self):
        with walrus.open("reopened") as log:
            topic = log.topic("t")
            for number in range(ENTRIES):
                topic.append(number.to_bytes(8, "little"))

    def time_open_and_close(self):
        with walrus.open("reopened") as log:
            assert log.topic("t").end_offset == ENTRIES
