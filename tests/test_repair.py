"""Repair: a topic that lost durable entries takes appends again once the hole is accepted, and a copy is kept."""
from pathlib import Path

import pytest

import walrus

pytestmark = pytest.mark.storage


@pytest.fixture
def damaged(open_log):
    """A log whose topic 'b' lost entry 150 of 300; gives (log, file that was damaged, its bytes)."""
    log = open_log()
    for i in range(300):
        for name in "ab":
            log.topic(name).append(f"{name} {i} ".encode() + b"x" * 500)
    cursor = log.topic("b").cursor("c")
    cursor.seek(10)
    cursor.commit()
    log.close()
    for path in sorted(Path(log.path).glob("log-*")):
        data = bytearray(path.read_bytes())
        at = data.find(b"b 150 x")
        if at >= 0:
            data[at + 50] ^= 4
            path.write_bytes(data)
            return open_log(), path.name, bytes(data)
    raise AssertionError("entry 150 is nowhere")


def check(log, end):
    topic = log.topic("b")
    assert [entry.offset for entry in topic.read(151)] == list(range(151, end))
    with pytest.raises(walrus.CorruptionError) as caught:
        list(topic.read(150))
    assert (caught.value.offset, caught.value.next_offset) == (150, 151)
    assert len(topic.read_batch(max_bytes=1 << 30)) == 150


def test_a_damaged_topic_refuses_appends_until_repair_and_others_do_not(damaged, open_log):
    log, name, data = damaged
    assert log.recovery.ranges_damaged == 1
    with pytest.raises(walrus.CorruptionError, match=r"repair\('b'\)"):
        log.topic("b").append(b"x")
    assert log.topic("a").append(b"x") == 300
    check(log, 300)
    done = log.repair("b")
    assert done == walrus.Repair("b", ((150, 151),), done.copy)
    assert (Path(done.copy) / name).read_bytes()[: len(data) // 2] == data[: len(data) // 2]
    assert log.topic("b").append(b"after") == 300
    check(log, 301)
    assert log.topic("b").cursor("c").position == 10
    log.close()
    log = open_log()
    check(log, 301)
    assert log.topic("b").append(b"again") == 301
    assert log.repair("b").holes == ()


def test_a_repair_survives_sigkill_of_its_process(damaged, open_log, child):
    log, _, _ = damaged
    log.close()
    child("""
        log = open_log()
        log.repair("b")
        assert log.topic("b").append(b"after") == 300
        os.kill(os.getpid(), signal.SIGKILL)
    """).wait()
    log = open_log()
    check(log, 301)
    assert log.topic("b").append(b"again") == 301


def test_a_topic_that_needs_none_or_is_not_there_stays_as_it_is(log):
    log.topic("t").append(b"x")
    assert log.repair("t") == walrus.Repair("t", (), None)
    assert log.repair("unknown") == walrus.Repair("unknown", (), None)
    assert log.topics() == ["t"]
    assert not list(Path(log.path).glob("damaged-*"))
