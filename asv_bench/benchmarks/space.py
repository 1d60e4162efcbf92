"""What a log takes: bytes on the disk for a byte of payload, memory for topics."""
import shutil
import tempfile

import walrus

from .logs import Timing, payloads, written

ENTRIES = 100_000
ENTRY_BYTES = 100


class BytesOnDisk(Timing):
    """Bytes written to log files by a byte of payload: 100,000 entries of 100 bytes. Files of a fixed size apart."""

    unit = "bytes a byte"

    def setup(self):
        self.directory = tempfile.mkdtemp(prefix="walrus-asv-", dir=".")

    def teardown(self):
        shutil.rmtree(self.directory)

    def share(self, log):
        log.close()
        return log.stats().extent_bytes / (ENTRIES * ENTRY_BYTES)

    def track_single(self):
        log = walrus.open(self.directory)
        topic = log.topic("t")
        for entry in payloads(ENTRIES, ENTRY_BYTES):
            topic.append(entry)
        return self.share(log)

    def track_batches(self):
        log = walrus.open(self.directory)
        topic = log.topic("t")
        batch = payloads(2_000, ENTRY_BYTES)
        for _ in range(ENTRIES // 2_000):
            topic.append_batch(batch)
        return self.share(log)


class Memory(Timing):
    """Peak memory of a process that opens a log of 1 or 10,000 topics and appends to each."""

    params = ([1, 10_000],)
    param_names = ("topics",)

    def setup_cache(self):
        for topics in (1, 10_000):
            written(f"of-{topics}", 1, 100, topics=[str(i) for i in range(topics)])

    def peakmem_append_to_each(self, topics):
        with walrus.open(f"of-{topics}") as log:
            for i in range(topics):
                log.topic(str(i)).append(b"x" * 100)
