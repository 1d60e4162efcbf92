"""Reading: whatever is in staging and whatever is on disk read the same, by offset, in order, whole or not at all."""
import random
import threading

import pytest

import walrus

pytestmark = pytest.mark.storage

STAGING_BYTES = 4 << 20
OPTIONS = {"staging_bytes": STAGING_BYTES, "fsync_schedule": walrus.FsyncSchedule.NoFsync}


def payload(offset, length=None):
    """Bytes that tell their offset: what is read at another one is noticed."""
    if length is None:
        length = (offset * 7919) % 3000
    return random.Random(offset).randbytes(length)


@pytest.fixture
def log(tmp_path, way):
    with walrus.open(tmp_path / "log", backend=way, **OPTIONS) as opened:
        yield opened


@pytest.fixture
def reopened(way):
    """Opens the same log again, with everything on disk."""
    def reopen(log):
        log.close()
        return walrus.open(log.path, backend=way, **OPTIONS)

    return reopen


def check(topic, expected, start=0):
    """Every way to read gives exactly that."""
    entries = list(topic.read(start))
    assert [entry.offset for entry in entries] == list(range(start, start + len(expected)))
    assert [entry.data for entry in entries] == expected
    taken, at = [], start
    while at < topic.end_offset:
        batch = topic.read_batch(at, max_bytes=100_000)
        assert len(batch) >= 1
        taken += list(batch)
        at += len(batch)
    assert taken == expected


def test_staged_entries_and_entries_on_disk_read_the_same(log, reopened):
    topic = log.topic("t")
    expected = [payload(i) for i in range(500)]
    for data in expected:
        topic.append(data)
    check(topic, expected)
    with reopened(log) as again:
        topic = again.topic("t")
        check(topic, expected)
        more = [payload(i) for i in range(500, 700)]
        topic.append_batch(more)
        check(topic, expected + more)


def test_more_than_staging_holds_reads_from_both(log):
    topic = log.topic("t")
    expected = [payload(i, 10_000 + i % 100) for i in range(2_000)]
    for data in expected:
        topic.append(data)
    check(topic, expected)


def test_batches_keep_their_borders(log):
    topic = log.topic("t")
    expected = []
    for size in (1, 2, 3, 1999, 2000, 1, 700):
        batch = [payload(len(expected) + i, (len(expected) + i) % 40) for i in range(size)]
        assert topic.append_batch(batch) == len(expected)
        expected += batch
    check(topic, expected)
    for start in (0, 1, 2, 5, 6, 2004, 2005, 4004, 4005, 4006, 4705):
        check(topic, expected[start:], start)


def test_empty_entries_are_entries(log, reopened):
    topic = log.topic("t")
    expected = [b"", b"a", b"", b"", b"bc", b""]
    for data in expected:
        topic.append(data)
    topic.append_batch(expected)
    topic.append_batch([b""] * 2000)
    check(topic, expected * 2 + [b""] * 2000)
    with reopened(log) as again:
        check(again.topic("t"), expected * 2 + [b""] * 2000)


@pytest.mark.parametrize("size", [(1 << 20) - 100, 1 << 20, (1 << 20) + 1, 3 << 20, 20 << 20])
def test_an_entry_larger_than_a_chunk_is_whole(log, reopened, size):
    topic = log.topic("t")
    expected = [b"before", payload(1, size), b"after", b"", payload(4, size // 2), payload(5, size)]
    for data in expected:
        topic.append(data)
    check(topic, expected)
    with reopened(log) as again:
        check(again.topic("t"), expected)


def test_a_batch_larger_than_a_chunk_is_read_entry_by_entry(log, reopened):
    topic = log.topic("t")
    topic.append(b"before")
    batch = [payload(i, 2048 + i % 7) for i in range(2000)]
    assert topic.append_batch(batch) == 1
    topic.append(b"after")
    expected = [b"before", *batch, b"after"]
    check(topic, expected)
    for start in random.Random(1).sample(range(2002), 50):
        assert topic.read_batch(start, max_entries=1)[0] == expected[start]
    with reopened(log) as again:
        topic = again.topic("t")
        check(topic, expected)
        for start in random.Random(2).sample(range(2002), 50):
            assert topic.read_batch(start, max_entries=1)[0] == expected[start]


def test_empty_entries_at_the_edges_of_a_large_batch(log):
    topic = log.topic("t")
    batch = [b"", payload(1, 1 << 20), b"", payload(3, 2 << 20), b"", b""]
    topic.append_batch(batch)
    check(topic, batch)


def test_random_offsets(log):
    topic = log.topic("t")
    expected = [payload(i, i % 900) for i in range(20_000)]
    for i in range(0, 20_000, 50):
        topic.append_batch(expected[i:i + 50]) if i % 100 else [topic.append(data) for data in expected[i:i + 50]]
    choice = random.Random(3)
    for _ in range(2_000):
        start = choice.randrange(20_000)
        batch = topic.read_batch(start, max_entries=choice.choice((1, 2, 60)))
        assert batch.tolist() == expected[start:start + len(batch)]
        assert batch.offsets[0] == start


def test_topics_do_not_mix(log):
    topics = [log.topic(f"t{i}") for i in range(50)]
    for i in range(200):
        for number, topic in enumerate(topics):
            topic.append(b"%d:%d" % (number, i))
    log.sync()
    for number, topic in enumerate(topics):
        check(topic, [b"%d:%d" % (number, i) for i in range(200)])


def test_reading_while_writing(log):
    topic = log.topic("t")
    count, failures = 30_000, []

    def write():
        for i in range(count):
            topic.append(payload(i, 1_000))

    def read():
        at = 0
        try:
            while at < count:
                for entry in topic.read(at):
                    assert entry.offset == at
                    assert entry.data == payload(at, 1_000)
                    at += 1
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=target) for target in (write, read, read)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_cursor_follows_the_tail(log):
    topic = log.topic("t")
    cursor = topic.cursor("c")
    for i in range(3_000):
        topic.append(payload(i))
        if i % 7 == 0:
            while len(batch := cursor.read_batch(max_bytes=5_000)):
                for offset, data in zip(batch.offsets, batch, strict=True):
                    assert data == payload(offset)
    assert cursor.position + cursor.lag == 3_000


def test_max_bytes_gives_at_least_one_and_never_more(log):
    topic = log.topic("t")
    topic.append_batch([b"x" * 100] * 10)
    assert len(topic.read_batch(0, max_bytes=0)) == 1
    assert len(topic.read_batch(0, max_bytes=99)) == 1
    assert len(topic.read_batch(0, max_bytes=299)) == 2
    assert len(topic.read_batch(0, max_bytes=300)) == 3
    assert len(topic.read_batch(0, max_entries=4)) == 4


def test_offsets_out_of_range_are_refused(log):
    topic = log.topic("t")
    topic.append_batch([b"a", b"b"])
    assert list(topic.read(2)) == []
    for start in (3, 1 << 40):
        with pytest.raises(walrus.OffsetOutOfRange) as caught:
            list(topic.read(start))
        assert caught.value.end == 2


def test_damage_on_disk_raises_and_leaves_the_rest_readable(tmp_path, way):
    expected = [payload(i, 400) for i in range(1_000)]
    with walrus.open(tmp_path / "log", staging_bytes=STAGING_BYTES, backend=way) as log:
        for data in expected:
            log.topic("t").append(data)
    hurt = 500
    for file in (tmp_path / "log").glob("log-*"):
        data = file.read_bytes()
        if (at := data.find(expected[hurt])) >= 0:
            with file.open("r+b") as opened:
                opened.seek(at + 17)
                opened.write(bytes([data[at + 17] ^ 1]))
    with walrus.open(tmp_path / "log", staging_bytes=STAGING_BYTES, backend=way) as log:
        topic = log.topic("t")
        seen = []
        with pytest.raises(walrus.CorruptionError) as caught:
            for entry in topic.read():
                seen.append(entry.data)
        assert seen == expected[:hurt]
        assert (caught.value.offset, caught.value.next_offset) == (hurt, hurt + 1)
        assert caught.value.file.startswith("log-")
        assert [entry.data for entry in topic.read(hurt + 1)] == expected[hurt + 1:]
