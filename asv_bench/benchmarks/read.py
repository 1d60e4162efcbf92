"""What it costs to read: iteration, batches, the shared cursor, and opening a log."""

import shutil

import walrus
from walrus import ReadConsistency

ENTRIES = 200_000
ENTRY_BYTES = 100
READ_BYTES = 1 << 20


class Read:
    """A log of 200,000 entries of 100 bytes, made once and copied for each benchmark."""

    timeout = 120

    def setup_cache(self):
        with walrus.open("source") as log:
            topic = log.topic("t")
            for start in range(0, ENTRIES, 2000):
                topic.append_batch([b"%0*d" % (ENTRY_BYTES, start + i) for i in range(2000)])
        return "source"

    def setup(self, source):
        shutil.copytree(source, "copy", dirs_exist_ok=True)
        self.log = walrus.open("copy", consistency=ReadConsistency.AtLeastOnce(persist_every=10_000))
        self.topic = self.log.topic("t")
        self.cursor = self.topic.cursor("c")

    def teardown(self, source):
        self.log.close()
        shutil.rmtree("copy")

    def time_iterate(self, source):
        for _ in self.topic.read():
            pass

    def time_read_batches(self, source):
        position = 0
        while batch := self.topic.read_batch(position, READ_BYTES):
            position += len(batch)

    def time_cursor_batches_to_numpy(self, source):
        self.cursor.seek(0)
        while batch := self.cursor.read_batch(READ_BYTES):
            batch.to_numpy()

    def time_shared_cursor_batches(self, source):
        self.log.seek_for_topic("t", 0)
        while self.log.batch_read_for_topic("t", READ_BYTES, True):
            pass

    def time_shared_cursor_one_by_one(self, source):
        self.log.seek_for_topic("t", ENTRIES - 20_000)
        while self.log.read_next("t", True) is not None:
            pass


class Open:
    """Opening a log that was closed."""

    def setup_cache(self):
        with walrus.open("source") as log:
            for i in range(1000):
                log.topic(str(i)).append_batch([b"x" * ENTRY_BYTES] * 100)
        return "source"

    def time_open_and_close_1000_topics(self, source):
        walrus.open(source).close()
