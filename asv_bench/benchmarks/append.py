"""What it costs to append: single entries, batches as lists and as one buffer, batches over several topics."""

import shutil
import tempfile

import numpy

import walrus

ENTRIES = 2000
RETENTION = 256 << 20


class Append:
    """2,000 entries a round, into a log that keeps the newest 256 MiB."""

    params = ([16, 100, 768, 4096],)
    param_names = ("entry_bytes",)

    def setup(self, entry_bytes):
        self.directory = tempfile.mkdtemp(prefix="walrus-asv-", dir=".")
        self.log = walrus.open(self.directory, retention=RETENTION)
        self.topic = self.log.topic("t")
        self.entries = [bytes([i % 256]) * entry_bytes for i in range(ENTRIES)]
        self.data = b"".join(self.entries)
        self.lengths = numpy.full(ENTRIES, entry_bytes, dtype=numpy.int64)
        self.spread = {f"t{i}": self.entries[i::10] for i in range(10)}

    def teardown(self, entry_bytes):
        self.log.close()
        shutil.rmtree(self.directory)

    def time_one_by_one(self, entry_bytes):
        append = self.topic.append
        for entry in self.entries:
            append(entry)

    def time_batch_of_a_list(self, entry_bytes):
        self.topic.append_batch(self.entries)

    def time_batch_of_one_buffer(self, entry_bytes):
        self.topic.append_batch(data=self.data, lengths=self.lengths)

    def time_batch_over_ten_topics(self, entry_bytes):
        self.log.append_batch(self.spread)


class LargeAppend:
    """One entry that is larger than a chunk of staging."""

    params = ([1 << 20, 16 << 20],)
    param_names = ("entry_bytes",)

    def setup(self, entry_bytes):
        self.directory = tempfile.mkdtemp(prefix="walrus-asv-", dir=".")
        self.log = walrus.open(self.directory, retention=RETENTION)
        self.topic = self.log.topic("t")
        self.entry = bytes(entry_bytes)

    def teardown(self, entry_bytes):
        self.log.close()
        shutil.rmtree(self.directory)

    def time_append(self, entry_bytes):
        self.topic.append(self.entry)
