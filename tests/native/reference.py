"""A second implementation, in Python, of what the bytes layer promises: the checksum, the sources of randomness of its tests."""
import os
import random
import struct


def _table():
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


TABLE = _table()


def crc32c(data, crc=0):
    state = crc ^ 0xFFFFFFFF
    for byte in data:
        state = state >> 8 ^ TABLE[(state ^ byte) & 255]
    return state ^ 0xFFFFFFFF


def resealed(data, crc_end, seed=0):
    """data with the checksum of bytes 4 .. crc_end in its first four."""
    return struct.pack("<I", crc32c(data[4:crc_end], seed)) + data[4:]


def patched(data, place, form, *values):
    """data with the fields of `form` at `place` replaced."""
    new = struct.pack("<" + form, *values)
    return data[:place] + new + data[place + len(new):]


def flipped(data, bit):
    return data[:bit // 8] + bytes([data[bit // 8] ^ 1 << bit % 8]) + data[bit // 8 + 1:]


def seeded(label):
    """A generator whose seed is printed, so that a failure can be had again with WALRUS_TEST_SEED."""
    seed = int(os.environ.get("WALRUS_TEST_SEED") or random.SystemRandom().getrandbits(32))
    print(f"{label}: WALRUS_TEST_SEED={seed}")
    return random.Random(f"{label}{seed}")
