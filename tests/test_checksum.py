"""Checksum: the standard CRC32C, the same from every implementation, at every length and alignment."""

import pytest

from tests.native.reference import crc32c, seeded


@pytest.fixture(params=["fast", "portable"])
def way(probe, request):
    probe.force_portable(request.param == "portable")
    yield request.param
    probe.force_portable(False)


def test_known_vectors(probe, way):
    assert probe.checksum(b"") == 0
    assert probe.checksum(b"123456789") == 0xE3069283
    # RFC 3720, B.4
    assert probe.checksum(bytes(32)) == 0x8A9136AA
    assert probe.checksum(b"\xff" * 32) == 0x62A8AB43
    assert probe.checksum(bytes(range(32))) == 0x46DD794E
    assert probe.checksum(bytes(range(31, -1, -1))) == 0x113FDB5C


def test_implementation_is_named(probe):
    assert probe.implementation() in ("isa-l+sse4.2", "sse4.2", "armv8", "table")
    probe.force_portable(True)
    assert probe.implementation() == "table"
    probe.force_portable(False)


def test_every_length_and_alignment_agrees_with_the_reference(probe, way):
    data = seeded("lengths").randbytes(2000)
    expected = [0]
    for byte in data:
        expected.append(crc32c(bytes([byte]), expected[-1]))
    for alignment in range(16):
        assert probe.checksums(data, alignment) == expected


def test_long_data_agrees(probe):
    random = seeded("long")
    for length in (4095, 16384, 16385, 65536 + 7, 1 << 20, (1 << 20) + random.randrange(100000)):
        data = random.randbytes(length)
        probe.force_portable(True)
        portable = probe.checksum(data)
        probe.force_portable(False)
        assert probe.checksum(data) == portable


def test_chains(probe, way):
    random = seeded("chains")
    data = random.randbytes(5000)
    whole = probe.checksum(data)
    for _ in range(300):
        cut = sorted(random.randrange(len(data) + 1) for _ in range(2))
        crc = 0
        for begin, end in zip([0, *cut], [*cut, len(data)], strict=True):
            crc = probe.checksum(data[begin:end], crc)
        assert crc == whole


def test_copy_copies_and_agrees(probe, way):
    random = seeded("copy")
    lengths = [*range(0, 800), *(random.randrange(800, 70000) for _ in range(60)), 16384, 32768]
    for length in lengths:
        data = random.randbytes(length)
        start = random.getrandbits(32)
        result = probe.checksum_copy(data, start, random.randrange(9), random.randrange(9))
        assert result == (probe.checksum(data, start), data)
