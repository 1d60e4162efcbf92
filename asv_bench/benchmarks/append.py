"""Appending: single entries, batches as lists and as one buffer, ten topics, entries larger than a chunk of staging."""
import threading

import numpy

from .logs import BATCH_ENTRIES, OwnLog, payloads

ENTRIES = 20_000
TOPICS = 10


class Append(OwnLog):
    """`ENTRIES` single appends a round, by one thread."""

    params = ([100, 1024],)
    param_names = ("entry_bytes",)

    def setup(self, entry_bytes):
        self.make()
        self.entries = payloads(ENTRIES, entry_bytes)

    def time_append(self, entry_bytes):
        append = self.topic.append
        for entry in self.entries:
            append(entry)

    def peakmem_append(self, entry_bytes):
        self.time_append(entry_bytes)


class AppendBatch(OwnLog):
    """`ENTRIES` entries a round, in batches of 2,000."""

    params = ([100, 1024],)
    param_names = ("entry_bytes",)

    def setup(self, entry_bytes):
        self.make()
        self.entries = payloads(BATCH_ENTRIES, entry_bytes)
        self.data = b"".join(self.entries)
        self.lengths = numpy.full(BATCH_ENTRIES, entry_bytes, dtype=numpy.int64)

    def time_of_a_list(self, entry_bytes):
        for _ in range(ENTRIES // BATCH_ENTRIES):
            self.topic.append_batch(self.entries)

    def time_of_one_buffer(self, entry_bytes):
        for _ in range(ENTRIES // BATCH_ENTRIES):
            self.topic.append_batch(data=self.data, lengths=self.lengths)

    def peakmem_of_a_list(self, entry_bytes):
        self.time_of_a_list(entry_bytes)


class TenTopics(OwnLog):
    """`ENTRIES` entries of 768 bytes a round, over ten topics."""

    def setup(self):
        self.make()
        self.topics = [self.log.topic(str(i)) for i in range(TOPICS)]
        self.entries = payloads(ENTRIES // TOPICS, 768)
        self.batches = {topic.name: self.entries for topic in self.topics}

    def of_one(self, topic):
        for entry in self.entries:
            topic.append(entry)

    def time_in_turn(self):
        for entry in self.entries:
            for topic in self.topics:
                topic.append(entry)

    def time_a_thread_each(self):
        threads = [threading.Thread(target=self.of_one, args=(topic,)) for topic in self.topics]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def time_a_batch_each(self):
        self.log.append_batch(self.batches)


class Large(OwnLog):
    """One entry of 16 MiB a round: pieces, over many chunks."""

    def setup(self):
        self.make()
        self.entry = payloads(1, 16 << 20)[0]

    def time_append(self):
        self.topic.append(self.entry)
