"""Many threads at once: nothing hangs, each topic has its own entries in order."""
import threading
import time

import pytest

import walrus
from tests.conftest import SMALL
from walrus import FsyncSchedule

BATCH = 200     # some 140 KB: more than the largest chunk of a staging so small


def last_entries(topic):
    """What is kept at the end; retention may still let go of what it is about to read."""
    while True:
        try:
            return list(topic.read(max(topic.oldest_offset, topic.end_offset - 2000)))
        except walrus.OffsetOutOfRange:
            continue


@pytest.mark.parametrize("retention", [None, 200_000], ids=["kept", "retention by bytes"])
def test_large_batches_snapshots_and_reclaiming_do_not_wait_for_each_other(open_log, retention):
    """Batches beyond the largest chunk are cut into pieces; files and journal come round many times meanwhile."""
    log = open_log(fsync_schedule=FsyncSchedule.Milliseconds(2), retention=retention, **SMALL)
    topics, ends, failures = [log.topic(str(i)) for i in range(6)], [0] * 6, []
    until = time.monotonic() + 1

    def work(i):
        try:
            while time.monotonic() < until:
                first = topics[i].append_batch([b"%d %d" % (i, ends[i] + k) + bytes(700) for k in range(BATCH)])
                assert first == ends[i]
                ends[i] += BATCH
        except BaseException as failure:
            failures.append(failure)

    def reclaim():
        while time.monotonic() < until:
            log.reclaim()

    threads = [threading.Thread(target=work, args=(i,), daemon=True) for i in range(6)]
    threads.append(threading.Thread(target=reclaim, daemon=True))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not failures
    assert not any(thread.is_alive() for thread in threads)
    for i, topic in enumerate(topics):
        assert topic.end_offset == ends[i]
        for entry in last_entries(topic):
            assert entry.data == b"%d %d" % (i, entry.offset) + bytes(700)
