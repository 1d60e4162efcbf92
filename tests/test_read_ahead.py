"""Reading ahead: what a sequential reader will want is on its way before it asks, is read once, and hinders nothing."""
import os
import random
import threading

import pytest

import walrus

ENTRY_BYTES = 24 << 10
ENTRIES = 600
OPTIONS = {"staging_bytes": 8 << 20, "log_file_bytes": 8 << 20, "chunk_bytes_max": 32 << 10}    # an entry fills a chunk: a place each


def payload(name, i):
    return random.Random(f"{name} {i}").randbytes(ENTRY_BYTES)


@pytest.fixture
def cold(open_log):
    """A log of these topics, on the disk alone, and opened anew."""
    def make(*names, **options):
        with open_log(**OPTIONS) as log:
            for i in range(ENTRIES):
                for name in names:
                    log.topic(name).append(payload(name, i))
        return open_log(**OPTIONS, **options)
    return make


@pytest.mark.storage
def test_a_reader_in_sequence_finds_what_it_wants_read_and_nothing_is_read_twice(cold):
    log = cold("t", "between")
    topic = log.topic("t")
    before, most, offset = log.stats().reads, 0, 0
    while batch := topic.read_batch(offset, max_bytes=0):           # an entry each, in calls of their own
        assert batch.tolist() == [payload("t", offset)]
        offset += 1
        most = max(most, log.stats().reads - before - offset)
    assert offset == ENTRIES
    assert log.stats().reads - before == ENTRIES
    assert most >= (32 if log.stats().io == "io_uring" else 8)      # 8: of a log that has to wait for them


@pytest.mark.storage
def test_a_reader_that_jumps_reads_no_more_than_it_needs(cold):
    log = cold("t")
    before = log.stats().reads
    for offset in range(0, ENTRIES, 7):
        assert log.topic("t").read_batch(offset, max_bytes=0).tolist() == [payload("t", offset)]
    assert log.stats().reads - before == len(range(0, ENTRIES, 7))


@pytest.mark.storage
def test_readers_of_many_topics_read_each_place_about_once(cold):
    """Together they may have more on its way than the cache holds: what nobody has wanted yet is not driven out by others'."""
    names = [f"topic {i}" for i in range(8)]
    log = cold(*names)
    before, wrong = log.stats().reads, []

    def read(name):
        entries = [entry.data for entry in log.topic(name).read()]
        if entries != [payload(name, i) for i in range(ENTRIES)]:
            wrong.append(name)

    threads = [threading.Thread(target=read, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert log.stats().reads - before <= 1.1 * ENTRIES * len(names)


@pytest.mark.storage
def test_readers_of_one_topic_share_what_is_on_its_way(cold):
    log = cold("t")
    expected = [payload("t", i) for i in range(ENTRIES)]
    found = {}

    def read(number):
        found[number] = [entry.data for entry in log.topic("t").read()] == expected

    threads = [threading.Thread(target=read, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == dict.fromkeys(range(6), True)


@pytest.mark.storage
def test_a_log_is_closed_and_opened_while_reads_are_on_their_way(cold, open_log):
    cold("t").close()
    descriptors = len(os.listdir("/proc/self/fd"))
    for last in range(2, 40):
        with open_log(**OPTIONS) as log:
            for offset in range(last):
                assert log.topic("t").read_batch(offset, max_bytes=0).tolist() == [payload("t", offset)]
    assert len(os.listdir("/proc/self/fd")) == descriptors


@pytest.mark.storage
def test_files_are_used_again_while_what_was_in_them_is_on_its_way(open_log):
    log = open_log(**OPTIONS, retention="consumed")
    topic, cursor, expected = log.topic("t"), log.topic("t").cursor("c"), {}
    following = 0
    for turn in range(12):
        for _ in range(300):
            i = topic.end_offset
            expected[i] = payload("t", i)
            topic.append(expected[i])
        log.sync()
        for _ in range(40):                         # its reads are ahead of it when the files go
            try:
                [data] = topic.read_batch(following, max_bytes=0).tolist()
            except walrus.OffsetOutOfRange:
                following = topic.oldest_offset
                continue
            assert data == expected[following], (turn, following)
            following += 1
        cursor.commit(topic.end_offset - 20)
        log.sync()
        log.reclaim()
    assert topic.oldest_offset > 2000
    assert [entry.data for entry in topic.read()] == [expected[i] for i in range(topic.oldest_offset, topic.end_offset)]


@pytest.mark.storage
def test_a_read_ahead_that_fails_is_read_again_by_who_wants_it(cold, debug_build, child):
    cold("t").close()
    child.run("""
        from tests.native.device_build import load_device_probe
        set_faults = load_device_probe().set_faults
        from tests.test_read_ahead import ENTRIES, OPTIONS, payload
        expected = [payload("t", i) for i in range(ENTRIES)]

        def read(log, faults):
            set_faults(faults)
            try:
                return [entry.data for entry in log.topic("t").read()]
            finally:
                set_faults(b"")

        for number in (2, 3, 5, 8, 13, 40):
            with open_log(**OPTIONS) as log:
                assert read(log, b"read:%d:EIO,read:%d:short" % (number, number + 2)) == expected
            with open_log(**OPTIONS) as log:
                try:
                    read(log, b"read:%d:EIO:always" % number)
                except OSError as error:
                    assert error.errno == 5 and "offset" in str(error), error
                else:
                    raise AssertionError("nobody was told")
                assert read(log, b"") == expected
    """, debug=debug_build)


@pytest.mark.storage
def test_a_child_of_a_fork_leaves_what_is_on_its_way_alone(cold):
    log = cold("t")
    for offset in range(5):
        log.topic("t").read_batch(offset, max_bytes=0)
    pid = os.fork()
    if pid == 0:
        try:
            log.topic("t").read_batch(5, max_bytes=0)
        except walrus.WalrusError:
            log.close()
            os._exit(0)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert [entry.data for entry in log.topic("t").read()] == [payload("t", i) for i in range(ENTRIES)]


@pytest.mark.storage
def test_a_large_entry_is_read_ahead_piece_by_piece(open_log):
    data = random.Random(1).randbytes(24 << 20)
    with open_log(**OPTIONS) as log:
        log.topic("t").append(data)
    log = open_log(**OPTIONS)
    before = log.stats().reads
    assert log.topic("t").read_batch(0, max_bytes=0).tolist() == [data]
    reads = log.stats().reads - before
    assert reads <= (24 << 20) // (32 << 10) * 1.1 + 2, reads


@pytest.mark.storage
def test_what_abandoned_readers_had_asked_for_leaves_room_in_the_end(cold):
    """Each of them reads a little, and never comes back for what is on its way then."""
    abandoned, used = [f"abandoned {i}" for i in range(24)], ["a", "b", "c"]
    log = cold(*abandoned, *used)

    def submissions(name):
        before = log.stats().submissions
        assert [entry.data for entry in log.topic(name).read()] == [payload(name, i) for i in range(ENTRIES)]
        return log.stats().submissions - before

    once = submissions("a")
    for topic in map(log.topic, abandoned):
        for offset in range(40):
            topic.read_batch(offset, max_bytes=0)
    for name in used * 4:
        submissions(name)
    assert submissions("b") >= once
