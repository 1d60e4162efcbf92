"""The three ways to the disk: how they differ, what a log says when one is refused, and that the tests run on each."""
import os
import random
import sys
from pathlib import Path

import pytest

import walrus
from tests.conftest import WAYS

ENTRY_BYTES = 8 << 10
ENTRIES = 2400
CHUNK_BYTES = 16 << 10              # one such entry fills it: each has a place of its own on the disk
# Marked with their module or class; they end before there is a way.
BEFORE_THE_DISK = {"test_are_checked_when_given_and_named_in_the_error", "test_missing_directories_are_made",
                   "test_of_a_wrong_type_are_type_errors", "test_schedules_and_modes_are_values",
                   "test_a_path_that_is_no_directory"}
BLOCKED = (sys.executable, str(Path(__file__).with_name("seccomp.py")), "--")


def scattered(open_log, **options):
    """A log that is on the disk alone, ENTRIES entries in topic 't', other bytes between; gives (log, entries)."""
    options = {"staging_bytes": 8 << 20, "log_file_bytes": 16 << 20, "chunk_bytes_max": CHUNK_BYTES, **options}
    expected = [random.Random(i).randbytes(ENTRY_BYTES + i % 8) for i in range(ENTRIES)]
    with open_log(**options) as log:
        for data in expected:
            log.topic("t").append(data)
            log.topic("between").append(data)
    return open_log(**options), expected


# ------------------------------------------------------------------------------------------------ reading many at once

@pytest.mark.storage
def test_2000_scattered_entries_are_read_at_once_in_the_order_asked(open_log, way):
    log, expected = scattered(open_log)
    wanted = random.Random(1).sample(range(ENTRIES), 2000)
    before = log.stats()
    batch = log.topic("t").read_many(wanted)
    after = log.stats()
    assert batch.offsets.tolist() == wanted
    assert batch.tolist() == [expected[offset] for offset in wanted]
    assert after.reads - before.reads == 2000           # each has a range of its own
    if after.io == "io_uring":
        assert after.submitted_max == 2000
        assert after.submitted - before.submitted >= 2000 and after.submissions - before.submissions < 20
    else:
        assert after.submitted_max == 0


@pytest.mark.storage
def test_what_is_asked_for_twice_or_is_still_in_memory_is_not_read_again(open_log):
    log, expected = scattered(open_log)
    topic = log.topic("t")
    fresh = topic.append(b"still in staging")
    before = log.stats().reads
    batch = topic.read_many([5, fresh, 5, 2000, 5])
    assert batch.tolist() == [expected[5], b"still in staging", expected[5], expected[2000], expected[5]]
    assert log.stats().reads - before == 2
    assert topic.read_many(iter([2000, 5])).offsets.tolist() == [2000, 5]
    assert log.stats().reads - before == 2
    assert len(topic.read_many([])) == 0


@pytest.mark.storage
def test_more_than_the_cache_holds_is_read_in_rounds_of_bounded_memory(open_log):
    """Batches, and a large frame, in groups of 1 MiB."""
    options = {"staging_bytes": 8 << 20, "log_file_bytes": 64 << 20}
    with open_log(**options) as log:
        topic, expected = log.topic("t"), []
        for i in range(160):
            batch = [random.Random(i).randbytes(64 << 10) for _ in range(16)]
            batch[i % 16] = random.Random(-i).randbytes(i)
            topic.append_batch(batch)
            expected += batch
        expected.append(random.Random(7).randbytes(3 << 20))
        topic.append(expected[-1])
    topic = open_log(**options).topic("t")
    wanted = [random.Random(2).randrange(len(expected)), *range(0, len(expected), 8), len(expected) - 1, 3]
    before = resident_bytes()
    batch = topic.read_many(wanted)
    for offset, data in zip(wanted, batch, strict=True):
        assert data == expected[offset]
    assert resident_bytes() - before - batch.payload_bytes < 64 << 20


def resident_bytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.storage
def test_read_many_refuses_what_is_no_offset_of_an_entry(log):
    topic = log.topic("t")
    with pytest.raises(walrus.OffsetOutOfRange) as caught:
        topic.read_many([7])
    assert (caught.value.offset, log.topics()) == (7, [])
    topic.append_batch([b"a", b"b"])
    for wanted, missing in (([0, 2, 9], 2), ([1, 1 << 70], (1 << 64) - 1)):
        with pytest.raises(walrus.OffsetOutOfRange) as caught:
            topic.read_many(wanted)
        assert (caught.value.offset, caught.value.end) == (missing, 2)
    with pytest.raises(ValueError, match=r"offsets\[1\] is -1"):
        topic.read_many([0, -1])
    with pytest.raises(ValueError, match="2000"):
        topic.read_many([0] * 2001)
    with pytest.raises(ValueError, match="2000"):
        topic.read_many(iter(range(1 << 60)))
    for wrong in ("0", 0.5, None, True):
        with pytest.raises(TypeError, match=r"offsets\[0\]"):
            topic.read_many([wrong])
    assert topic.read_many([1, 0, 1] * 600).tolist() == [b"b", b"a", b"b"] * 600
    log.close()
    with pytest.raises(walrus.ClosedError):
        topic.read_many([0])


@pytest.mark.storage
def test_a_damaged_entry_among_many_is_named_and_the_others_stay_readable(open_log):
    log, expected = scattered(open_log)
    log.close()
    for path in sorted(Path(log.path).glob("log-*")):
        data = bytearray(path.read_bytes())
        if (at := data.find(expected[1234])) >= 0:
            data[at + 100] ^= 1
            path.write_bytes(data)
    topic = open_log().topic("t")
    wanted = list(range(1000, 1500))
    with pytest.raises(walrus.CorruptionError) as caught:
        topic.read_many(wanted)
    assert (caught.value.offset, caught.value.next_offset) == (1234, 1235)
    wanted.remove(1234)
    assert topic.read_many(wanted).tolist() == [expected[offset] for offset in wanted]


# ------------------------------------------------------------------------------------------------- refusals, fallbacks

SAYS = """
    import logging
    said = []
    logger = logging.getLogger("walrus")
    logger.setLevel(logging.INFO)
    keeper = logging.Handler()
    keeper.emit = lambda record: said.append(record.getMessage())
    logger.addHandler(keeper)
"""
WRITES = """
    expected = [b"%d" % i * 700 for i in range(3000)]
    with open_log(backend=BACKEND) as log:
        for data in expected:
            log.topic("t").append(data)
            log.topic("u").append_batch([data, b""])
        log.sync()
        assert [entry.data for entry in log.topic("t").read()] == expected
        assert log.topic("t").read_many([2999, 0]).tolist() == [expected[2999], expected[0]]
        stats = log.stats()
"""


def check_written(log):
    expected = [b"%d" % i * 700 for i in range(3000)]
    assert [entry.data for entry in log.topic("t").read()] == expected
    assert [entry.data for entry in log.topic("u").read()][::2] == expected


@pytest.mark.parametrize("backend", ["auto", "io_uring"])
def test_a_blocked_io_uring_is_said_once_and_nothing_else_changes(child, open_log, backend):
    """A process under the filter writes, this one reads what it wrote, and the filtered one what this one appends."""
    out = child.run(SAYS + WRITES.replace("BACKEND", repr(backend)) + """
        assert (stats.io, stats.submissions, stats.submitted_max) == ("pwrite", 0, 0), stats
        assert stats.io_fallback == "Operation not permitted" and stats.direct_bytes, stats
    assert len(said) == 1 and "pwrite, because io_uring is not to be had (Operation not permitted)" in said[0], said
    print("written")
    """, prefix=BLOCKED)
    assert out == "written\n"
    with open_log(backend=backend) as log:
        check_written(log)
        log.topic("t").append(b"by the one that may")
    child.run(f"""
    log = open_log(backend={backend!r})
    assert log.stats().io == "pwrite"
    assert log.topic("t").read_batch(3000).tolist() == [b"by the one that may"]
    """, prefix=BLOCKED)


def test_a_blocked_io_uring_is_nothing_to_those_who_did_not_want_it(child):
    child.run(SAYS + """
    for backend in ("pwrite", "mmap"):
        with open_log(backend=backend) as log:
            assert (log.stats().io, log.stats().io_fallback) == (backend, None)
    assert len(said) == 2 and not any("because" in text for text in said), said
    """, prefix=BLOCKED)


@pytest.mark.storage
def test_a_refused_o_direct_means_cached_writes_and_is_said_once(debug_build, child, open_log, way):
    child.run(SAYS + WRITES.replace("BACKEND", repr(way)) + """
        assert not stats.direct_io and stats.direct_bytes == 0 and stats.written_bytes > 2_000_000, stats
    assert len(said) == 1 and "without O_DIRECT" in said[0], said
    os._exit(0)
    """, debug=debug_build, env={"WALRUS_FAULT": "direct:1:EINVAL:always"})
    with open_log() as log:
        check_written(log)
        if way != "mmap":
            log.topic("t").append(bytes(1 << 20))
            log.sync()
            assert log.stats().direct_io and log.stats().direct_bytes


# --------------------------------------------------------------------------------------------------------- the tests

def test_the_way_of_other_tests_is_the_environment_s(log, way):
    """WALRUS_TEST_WAY=mmap runs them all on that one."""
    assert way == os.environ.get("WALRUS_TEST_WAY", "auto")
    stats = log.stats()
    assert stats.io == ("io_uring" if way == "auto" else way) or stats.io_fallback


def test_each_test_marked_storage_runs_once_per_way(request):
    """A log that a test opens by itself, without the fixtures, is opened on one way only: the mark says otherwise."""
    if request.config.option.keyword:
        pytest.skip("-k may have left ways out")
    ways = {}
    for item in request.session.items:
        if item.get_closest_marker("storage"):
            params = dict(item.callspec.params) if hasattr(item, "callspec") else {}
            ways.setdefault((item.nodeid.split("[")[0], str({**params, "way": None})), set()).add(params.get("way"))
    missing = {name for (name, _), found in ways.items() if found != set(WAYS)}
    missing = {name for name in missing if name.split("::")[-1] not in BEFORE_THE_DISK}
    assert not missing, f"marked, but without the fixture way (open_log, log, child have it): {sorted(missing)}"
