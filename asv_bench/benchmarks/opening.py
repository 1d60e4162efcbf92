"""Opening: a log that was closed, one whose writer was killed, one of many topics."""
import os
import shutil
import signal

import walrus

from .logs import Timing, copied, payloads, written

CLOSED_BYTES = 64 << 20
TOPICS = 10_000


def killed(directory):
    """Entries in log files, in the journal and in staging; the writer ends by SIGKILL."""
    child = os.fork()
    if child == 0:
        try:
            log = walrus.open(directory)
            batch = payloads(2_000, 1_000)
            for i in range(32):
                log.topic(str(i % 10)).append_batch(batch)
                if i == 16:
                    log.sync()
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)


class Closed(Timing):
    """Opening and closing a log that was closed: 64 MB in one topic, or 10,000 topics of 10 entries."""

    params = (["64 MB", "10,000 topics"],)
    param_names = ("log",)
    number = 1

    def setup_cache(self):
        written("64 MB", CLOSED_BYTES // 1024, 1024)
        written("10,000 topics", 10, 100, topics=[str(i) for i in range(TOPICS)])

    def time_open_and_close(self, log):
        walrus.open(log).close()

    def peakmem_open_and_close(self, log):
        walrus.open(log).close()


class Killed(Timing):
    """Opening 64 MB after the writer's SIGKILL; closing is not timed."""

    number = 1

    def setup_cache(self):
        killed("killed")

    def setup(self):
        self.directory = copied("killed")

    def teardown(self):
        self.log.close()
        shutil.rmtree(self.directory)

    def time_open(self):
        self.log = walrus.open(self.directory)
