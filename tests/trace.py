"""Reads traces of the debug build (docs/trace.md), and writes marks into them."""
import os
import struct
from collections import namedtuple

MAGIC = 0x52545257
HEADER = struct.Struct("<IIIIQQQ")
OPS = (None, "OPEN_LOG", "CREATE", "OPEN", "WRITE_BEGIN", "WRITE_END", "FLUSH_BEGIN", "FLUSH_END", "ALLOCATE", "TRUNCATE",
       "PUNCH", "RENAME", "UNLINK", "SYNC_DIRECTORY_BEGIN", "SYNC_DIRECTORY_END", "MAP", "MARK")
MARK = OPS.index("MARK")

# `result` is that of an ..._END record (0 or a negative errno), else 0; `data` is b"" but for WRITE_BEGIN and MARK.
Record = namedtuple("Record", "op file name position bytes sequence result data")


def read(path):
    """All records, in their order. One that the death of its writer cut off at the end is left out."""
    with open(path, "rb") as file:
        text = file.read()
    records, at = [], 0
    while at + HEADER.size <= len(text):
        magic, op, number, name_bytes, position, size, sequence = HEADER.unpack_from(text, at)
        if magic != MAGIC or not 0 < op < len(OPS):
            raise ValueError(f"{path}: no record at {at}")
        at += HEADER.size
        name = text[at:at + name_bytes].decode("utf-8", "surrogateescape")
        at += name_bytes
        data, result = b"", 0
        if OPS[op] in ("WRITE_BEGIN", "MARK"):
            data = text[at:at + size]
            at += size
        elif OPS[op].endswith("_END"):
            size, result = 0, struct.unpack("<q", struct.pack("<Q", size))[0]
        if at > len(text):
            break
        records.append(Record(OPS[op], number, name, position, size, sequence, result, data))
    return records


def mark(fd, data):
    """One write into a trace opened O_APPEND: ordered with the operations of the device."""
    text = HEADER.pack(MAGIC, MARK, 0, 0, 0, len(data), 0) + data
    assert os.write(fd, text) == len(text)
