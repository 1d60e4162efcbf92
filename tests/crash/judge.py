"""Opens crash states and holds them against the marks: nothing durable lost, no hole, batches whole, cursors right.

The oracle is the list of marks, made by another process; the entries' bytes follow from topic and offset alone. Run as a
process of the debug build: python -m tests.crash.judge, with one JSON request per line: {"directory": ..., "marks": [...]};
answers one JSON line each.
"""
import json
import shutil
import sys

import walrus
from tests.crash.workloads import NAMES, payload


def expected(marks: list[list[object]]) -> tuple[list[int], list[set[int]], list[list[int]]]:
    """Per topic: what was durable, where frames end, values that the cursor may have."""
    durable = [0] * len(NAMES)
    borders: list[set[int]] = [{0} for _ in NAMES]
    cursors: list[list[int]] = [[0] for _ in NAMES]
    for mark in marks:
        kind, topic, *rest = mark
        if kind == "begin":
            borders[topic].add(rest[0] + rest[1])
        elif kind == "durable":
            durable[topic] = max(durable[topic], rest[0])
        elif kind == "cursor":
            cursors[topic].append(rest[0])
        elif kind == "cursor durable":
            at = len(cursors[topic]) - 1 - cursors[topic][::-1].index(rest[0])
            cursors[topic] = cursors[topic][at:]
    return durable, borders, cursors


def wrong_bytes(topic: walrus.Topic, i: int, end: int) -> str:
    """'' if every entry from the oldest to `end` reads as it was written. Retention may overtake the reading: then once more."""
    for _ in range(5):
        at = topic.oldest_offset
        try:
            for entry in topic.read(at):
                if entry.offset != at or entry.data != payload(i, at):
                    return f"topic {i}: offset {at} reads as {entry.offset}, {entry.data[:20]!r}"
                at += 1
        except walrus.OffsetOutOfRange:
            continue
        return "" if at == end else f"topic {i}: reading ended at {at} of {end}"
    return f"topic {i}: its oldest offset never settled"


def judge(directory: str, marks: list[list[object]]) -> str:
    """'' or what is wrong."""
    durable, borders, cursors = expected(marks)
    if not marks:
        try:
            walrus.open(directory, staging_bytes=1 << 20, journal_file_bytes=1 << 17, log_file_bytes=1 << 18).close()
        except walrus.WalrusError as error:
            return f"a directory in which nothing had been promised does not open: {error!r}"
        return ""
    try:
        log = walrus.open(directory, staging_bytes=1 << 20, journal_file_bytes=1 << 17, log_file_bytes=1 << 18,
                          fsync_schedule=walrus.FsyncSchedule.NoFsync)
    except Exception as error:  # whatever it is, it is what this process reports
        if not any(durable):
            return "" if isinstance(error, walrus.WalrusError) else repr(error)
        return f"does not open: {error!r}"
    try:
        names = log.topics()
        for i, name in enumerate(NAMES):
            if name not in names:
                if durable[i]:
                    return f"topic {i} is gone, {durable[i]} entries had been durable"
                continue
            topic = log.topic(name)
            end, oldest = topic.end_offset, topic.oldest_offset
            if end < durable[i]:
                return f"topic {i} ends at {end}, {durable[i]} had been durable"
            if end not in borders[i]:
                return f"topic {i} ends at {end}: part of a batch, or never appended"
            problem = wrong_bytes(topic, i, end)
            if problem:
                return problem
            value = topic.cursor("c").committed
            if value not in {min(max(v, oldest), end) for v in cursors[i]}:
                return f"topic {i}: the cursor is at {value}, wanted one of {cursors[i]}"
            if oldest > max(cursors[i]):
                return f"topic {i}: entries below {oldest} were reclaimed, no cursor had passed {max(cursors[i])}"
            appended = topic.append(payload(i, end))
            if appended != end:
                return f"topic {i}: the next append got {appended}, the end was {end}"
        log.sync()
    except Exception as error:  # whatever it is, it is what this process reports
        return f"{type(error).__name__}: {error}"
    finally:
        log.close()
    return ""


def main() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        problem = judge(request["directory"], request["marks"])
        shutil.rmtree(request["directory"], ignore_errors=True)
        print(json.dumps(problem), flush=True)


if __name__ == "__main__":
    main()
