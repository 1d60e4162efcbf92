"""Extent and journal record: a header counts where it was written, whole, or not at all."""
import struct

import pytest

from tests.native.reference import crc32c, flipped, patched, resealed, seeded

LOG_ID = bytes(range(16))
NUMBER, POSITION = 3 << 32 | 9, 40960
LOG, JOURNAL = 1, 2
BIG = 2**64 - 1


def group(first=0, count=1, position=512, bytes=64, kind=0, name_bytes=4, topic=5):
    return struct.pack("<QQIIQIIQQQIIBBHI", topic, first, count, 1, position, bytes, 8, 1, 2, 0, 0, 0, kind, 0, name_bytes, 0)


def extent(groups=(), names=b"", changes=b"", size=4096, kind=LOG, number=NUMBER, header_bytes=None, group_count=None,
           changes_bytes=None):
    behind = b"".join(groups) + names + bytes(-len(names) % 8) + changes
    head = struct.pack("<IHBBIIQQQQQIIQQ", 0, 0, 0, kind, 80 + len(behind) if header_bytes is None else header_bytes,
                       len(groups) if group_count is None else group_count, size, number, POSITION, 77, 66,
                       len(changes) if changes_bytes is None else changes_bytes, 3, 0, 0)
    return (head + behind).ljust(4096, b"\0")


def seed():
    return crc32c(LOG_ID + struct.pack("<QQ", NUMBER, POSITION))


def sealed(probe, *arguments, **options):
    data = extent(*arguments, **options)
    end = struct.unpack_from("<I", data, 8)[0]
    if 80 <= end <= len(data):
        return probe.seal_extent(data, LOG_ID, POSITION)
    return resealed(patched(data, 4, "HB", 0x5857, 1), len(data), seed())


def check(probe, data, log_id=LOG_ID, number=NUMBER, position=POSITION, kind=LOG, room=None):
    return probe.check_extent(data, log_id, number, position, kind, room)


@pytest.fixture
def good(probe):
    return sealed(probe, [group(), group(name_bytes=6, position=576)], b"nameothers", b"c" * 56)


def test_structs_have_the_documented_sizes(probe):
    assert probe.SIZES == {"ExtentHeader": 80, "GroupHeader": 80, "LogFileHead": 64, "TableHead": 64, "SnapshotHead": 160,
                           "SnapshotTopic": 80, "SnapshotCursor": 48, "SnapshotFile": 64, "Change": 56}


def test_seal_follows_the_byte_table(probe, good):
    assert probe.seed_of_extent(LOG_ID, NUMBER, POSITION) == seed()
    assert struct.unpack_from("<HB", good, 4) == (0x5857, 1)
    end = struct.unpack_from("<I", good, 8)[0]
    assert resealed(good, end, seed()) == good


def test_what_was_sealed_is_valid(probe, good):
    assert check(probe, good) == 1
    assert check(probe, sealed(probe)) == 1
    assert check(probe, sealed(probe, kind=JOURNAL), kind=JOURNAL) == 1
    names, changes = probe.names_and_changes(good)
    assert names == [b"name", b"others"] and changes == b"c" * 56


def test_a_group_may_leave_its_name_to_an_earlier_one(probe):
    data = sealed(probe, [group(), group(name_bytes=0), group(name_bytes=0)], b"name")
    assert check(probe, data) == 1
    assert probe.names_and_changes(data)[0] == [b"name", b"", b""]


def test_each_flipped_bit_of_the_header_is_refused(probe, good):
    end = struct.unpack_from("<I", good, 8)[0]
    for bit in range(8 * end):
        assert check(probe, flipped(good, bit), room=2**40) in (0, 2), bit
        if not 64 <= bit < 96:                      # header_bytes itself may ask for more than there is
            assert check(probe, flipped(good, bit), room=2**40) == 0, bit


def test_frames_behind_the_header_are_not_covered(probe, good):
    assert check(probe, flipped(good, 8 * 4000)) == 1


def test_another_place_log_file_or_kind_is_refused(probe, good):
    assert check(probe, good, log_id=bytes(16)) == 0
    assert check(probe, good, number=NUMBER + 1) == 0
    assert check(probe, good, position=POSITION + 4096) == 0
    assert check(probe, good, kind=JOURNAL) == 0
    stale = patched(good, 24, "Q", NUMBER + 1)      # the number that is asked for, under the checksum of another
    assert check(probe, stale, number=NUMBER + 1) == 0


def test_each_truncation_asks_for_more_or_is_refused(probe, good):
    end = struct.unpack_from("<I", good, 8)[0]
    for have in range(end):
        assert check(probe, good[:have], room=4096) == (0 if have < 80 else 2)
    assert check(probe, good[:end], room=4096) == 1


def test_room_of_the_file_bounds_the_size(probe):
    data = sealed(probe, size=8192)
    assert check(probe, data, room=8192) == 1
    assert check(probe, data, room=8191) == 0


def test_a_newer_version_is_told(probe, good):
    newer = patched(good, 6, "B", 2)
    assert check(probe, newer) == 0
    assert check(probe, resealed(newer, struct.unpack_from("<I", good, 8)[0], seed())) == -1
    zero = patched(good, 6, "B", 0)
    assert check(probe, resealed(zero, struct.unpack_from("<I", good, 8)[0], seed())) == 0


@pytest.mark.parametrize("options", [
    dict(size=0), dict(size=4095), dict(size=100), dict(size=BIG), dict(size=BIG - 4095), dict(size=2**63),
    dict(header_bytes=0), dict(header_bytes=79), dict(header_bytes=72), dict(header_bytes=84),
    dict(header_bytes=2**32 - 8), dict(header_bytes=4104), dict(group_count=1), dict(group_count=2**32 - 1),
    dict(group_count=53687092), dict(changes_bytes=8), dict(changes_bytes=4), dict(changes_bytes=2**32 - 8),
], ids=str)
def test_sizes_that_lie_are_refused_with_the_right_checksum(probe, options):
    assert check(probe, sealed(probe, **options)) == 0


@pytest.mark.parametrize("options", [
    dict(kind=2), dict(count=0), dict(first=BIG, count=1), dict(position=0), dict(position=80), dict(position=516),
    dict(position=4096, bytes=8), dict(position=4104), dict(position=BIG - 7), dict(position=512, bytes=3592),
    dict(bytes=2**32 - 1), dict(name_bytes=9), dict(name_bytes=1025), dict(name_bytes=65535),
], ids=str)
def test_groups_that_lie_are_refused_with_the_right_checksum(probe, options):
    assert check(probe, sealed(probe, [group()], b"name")) == 1
    assert check(probe, sealed(probe, [group(**options)], b"name")) == 0
    assert check(probe, sealed(probe, [group(), group(**options)], b"name" * 2)) == 0


def test_random_headers_are_refused_without_reading_beyond(probe):
    random = seeded("headers")
    for _ in range(5000):
        data = bytearray(sealed(probe, [group()], b"name", b"c" * 56)[:random.randrange(8, 400)])
        for _ in range(random.randrange(1, 5)):
            data[random.randrange(len(data))] = random.getrandbits(8)
        end = min(len(data), int.from_bytes(data[8:12], "little"))
        data = bytes(data)
        check(probe, resealed(data, end, seed()), room=4096)
