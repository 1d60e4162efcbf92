"""Being durable: each append, each batch, one sync for many topics, a cursor's commit."""
import threading

from walrus import FsyncSchedule

from .logs import BATCH_ENTRIES, OwnLog, payloads

APPENDS = 50


class SyncEach(OwnLog):
    """Calls that return durable: `APPENDS` a round and thread."""

    params = ([1, 10],)
    param_names = ("threads",)

    def setup(self, threads):
        self.make(fsync_schedule=FsyncSchedule.SyncEach)
        self.batch = payloads(BATCH_ENTRIES, 100)
        self.topic.append_batch(self.batch)
        self.cursor = self.topic.cursor("c")

    def appends(self):
        for entry in self.batch[:APPENDS]:
            self.topic.append(entry)

    def in_threads(self, work, count):
        threads = [threading.Thread(target=work) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def time_append(self, threads):
        self.in_threads(self.appends, threads)

    def batches(self):
        for _ in range(APPENDS // 10):
            self.topic.append_batch(self.batch)

    def time_batches_of_2000(self, threads):
        self.in_threads(self.batches, threads)


class Commit(OwnLog):
    """`APPENDS` durable commits of a cursor a round."""

    def setup(self):
        self.make(fsync_schedule=FsyncSchedule.SyncEach)
        self.topic.append_batch(payloads(BATCH_ENTRIES, 100))
        self.cursor = self.topic.cursor("c")

    def time_commit(self):
        for offset in range(APPENDS):
            self.cursor.commit(offset)


class ManyTopics(OwnLog):
    """One entry in each topic, then one sync."""

    params = ([1, 1_000, 10_000],)
    param_names = ("topics",)

    def setup(self, topics):
        self.make(fsync_schedule=FsyncSchedule.NoFsync)
        self.topics = [self.log.topic(str(i)) for i in range(topics)]
        self.entry = payloads(1, 160)[0]
        self.time_append_to_each_and_sync(topics)

    def time_append_to_each(self, topics):
        for topic in self.topics:
            topic.append(self.entry)

    def time_append_to_each_and_sync(self, topics):
        for topic in self.topics:
            topic.append(self.entry)
        self.log.sync()
