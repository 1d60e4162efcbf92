"""Log file: head and table count where they were written, whole, or not at all."""
import struct

import pytest

from tests.native.reference import crc32c, flipped, patched, resealed

LOG_ID = bytes(range(16))
NUMBER, POSITION, END = 3 << 32 | 9, 65536, 61440
BIG = 2**64 - 1


def group(first=0, count=1, position=8192, bytes=64, kind=0):
    return struct.pack("<QQIIQIIQQQIIBBHI", 5, first, count, 1, position, bytes, 8, 1, 2, 0, 0, 0, kind, 0, 4, 0)


def table(probe, groups, end=END):
    return probe.seal_table(bytes(64) + b"".join(groups), LOG_ID, NUMBER, POSITION, len(groups), end)


def check(probe, data, log_id=LOG_ID, number=NUMBER, position=POSITION):
    return probe.check_table(data, log_id, number, position)


def table_seed():
    return crc32c(LOG_ID + struct.pack("<QQ", NUMBER, POSITION))


@pytest.fixture
def head(probe):
    return probe.write_head(LOG_ID, NUMBER, 2**24, 10**18)


def test_head_follows_the_byte_table(probe, head):
    fields = struct.pack("<III16sQQQQ", 0x464C5257, 1, 4096, LOG_ID, NUMBER, 2**24, 10**18, 0)
    assert head == (struct.pack("<I", crc32c(fields)) + fields).ljust(4096, b"\0")
    assert probe.read_head(head, LOG_ID) == (1, (NUMBER, 2**24, 10**18))


def test_each_flipped_bit_of_the_head_is_refused(probe, head):
    for bit in range(8 * 64):
        assert probe.read_head(flipped(head, bit), LOG_ID)[0] == 0, bit


def test_head_of_another_log_is_told(probe, head):
    assert probe.read_head(head, bytes(16))[0] == -2


def test_head_of_a_newer_version_is_told(probe, head):
    newer = patched(head, 8, "I", 2)
    assert probe.read_head(newer, LOG_ID)[0] == 0
    assert probe.read_head(resealed(newer, 64), LOG_ID)[0] == -1


@pytest.mark.parametrize("place, form, value", [(4, "I", 0), (8, "I", 0), (12, "I", 512), (32, "Q", 0), (40, "Q", 4095)])
def test_head_with_a_field_that_cannot_be_is_refused(probe, head, place, form, value):
    assert probe.read_head(resealed(patched(head, place, form, value), 64), LOG_ID)[0] == 0


def test_no_head_in_zeros(probe):
    assert probe.read_head(bytes(4096), LOG_ID)[0] == 0


def test_table_follows_the_byte_table(probe):
    groups = [group(), group(first=1)]
    fields = struct.pack("<IIIQQQQQQ", 0x54465257, 1, 2, NUMBER, END, 224, 0, 0, 0) + b"".join(groups)
    assert table(probe, groups) == struct.pack("<I", crc32c(fields, table_seed())) + fields


def test_what_was_sealed_is_valid(probe):
    for count in (0, 1, 2, 500):
        data = table(probe, [group()] * count)
        assert check(probe, data) == 1
        assert check(probe, data + bytes(1000)) == 1


def test_each_flipped_bit_of_the_table_is_refused(probe):
    data = table(probe, [group(), group()])
    for bit in range(8 * len(data)):
        assert check(probe, flipped(data, bit)) == 0, bit


def test_each_truncation_of_the_table_is_refused(probe):
    data = table(probe, [group(), group()])
    for length in range(len(data)):
        assert check(probe, data[:length]) == 0, length


def test_table_of_another_place_file_or_log_is_refused(probe):
    data = table(probe, [group()])
    assert check(probe, data, log_id=bytes(16)) == 0
    assert check(probe, data, number=NUMBER + 1) == 0
    assert check(probe, data, position=POSITION + 4096) == 0


def test_table_of_a_newer_version_is_told(probe):
    data = patched(table(probe, [group()]), 8, "I", 2)
    assert check(probe, resealed(data, len(data), table_seed())) == -1


@pytest.mark.parametrize("place, form, value", [
    (8, "I", 0), (12, "I", 0), (12, "I", 2), (12, "I", 2**32 - 1), (24, "Q", 0), (24, "Q", POSITION + 1), (24, "Q", BIG),
    (32, "Q", 0), (32, "Q", 64), (32, "Q", BIG)])
def test_table_with_a_field_that_lies_is_refused(probe, place, form, value):
    data = patched(table(probe, [group()]), place, form, value)
    assert check(probe, resealed(data, len(data), table_seed())) == 0


@pytest.mark.parametrize("options", [
    dict(kind=2), dict(count=0), dict(first=BIG), dict(position=0), dict(position=4088), dict(position=8196),
    dict(position=END + 8, bytes=0), dict(position=END, bytes=1), dict(position=BIG - 7), dict(bytes=2**32 - 1)], ids=str)
def test_groups_that_lie_are_refused(probe, options):
    assert check(probe, table(probe, [group(), group(**options)])) == 0
