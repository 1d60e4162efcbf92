"""Frame: what was written is what is read, and nothing else is."""
import struct

import pytest

from tests.native.reference import crc32c, flipped, patched, resealed, seeded

LOG_ID = bytes(range(16))
BIG = 2**64 - 1
SINGLE, BATCH, PIECE, FOREIGN = range(4)


@pytest.fixture
def seed(probe):
    return probe.seed(LOG_ID, 7)


def header(seed, word, body, first=0, claim=0, epoch=1):
    """A frame by the byte table, without the code under test; not padded."""
    rest = struct.pack("<IIIQQ", word, epoch, claim, first, 99) + body
    return struct.pack("<I", crc32c(rest, seed)) + rest


def word(kind, value, version=1):
    return version << 28 | kind << 22 | value


def padded(data):
    return data + bytes(-len(data) % 8)


def samples(probe, seed):
    """Small frames of each kind with no padding, so that every bit of them counts."""
    body = struct.pack("<II", 3, 1) + b"abcd"
    return {
        "single": probe.write_single(seed, b"12345678", first=5, epoch=3, claim=2, time_ns=10**18),
        "empty": probe.write_single(seed, b"", first=5),
        "batch": probe.write_batch(seed, [b"abc", b"", b"defgh", b"12345678"], first=9, claim=1),
        "piece": probe.write_piece(seed, padded(body), stamp=77, number=2, pieces=3, entries=2, first=9),
    }


def test_seed_is_of_log_and_topic(probe):
    assert probe.seed(LOG_ID, 7) == crc32c(LOG_ID + struct.pack("<Q", 7))
    assert len({probe.seed(LOG_ID, 7), probe.seed(LOG_ID, 8), probe.seed(bytes(16), 7)}) == 3


def test_claim_saturates(probe):
    assert probe.claim(10, 4) == 6
    assert probe.claim(4, 10) == 0
    assert probe.claim(2**40, 0) == 2**32 - 1
    assert probe.claim(2**32 + 5, 5) == 2**32 - 1


def test_bytes_are_those_of_the_table(probe, seed):
    assert probe.write_single(seed, b"hello", first=5, epoch=3, claim=2, time_ns=99) == padded(
        header(seed, word(SINGLE, 5), b"hello", first=5, claim=2, epoch=3))
    assert probe.write_batch(seed, [b"hello", b"", b"you"], first=5, time_ns=99) == padded(
        header(seed, word(BATCH, 3), struct.pack("<III", 5, 0, 3) + b"helloyou", first=5))
    assert probe.write_piece(seed, b"body", 77, 2, 3, 9, first=5, time_ns=99) == padded(
        header(seed, word(PIECE, 4), struct.pack("<QIIII", 77, 2, 3, 9, 0) + b"body", first=5))


def test_single_round_trip_at_every_length(probe, seed):
    random = seeded("single")
    for length in [*range(0, 700), 4096, 65535, 2**20, 2**22 - 1]:
        data = random.randbytes(length)
        frame = probe.write_single(seed, data, first=2**40, epoch=3, claim=9, time_ns=10**18)
        code, view = probe.read(frame, seed)
        assert code == 1
        assert view == {"first": 2**40, "time_ns": 10**18, "durable": 2**40 - 9, "epoch": 3, "kind": SINGLE, "count": 1,
                        "size": len(frame), "stamp": 0, "number": 0, "pieces": 0, "body": data}
        assert probe.peek(frame) == (1, view)


def test_batch_round_trip(probe, seed):
    random = seeded("batch")
    for count in [2, 3, 7, 8, 100, 1999, 2000, *(random.randrange(2, 2001) for _ in range(20))]:
        largest = random.choice([0, 1, 8, 100, 900])
        entries = [random.randbytes(random.randrange(largest + 1)) for _ in range(count)]
        frame = probe.write_batch(seed, entries, first=6)
        assert probe.write_batch(seed, entries, first=6, packed=True) == frame
        code, view = probe.read(frame, seed)
        assert (code, view["count"], view["first"], view["size"]) == (1, count, 6, len(frame))
        assert view["entries"] == entries


def test_piece_round_trip(probe, seed):
    random = seeded("piece")
    for length in (0, 1, 7, 8, 1000, 100000):
        body = random.randbytes(length)
        for number, pieces in ((0, 0), (0, 1), (41, 0), (41, 42), (2**32 - 1, 0)):
            code, view = probe.read(probe.write_piece(seed, body, 2**60, number, pieces, 2000, first=6), seed)
            assert code == 1
            assert (view["stamp"], view["number"], view["pieces"], view["count"]) == (2**60, number, pieces, 2000)
            assert view["body"] == body


def test_overhead_is_within_the_promise(probe, seed):
    random = seeded("overhead")
    for length in range(200):
        assert len(probe.write_single(seed, bytes(length))) - length <= 40
    for count in range(2, 60):
        payload = [bytes(random.randrange(30)) for _ in range(count)]
        overhead = len(probe.write_batch(seed, payload)) - sum(map(len, payload))
        assert overhead <= 40 + 8 * (count - 1)


@pytest.mark.parametrize("way", ["fast", "portable"])
def test_each_flipped_bit_is_refused(probe, seed, way):
    probe.force_portable(way == "portable")
    try:
        for name, frame in samples(probe, seed).items():
            assert probe.read(frame, seed)[0] == 1, name
            for bit in range(8 * len(frame)):
                assert probe.read(flipped(frame, bit), seed)[0] == 0, (name, bit)
    finally:
        probe.force_portable(False)


def test_each_truncation_is_refused(probe, seed):
    for name, frame in samples(probe, seed).items():
        for length in range(len(frame)):
            assert probe.read(frame[:length], seed)[0] == 0, (name, length)
            assert probe.search(frame[:length], seed)[0] == length


def test_padding_belongs_to_the_frame_but_not_to_its_checksum(probe, seed):
    frame = probe.write_single(seed, b"abc")
    assert frame[35:] == bytes(5)
    assert probe.read(frame[:35], seed)[0] == 0
    assert probe.read(frame[:35] + b"\xff" * 5, seed)[0] == 1


def test_another_topic_or_log_is_refused(probe, seed):
    for frame in samples(probe, seed).values():
        assert probe.read(frame, probe.seed(LOG_ID, 8))[0] == 0
        assert probe.read(frame, probe.seed(bytes(16), 7))[0] == 0
        assert probe.read(frame, 0)[0] == 0


def test_zeros_and_ones_are_no_frames(probe, seed):
    for byte in (b"\0", b"\xff"):
        assert probe.read(byte * 4096, seed)[0] == 0
        assert probe.search(byte * 4096, seed)[0] == 4096


@pytest.mark.parametrize("version", [2, 3, 15])
def test_a_newer_version_is_told(probe, seed, version):
    for frame in samples(probe, seed).values():
        old = struct.unpack_from("<I", frame, 4)[0]
        newer = patched(frame, 4, "I", old & 0x0FFFFFFF | version << 28)
        assert probe.read(newer, seed)[0] == 0, "checksum is wrong: damage"
        newer = resealed(newer, len(newer), seed)
        assert probe.read(newer, seed)[0] == -1
        assert probe.peek(newer)[0] == 0
        assert probe.search(newer + frame, seed)[0] == len(newer)
    assert probe.read(header(seed, word(FOREIGN, 8, version), bytes(8)), seed)[0] == -1


def test_a_foreign_body_is_refused_by_this_version(probe, seed):
    assert probe.read(header(seed, word(FOREIGN, 8), bytes(8)), seed)[0] == 0
    for kind in range(4, 64):
        assert probe.read(header(seed, word(kind, 8), bytes(8)), seed)[0] == 0


def test_version_zero_is_refused_with_the_right_checksum(probe, seed):
    assert probe.read(header(seed, word(SINGLE, 8, version=0), bytes(8)), seed)[0] == 0


def test_hostile_values_are_refused(probe, seed):
    """All with the right checksum over what is there: sizes are refused because of themselves."""
    def refused(frame, why):
        for room in (frame, padded(frame), padded(frame) + bytes(4096)):
            assert probe.read(room, seed)[0] == 0, why
            assert probe.peek(room)[0] == 0, why
            assert probe.search(room, seed)[0] == len(room), why

    lengths = struct.pack("<2000I", *[2**32 - 1] * 2000)
    refused(header(seed, word(BATCH, 2000), lengths), "lengths that sum up to 8 TB")
    refused(header(seed, word(BATCH, 2), struct.pack("<II", 2**32 - 1, 9) + bytes(8)), "a sum that wraps 32 bits to 8")
    refused(header(seed, word(BATCH, 2), struct.pack("<II", 2**31, 2**31)), "a sum that wraps 32 bits to 0")
    refused(header(seed, word(BATCH, 2), struct.pack("<II", 2**32 - 48, 0)), "a size that wraps 32 bits")
    refused(header(seed, word(BATCH, 0), bytes(8)), "no entries")
    refused(header(seed, word(BATCH, 2001), bytes(4 * 2001)), "too many entries")
    refused(header(seed, word(BATCH, 2**22 - 1), bytes(64)), "far too many entries")
    refused(header(seed, word(SINGLE, 2**22 - 1), bytes(64)), "a payload that is not there")
    refused(header(seed, word(SINGLE, 8), bytes(8), first=5, claim=6), "a claim of more than there was")
    refused(header(seed, word(SINGLE, 8), bytes(8), first=BIG), "offsets that wrap")
    refused(header(seed, word(BATCH, 2), struct.pack("<II", 0, 0), first=BIG - 1), "offsets of a batch that wrap")
    for number, pieces, entries in ((0, 2, 5), (5, 5, 5), (5, 1, 5), (0, 0, 0), (0, 0, 2001), (0, 0, 2**32 - 1),
                                    (2**32 - 1, 1, 5)):
        refused(header(seed, word(PIECE, 8), struct.pack("<QIIII", 1, number, pieces, entries, 0) + bytes(8)),
                ("piece", number, pieces, entries))
    refused(header(seed, word(PIECE, 2**22 - 1), struct.pack("<QIIII", 1, 0, 0, 1, 0)), "a piece that is not there")


def test_random_bytes_in_any_room_are_refused_without_reading_beyond(probe, seed):
    random = seeded("hostile")
    for _ in range(20000):
        room = random.choice([*range(0, 80), 4096])
        data = random.randbytes(room)
        if room >= 8 and random.random() < 0.8:
            value = random.choice([random.getrandbits(22), random.randrange(64)])
            data = patched(data, 4, "I", word(random.choice([0, 1, 1, 1, 2]), value, random.choice([1, 1, 2])))[:room]
        assert probe.read(data, seed)[0] == 0
        probe.peek(data)


def test_search_finds_the_next_frame(probe, seed):
    random = seeded("search")
    for _ in range(200):
        gap = 8 * random.randrange(200)
        frame = probe.write_single(seed, random.randbytes(random.randrange(90)), first=random.getrandbits(40))
        other = probe.write_single(seed ^ 1, b"of another topic")
        data = random.randbytes(gap) + other + frame + random.randbytes(8 * random.randrange(20))
        place, view = probe.search(data, seed)
        assert (place, view) == (gap + len(other), probe.read(frame, seed)[1])
    assert probe.search(frame, seed)[0] == 0


def test_search_passes_over_damage_to_the_frames_behind(probe, seed):
    frames = [probe.write_single(seed, b"entry %d" % i, first=i) for i in range(5)]
    data = b"".join(frames)
    place, view = probe.search(flipped(data, 8 * len(frames[0]) // 2), seed)
    assert (place, view["first"]) == (len(frames[0]), 1)


def test_search_of_uneven_room_stops_at_its_end(probe, seed):
    for room in range(0, 100):
        assert probe.search(bytes(room), seed)[0] == room
