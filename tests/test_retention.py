"""Retention by bytes: what is kept of a topic never falls below the limit, nor stays above it by more than a file."""
import os
import random
import time

import pytest

import walrus
from walrus import FsyncSchedule

pytestmark = pytest.mark.storage

LIMIT = 512 << 10
FILE_BYTES = 256 << 10
SMALL = {"staging_bytes": 2 << 20, "log_file_bytes": FILE_BYTES, "journal_file_bytes": 256 << 10, "retention": LIMIT}


class Kept:
    """A topic, and the sizes of all that was appended to it."""

    def __init__(self, topic):
        self.topic = topic
        self.sizes = []

    def append(self, *sizes):
        batch = [random.Random(len(self.sizes) + i).randbytes(size) for i, size in enumerate(sizes)]
        self.topic.append_batch(batch) if len(batch) > 1 else self.topic.append(batch[0])
        self.sizes += sizes

    def bytes(self):
        """Payload bytes that are kept now."""
        return sum(self.sizes[self.topic.oldest_offset:])

    def check_least(self):
        assert self.bytes() >= min(LIMIT, sum(self.sizes))

    def check_most(self):
        """To be called behind reclaim()."""
        assert self.bytes() <= LIMIT + FILE_BYTES

    def check_content(self):
        first = self.topic.oldest_offset
        found = [len(entry.data) for entry in self.topic.read()]
        assert found == self.sizes[first:]
        assert self.topic.size_bytes >= sum(found)          # entries that share a group with the oldest count on


def test_a_watermark_that_is_not_durable_yet_is_not_counted_again(open_log):
    """Between two syncs the log looks at its space several times; what the first look let go is no more to be had."""
    log = open_log(fsync_schedule=FsyncSchedule.Milliseconds(2000), **SMALL)
    kept = Kept(log.topic("t"))
    for _ in range(600):
        kept.append(5000)
    log.sync()
    deadline = time.monotonic() + 5
    while kept.topic.oldest_offset == 0:
        assert time.monotonic() < deadline, "nothing was let go"
        time.sleep(0.02)
    time.sleep(0.6)                                         # six more looks
    kept.check_least()
    log.reclaim()
    kept.check_least()
    kept.check_most()
    kept.check_content()


@pytest.mark.parametrize("schedule", [FsyncSchedule.NoFsync, FsyncSchedule.Milliseconds(30)], ids=lambda s: s.kind)
def test_entries_of_all_sizes_in_staging_and_on_disk_count_once(open_log, schedule):
    """Small ones, batches and large frames; a neighbour's chunks between; whatever is where, at every step."""
    log, choice = open_log(fsync_schedule=schedule, **SMALL), random.Random(4)
    kept, neighbour = Kept(log.topic("t")), Kept(log.topic("u"))
    for step in range(160):
        kept.append(*choice.choice(([300] * 40, [1, 0, 7000], [choice.randrange(20_000)], [90_000])))
        if step % 3 == 0:
            neighbour.append(2000)
        if step % 5 == 0:
            log.sync()
        kept.check_least()
        neighbour.check_least()
        if step % 20 == 19:
            log.sync()
            log.reclaim()
            kept.check_least()
            kept.check_most()
    kept.check_content()
    assert neighbour.topic.oldest_offset == 0               # below its own limit
    assert log.stats().log_file_bytes <= LIMIT * 2 + 8 * FILE_BYTES
    log.close()
    log = open_log(fsync_schedule=schedule, **SMALL)
    kept.topic, neighbour.topic = log.topic("t"), log.topic("u")
    kept.check_least()
    kept.check_content()
    kept.append(*[4000] * 100)
    log.sync()
    log.reclaim()
    kept.check_least()
    kept.check_most()
    assert log.topic("u").oldest_offset == 0
    neighbour.check_content()


def test_a_limit_that_one_entry_exceeds_keeps_that_entry(open_log):
    log = open_log(fsync_schedule=FsyncSchedule.NoFsync, **{**SMALL, "retention": 1})
    kept = Kept(log.topic("t"))
    for size in (100_000, 3, 200_000, 90_000):
        kept.append(size)
        log.sync()
        log.reclaim()
        assert kept.topic.oldest_offset < kept.topic.end_offset
        assert [len(entry.data) for entry in kept.topic.read()] == kept.sizes[kept.topic.oldest_offset:]
    with pytest.raises(walrus.OffsetOutOfRange):
        kept.topic.read(0)


# --------------------------------------------------------------------------------------------------------------- holes

@pytest.mark.storage
def test_files_that_die_bit_by_bit_are_used_again_whole_and_get_no_holes(open_log):
    log = open_log(retention=2 << 20)
    topic, data = log.topic("t"), os.urandom(1 << 16)
    until = time.monotonic() + 20
    while log.stats().log_files_recycled < 12 and time.monotonic() < until:
        topic.append(data)
    stats = log.stats()
    assert stats.log_files_recycled >= 12
    assert stats.punched_bytes == 0


@pytest.mark.storage
@pytest.mark.parametrize("asked", [False, True], ids=["by itself", "by reclaim"])
def test_room_between_what_lives_comes_back_once_nothing_more_dies(open_log, asked):
    log = open_log(retention="consumed")
    fast, slow, data = log.topic("fast"), log.topic("slow"), os.urandom(1 << 16)
    for i in range(160):
        fast.append(data)
        if i % 16 == 0:
            slow.append(data[:i] * 500)             # nobody consumes these
    cursor = fast.cursor("c")
    cursor.commit(fast.end_offset)
    log.sync()
    until = time.monotonic() + 20
    while log.stats().punched_bytes <= 1 << 20 and time.monotonic() < until:
        if asked:
            log.reclaim()
        time.sleep(0.05)
    assert log.stats().punched_bytes > 1 << 20
    assert [entry.data for entry in slow.read()] == [data[:i] * 500 for i in range(0, 160, 16)]
