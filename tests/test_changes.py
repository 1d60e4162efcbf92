"""Catalog changes: what was written is read; sizes that lie are refused."""
import struct

from tests.native.reference import patched, seeded


def test_round_trip_by_the_byte_table(probe):
    data = probe.write_change(2, 11, 22, b"a cursor", 33, 44, 55)
    assert data == struct.pack("<HHIQQQQQQ", 2, 8, 64, 11, 22, 33, 44, 55, 0) + b"a cursor"
    assert probe.read_change(data) == ((2, 11, 22, 33, 44, 55, b"a cursor"), 64)


def test_every_length_of_name(probe):
    random = seeded("names")
    for length in [*range(40), 1024, 65535]:
        name = random.randbytes(length)
        data = probe.write_change(1, 1, 2, name)
        assert len(data) == 56 + (length + 7) // 8 * 8
        assert data[56 + length:] == bytes(-length % 8)
        assert probe.read_change(data) == ((1, 1, 2, 0, 0, 0, name), len(data))


def test_a_run_of_changes_is_read_in_order(probe):
    written = [(kind, kind, 5, 0, kind * 2, 0, b"n" * kind) for kind in range(1, 9)]
    data = b"".join(probe.write_change(k, s, t, n, c, v, e) for k, s, t, c, v, e, n in written)
    read = []
    while data:
        change, size = probe.read_change(data)
        read.append(change)
        data = data[size:]
    assert read == written


def test_each_truncation_is_refused(probe):
    data = probe.write_change(1, 1, 2, b"some name")
    for length in range(len(data)):
        assert probe.read_change(data[:length]) is None


def test_sizes_that_lie_are_refused(probe):
    data = probe.write_change(1, 1, 2, b"some name") + bytes(256)
    for size in (0, 8, 56, 64, 71, 73, 80, 2**32 - 1, 2**32 - 8):
        assert probe.read_change(patched(data, 4, "I", size)) is None, size
    for name_bytes in (0, 8, 17, 65535):
        assert probe.read_change(patched(data, 2, "H", name_bytes)) is None, name_bytes
    for kind in (0, 9, 65535):
        assert probe.read_change(patched(data, 0, "H", kind)) is None, kind


def test_random_bytes_are_refused_without_reading_beyond(probe):
    random = seeded("changes")
    for _ in range(5000):
        probe.read_change(struct.pack("<HH", random.randrange(10), random.randrange(32)) + random.randbytes(random.randrange(90)))
