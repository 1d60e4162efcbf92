"""What it costs to be durable: one entry at a time, one sync for many topics, a commit of a cursor."""

import shutil
import tempfile

import walrus
from walrus import FsyncSchedule


class Sync:
    """One durable step a round."""

    params = ([1, 10, 1000],)
    param_names = ("dirty_topics",)

    def setup(self, dirty_topics):
        self.directory = tempfile.mkdtemp(prefix="walrus-asv-", dir=".")
        self.log = walrus.open(self.directory, fsync_schedule=FsyncSchedule.NoFsync)
        self.topics = [self.log.topic(str(i)) for i in range(dirty_topics)]

    def teardown(self, dirty_topics):
        self.log.close()
        shutil.rmtree(self.directory)

    def time_append_to_each_and_sync(self, dirty_topics):
        for topic in self.topics:
            topic.append(b"x" * 160)
        self.log.sync()


class SyncEach:
    """Appends that return durable, and cursors."""

    def setup(self):
        self.directory = tempfile.mkdtemp(prefix="walrus-asv-", dir=".")
        self.log = walrus.open(self.directory, fsync_schedule=FsyncSchedule.SyncEach)
        self.topic = self.log.topic("t")
        self.topic.append_batch([b"x"] * 2000)
        self.cursor = self.topic.cursor("c")

    def teardown(self):
        self.log.close()
        shutil.rmtree(self.directory)

    def time_append(self):
        self.topic.append(b"x" * 100)

    def time_batch_of_2000(self):
        self.topic.append_batch([b"x" * 100] * 2000)

    def time_commit_of_a_cursor(self):
        self.cursor.read_batch(max_entries=1)
        self.cursor.commit()
