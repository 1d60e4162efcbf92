"""Many threads at once: nothing hangs, each topic has its own entries in order."""
import sys
import threading
import time
from functools import partial

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


@pytest.mark.parametrize("bytes_each", [10, 5000], ids=["with the GIL", "without the GIL"])
def test_threads_use_a_handle_whose_topic_and_cursor_another_one_is_making(open_log, bytes_each):
    """The handle learns of its topic, and of its cursor, while other threads work by it."""
    log = open_log(fsync_schedule=FsyncSchedule.NoFsync)
    failures, switching = [], sys.getswitchinterval()
    until = time.monotonic() + 2

    def work(start, doing):
        try:
            start.wait()
            for _ in range(4):
                doing()
        except BaseException as failure:
            failures.append(failure)

    sys.setswitchinterval(1e-6)
    try:
        number = 0
        while time.monotonic() < until and not failures:
            number += 1
            topic, start = log.topic(f"{bytes_each} {number}"), threading.Barrier(5)
            cursor, append = topic.cursor("c"), partial(topic.append, bytes(bytes_each))
            doings = [append, append, partial(getattr, topic, "end_offset"), partial(getattr, cursor, "position"),
                      cursor.read_next]
            threads = [threading.Thread(target=work, args=(start, doing)) for doing in doings]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(30)
            assert topic.end_offset == 8
    finally:
        sys.setswitchinterval(switching)
    assert not failures


def test_statistics_while_the_table_of_topics_grows(open_log):
    log = open_log(fsync_schedule=FsyncSchedule.NoFsync)
    done = threading.Event()

    def look():
        while not done.is_set():
            log.stats()

    thread = threading.Thread(target=look)
    thread.start()
    for i in range(5000):
        log.topic(str(i)).append(b"x" * 5)
    done.set()
    thread.join()
    assert log.stats().appends == 5000
