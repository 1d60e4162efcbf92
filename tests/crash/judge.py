"""Opens crash states and holds them against the marks: nothing durable lost, no hole, batches whole, cursors right.

The oracle is the list of marks, made by another process; the entries' bytes follow from topic and offset alone. Run as a
process of the debug build: python -m tests.crash.judge, with one JSON request per line: {"directory": ..., "marks": [...]};
answers one JSON line each.
"""
import copy
import json
import shutil
import sys

import walrus
from tests.crash.workloads import NAMES, payload


class Promised:
    """What had been told about one topic: what was durable, where frames end, the bytes of each offset, values that the cursor may have."""

    def __init__(self) -> None:
        self.durable = 0
        self.borders = {0}
        self.cuts: list[int] = []                   # per offset, how many truncations lay before it was given out
        self.cursors = [0]

    def begin(self, first: int, count: int, cuts: int) -> None:
        self.cuts[first:] = [cuts] * count
        self.borders = {b for b in self.borders if b <= first} | {first + count}

    def cut(self, offset: int) -> None:
        self.durable = min(self.durable, offset)
        self.borders = {b for b in self.borders if b <= offset}
        del self.cuts[offset:]


    def found(self, end: int, durable: int, value: int) -> None:
        """A process went on behind a crash: what it found is what there is."""
        self.cut(end)
        self.durable = max(self.durable, durable)
        self.cursors = [value]


def expected(marks: list[list[object]]) -> list[list[Promised]]:
    """Per topic: what was promised; two versions where a truncation was under way."""
    topics = [[Promised()] for _ in NAMES]
    for kind, topic, *rest in marks:
        if kind == "cut":
            topics[topic].append(copy.deepcopy(topics[topic][0]))
            topics[topic][1].cut(rest[0])
        elif kind == "cut done":
            del topics[topic][0]
        elif kind == "recovered":                   # of a truncation that was under way it tells how it ended
            topics[topic] = [p for p in topics[topic] if p.durable <= rest[0] and rest[0] in p.borders][-1:] or topics[topic][:1]
        for promised in topics[topic]:
            if kind == "begin":
                promised.begin(*rest)
            elif kind == "durable":
                promised.durable = max(promised.durable, rest[0])
            elif kind == "cursor":
                promised.cursors.append(rest[0])
            elif kind == "cursor durable":
                at = len(promised.cursors) - 1 - promised.cursors[::-1].index(rest[0])
                promised.cursors = promised.cursors[at:]
            elif kind == "recovered":
                promised.found(*rest)
    return topics


def wrong_bytes(topic: walrus.Topic, i: int, end: int, cuts: list[int]) -> str:
    """'' if every entry from the oldest to `end` reads as it was written. Retention may overtake the reading: then once more."""
    for _ in range(5):
        at = topic.oldest_offset
        try:
            for entry in topic.read(at):
                if entry.offset != at or entry.data != payload(i, at, cuts[at]):
                    return f"topic {i}: offset {at} reads as {entry.offset}, {entry.data[:20]!r}"
                at += 1
        except walrus.OffsetOutOfRange:
            continue
        return "" if at == end else f"topic {i}: reading ended at {at} of {end}"
    return f"topic {i}: its oldest offset never settled"


def wrong(topic: walrus.Topic, i: int, promised: Promised) -> str:
    """'' or what of the promise does not hold."""
    end, oldest = topic.end_offset, topic.oldest_offset
    if end < promised.durable:
        return f"topic {i} ends at {end}, {promised.durable} had been durable"
    if end not in promised.borders:
        return f"topic {i} ends at {end}: part of a batch, or never appended"
    problem = wrong_bytes(topic, i, end, promised.cuts)
    if problem:
        return problem
    value = topic.cursor("c").committed
    if value not in {min(max(v, oldest), end) for v in promised.cursors}:
        return f"topic {i}: the cursor is at {value}, wanted one of {promised.cursors}"
    if oldest > max(promised.cursors):
        return f"topic {i}: entries below {oldest} were reclaimed, no cursor had passed {max(promised.cursors)}"
    return ""


def judge(directory: str, marks: list[list[object]]) -> str:
    """'' or what is wrong."""
    topics = expected(marks)
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
        if not any(promised.durable for versions in topics for promised in versions):
            return "" if isinstance(error, walrus.WalrusError) else repr(error)
        return f"does not open: {error!r}"
    try:
        names = log.topics()
        for i, name in enumerate(NAMES):
            least = min(promised.durable for promised in topics[i])
            if name not in names:
                if least:
                    return f"topic {i} is gone, {least} entries had been durable"
                continue
            topic = log.topic(name)
            problems = [wrong(topic, i, promised) for promised in topics[i]]
            if all(problems):
                return problems[0]
            end = topic.end_offset
            appended = topic.append(b"what comes next")
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
