"""Snapshot: every topic, cursor and file comes back, or the whole snapshot does not count."""
import struct

import pytest

from tests.native.reference import flipped, patched, resealed, seeded

BIG = 2**64 - 1
TOPIC, CURSOR = 160, 160 + 80 + 16 + 16 + 8         # where they begin in the small one


def topic(i=0, name=b"topic", epochs=((1, 2),), ranges=((3, 4),)):
    return {"id": i, "low": 1, "durable": 9, "name": name, "epochs": list(epochs), "ranges": list(ranges)}


def cursor(i=0, name=b"cursor"):
    return {"id": i, "topic_id": 5, "stamp": 6, "value": 7, "name": name}


def listed(i=0):
    return {"name": i, "number": 1 << 32 | i, "end": 4096}


def bytes_of(data):
    return struct.unpack_from("<Q", data, 16)[0]


def sealed(data):
    return resealed(data, bytes_of(data))


@pytest.fixture
def small(probe):
    return probe.write_snapshot([topic()], [cursor()], [listed()], epoch=3, stamp=8)


def test_everything_comes_back(probe):
    random = seeded("snapshot")
    for size in (0, 1, 3, 40, 700):
        topics = [topic(i, random.randbytes(random.randrange(1, 40)),
                        [(random.getrandbits(64), random.getrandbits(64)) for _ in range(random.randrange(5))],
                        [(random.getrandbits(64), random.getrandbits(64)) for _ in range(random.randrange(3))])
                  for i in range(size)]
        cursors = [cursor(i, random.randbytes(random.randrange(0, 40))) for i in range(2 * size)]
        files = [listed(i) for i in range(size // 2)]
        data = probe.write_snapshot(topics, cursors, files)
        assert len(data) % 4096 == 0 and data[bytes_of(data):] == bytes(len(data) - bytes_of(data))
        assert probe.check_snapshot(data) == 1
        assert probe.read_snapshot(data) == (topics, cursors, files)
        assert probe.write_snapshot(topics, cursors, files, uses=3) == data


def test_follows_the_byte_table(probe, small):
    assert struct.unpack_from("<IIIQ", small, 4) == (0x4E535257, 1, 0, 160 + 80 + 32 + 8 + 48 + 8 + 64)
    assert struct.unpack_from("<QQ", small, 72) == (3, 8)
    assert struct.unpack_from("<III", small, 128) == (1, 1, 1)
    assert sealed(small) == small
    assert small[TOPIC + 80:TOPIC + 120] == struct.pack("<QQQQ", 1, 2, 3, 4) + b"topic\0\0\0"
    assert small[CURSOR + 48:CURSOR + 56] == b"cursor\0\0"


def test_each_flipped_bit_is_refused(probe, small):
    for bit in range(8 * bytes_of(small)):
        assert probe.check_snapshot(flipped(small, bit)) == 0, bit


def test_each_truncation_is_refused(probe, small):
    for length in range(bytes_of(small)):
        assert probe.check_snapshot(small[:length]) == 0, length
    assert probe.check_snapshot(small[:bytes_of(small)]) == 1


def test_a_newer_version_is_told(probe, small):
    newer = patched(small, 8, "I", 2)
    assert probe.check_snapshot(newer) == 0
    assert probe.check_snapshot(sealed(newer)) == -1


@pytest.mark.parametrize("place, form, value", [
    (4, "I", 0), (8, "I", 0),
    (128, "I", 0), (128, "I", 2), (128, "I", 2**32 - 1), (132, "I", 0), (132, "I", 2**32 - 1), (136, "I", 0),
    (136, "I", 2), (136, "I", 2**32 - 1),
    (TOPIC + 40, "I", 2), (TOPIC + 40, "I", 2**32 - 1), (TOPIC + 44, "I", 0), (TOPIC + 44, "I", 2**32 - 1),
    (TOPIC + 48, "H", 17), (TOPIC + 48, "H", 1025), (TOPIC + 48, "H", 65535),
    (CURSOR + 36, "H", 0), (CURSOR + 36, "H", 9), (CURSOR + 36, "H", 65535)])
def test_counts_and_lengths_that_lie_are_refused_with_the_right_checksum(probe, small, place, form, value):
    assert probe.check_snapshot(sealed(patched(small, place, form, value))[:bytes_of(small)]) == 0
    assert probe.check_snapshot(sealed(patched(small, place, form, value))) == 0


@pytest.mark.parametrize("value", [0, 8, 152, 161, 2**32, BIG, BIG - 7])
def test_a_size_that_lies_is_refused(probe, small, value):
    lying = patched(small, 16, "Q", value)
    assert probe.check_snapshot(lying) == 0
    if 4 < value <= len(lying):
        assert probe.check_snapshot(sealed(lying)) == 0


def test_random_items_are_refused_without_reading_beyond(probe, small):
    random = seeded("items")
    size = bytes_of(small)
    for _ in range(5000):
        data = bytearray(small[:size])
        for _ in range(random.randrange(1, 6)):
            data[random.choice([random.randrange(128, 144), random.randrange(TOPIC + 40, TOPIC + 56),
                                random.randrange(CURSOR + 32, CURSOR + 40)])] = random.getrandbits(8)
        probe.check_snapshot(resealed(bytes(data), size))


def test_an_uneven_size_is_refused_in_every_version(probe, small):
    for version in (1, 2):
        uneven = patched(patched(small, 8, "I", version), 16, "Q", bytes_of(small) - 1)
        assert probe.check_snapshot(sealed(uneven)) == 0
