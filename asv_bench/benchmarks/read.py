"""Reading: one by one, in batches that are in memory or on the disk, one topic out of a thousand, beside a writer."""
import shutil

import walrus
from walrus import ReadConsistency

from .logs import OwnLog, Timing, cool, copied, payloads, written

READ_BYTES = 1 << 20
DATA_BYTES = 16 << 20               # half of the read cache
SIZES = (100, 1024, 65_536)
TOPICS = 1_000


class Batches(Timing):
    """A log of `DATA_BYTES`, read from begin to end in calls of 1 MiB. Hot: read once before; cold: just opened."""

    params = ([100, 1024, 65_536], ["hot", "cold"])
    param_names = ("entry_bytes", "cache")
    number = 1

    def setup_cache(self):
        for size in SIZES:
            written(f"of-{size}", DATA_BYTES // size, size)

    def setup(self, entry_bytes, cache):
        directory = f"of-{entry_bytes}"
        self.log = walrus.open(directory)
        self.topic = self.log.topic("t")
        self.end = self.topic.end_offset
        cool(directory)
        if cache == "hot":
            self.time_numpy(entry_bytes, cache)

    def teardown(self, entry_bytes, cache):
        self.log.close()

    def time_bytes(self, entry_bytes, cache):
        offset = 0
        while offset < self.end:
            offset += len(self.topic.read_batch(offset, READ_BYTES).tolist())

    def time_numpy(self, entry_bytes, cache):
        offset = 0
        while offset < self.end:
            batch = self.topic.read_batch(offset, READ_BYTES)
            batch.to_numpy()
            offset += len(batch)

    def peakmem_numpy(self, entry_bytes, cache):
        self.time_numpy(entry_bytes, cache)


class ReadNext(Timing):
    """20,000 entries of 100 bytes, one by one."""

    number = 1
    entries = 20_000

    def setup_cache(self):
        written("source", self.entries, 100)

    def setup(self):
        self.directory = copied("source")
        self.log = walrus.open(self.directory, consistency=ReadConsistency.AtLeastOnce(persist_every=1_000))
        self.topic = self.log.topic("t")

    def teardown(self):
        self.log.close()
        shutil.rmtree(self.directory)

    def time_at_least_once(self):
        while self.log.read_next("t") is not None:
            pass

    def time_iterate(self):
        for _ in self.topic.read():
            pass


class ReadNextStrictly(OwnLog):
    """50 entries a round, each position on the disk before its entry is handed out."""

    def setup(self):
        self.make(consistency=ReadConsistency.StrictlyAtOnce)
        self.topic.append_batch(payloads(2_000, 100))

    def time_read_next(self):
        self.log.seek_for_topic("t", 0)
        for _ in range(50):
            self.log.read_next("t")


class OneTopicOfMany(Timing):
    """The newest 100 entries of one topic out of a log of 1,000, each of which holds 1,000 entries of 100 bytes."""

    number = 1

    def setup_cache(self):
        batch = payloads(100, 100)
        with walrus.open("many") as log:
            for _ in range(10):
                for i in range(TOPICS):
                    log.topic(str(i)).append_batch(batch)

    def setup(self):
        self.log = walrus.open("many")
        self.topic = self.log.topic("500")
        cool("many")

    def teardown(self):
        self.log.close()

    def time_tail(self):
        assert len(self.topic.read_batch(900)) == 100

    def time_whole(self):
        offset = 0
        while offset < 1_000:
            offset += len(self.topic.read_batch(offset))


class BesideTheWriter(OwnLog):
    """2,000 entries appended and read, in turns of 100: what is read lies in staging."""

    def setup(self):
        self.make()
        self.batch = payloads(100, 100)
        self.cursor = self.topic.cursor("c")

    def time_append_and_read(self):
        for _ in range(20):
            self.topic.append_batch(self.batch)
            assert len(self.cursor.read_batch()) == 100
