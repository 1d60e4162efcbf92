"""Readers beside a writer that is killed again and again: what they read is right, and nothing is called damaged or out of range."""
import random
import threading
import time

import pytest

import walrus

TOPICS = 5


def payload(topic, offset):
    return b"%d/%d " % (topic, offset) + bytes([topic]) * (offset * 37 % 300)


WRITER = f"""
    {{payload}}
    log = open_log(fsync_schedule=FsyncSchedule.Milliseconds(20))
    topics = [log.topic(str(i)) for i in range({TOPICS})]
    ends = [topic.end_offset for topic in topics]
    print("open", flush=True)
    while True:
        for i, topic in enumerate(topics):
            if i % 2:
                count = 1 + ends[i] % 50
                topic.append_batch([payload(i, ends[i] + k) for k in range(count)])
                ends[i] += count
            else:
                topic.append(payload(i, ends[i]))
                ends[i] += 1
        if ends[0] % 16 == 0:
            time.sleep(0.0005)
"""


def read_on(view, number, at, stop):
    """Reads the topic from `at` to its end, and compares; gives the new position."""
    topic = view.topic(str(number))
    while not stop.is_set():
        batch = topic.read_batch(at, max_entries=500)
        assert batch.tolist() == [payload(number, at + k) for k in range(len(batch))]
        at += len(batch)
        if not len(batch):
            break
    assert at <= topic.end_offset
    return at


def follow(path, stop, failures, seed):
    """Reads all topics: on from where it was, and now and then again from the beginning."""
    rng = random.Random(seed)
    try:
        with walrus.open(path, read_only=True) as view:
            at = [0] * TOPICS
            while not stop.is_set():
                for i in range(TOPICS):
                    at[i] = read_on(view, i, at[i], stop)
                    if rng.random() < 0.1 and at[i]:
                        first = rng.randrange(at[i])
                        assert view.topic(str(i)).read_batch(first, max_entries=1).tolist() == [payload(i, first)]
    except BaseException as failure:
        failures.append(failure)
        raise


@pytest.mark.parametrize("kills", [25, pytest.param(300, marks=[pytest.mark.nightly, pytest.mark.timeout(1800)])])
def test_readers_go_on_over_each_kill_of_the_writer(child, tmp_path, kills):
    seed = random.SystemRandom().randrange(1 << 30)
    print(f"seed {seed}")
    rng = random.Random(seed)
    code = WRITER.format(payload="\n    ".join((
        "def payload(topic, offset):",
        "    return b'%d/%d ' % (topic, offset) + bytes([topic]) * (offset * 37 % 300)")))
    stop, failures, threads = threading.Event(), [], []
    for _ in range(kills):
        writer = child(code)
        assert writer.stdout.readline() == "open\n"
        if not threads:
            threads = [threading.Thread(target=follow, args=(tmp_path / "log", stop, failures, seed + i)) for i in range(2)]
            for thread in threads:
                thread.start()
        time.sleep(rng.random() * 0.1)
        writer.kill()
        writer.wait()
        assert not failures
    stop.set()
    for thread in threads:
        thread.join()
    assert not failures
