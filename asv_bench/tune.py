"""What settings change: hot paths under one setting and another, in turn, several rounds, in one run; prints a
Markdown table.

    python asv_bench/tune.py [--only REGEX] [--seconds S] [--rounds N] [--at DIRECTORY] [--place NAME=DIRECTORY ...]

A figure is the median of the rates over the rounds, relative to the first variant of its row, and in brackets the
least and the most of the rounds. --place compares directories (file systems, mount options) instead of settings.
"""

import argparse
import re
import statistics
import subprocess
import sys
from pathlib import Path

HOT = Path(__file__).resolve().parent / "hot.py"
KB = ("--entry-bytes", "1024")


def options(name, values, *more):
    """A variant for each value of an option of walrus.open()."""
    return {f"{name}={label}": (*more, "--set", f"{name}={value}") for label, value in values.items()}


MIB = {f"{mib} MiB": mib << 20 for mib in (16, 64, 256)}
SCHEDULES = {"none": "none", "200 ms": 200, "20 ms": 20, "each": "each"}
# What is turned: the path, and the variants' arguments.
ROWS = {
    "batch against single, 100 B": {"append": ("append",), "batches of 2,000": ("batch",)},
    "batch against single, 1 KB": {"append": ("append", *KB), "batches of 2,000": ("batch", *KB)},
    "batch size, 100 B": {f"{n:,}": ("batch", "--batch-entries", str(n)) for n in (2_000, 200, 20, 2)},
    "way to the disk, batches of 1 KB": options(
        "backend", {"io_uring": "io_uring", "pwrite": "pwrite", "mmap": "mmap"}, "batch", *KB
    ),
    "way to the disk, append of 100 B": options(
        "backend", {"io_uring": "io_uring", "pwrite": "pwrite", "mmap": "mmap"}, "append"
    ),
    "schedule, append of 1 KB": options("schedule", SCHEDULES, "append", *KB),
    "schedule, batches of 1 KB": options("schedule", SCHEDULES, "batch", *KB),
    "staging, batches of 1 KB": options("staging_bytes", MIB, "batch", *KB),
    "log-file size, batches of 1 KB": options("log_file_bytes", MIB, "batch", *KB),
    "largest chunk, batches of 1 KB": options(
        "chunk_bytes_max", {"64 KiB": 1 << 16, "256 KiB": 1 << 18, "1 MiB": 1 << 20}, "batch", *KB
    ),
    "persist_every, read_next of 100 B": options(
        "persist_every", {"1,000": 1_000, "100": 100, "10": 10, "1": 1, "StrictlyAtOnce": 0}, "read_next"
    ),
    "bytes of a read_batch, 100 B": {f"{k} KiB": ("read", "--read-bytes", str(k << 10)) for k in (1024, 256, 64, 4)},
    "numpy against bytes, 100 B": {"numpy": ("read",), "bytes": ("read_bytes",)},
    "numpy against bytes, 1 KB": {"numpy": ("read", *KB), "bytes": ("read_bytes", *KB)},
}
# The same paths in different directories.
PLACED = {
    "batches of 1 KB": ("batch", *KB),
    "append of 100 B": ("append",),
    "append under SyncEach": ("append", "--set", "schedule=each"),
}


def rate(arguments, given, directory):
    done = subprocess.run(
        [sys.executable, "-P", str(HOT), *arguments, "--seconds", str(given.seconds), "--at", directory],
        check=True,
        timeout=60 + given.seconds,
        capture_output=True,
        text=True,
    )
    return float(re.search(r"([\d,]+) entries/s", done.stdout)[1].replace(",", ""))


def measured(variants, given):
    """Rates of each variant; `variants` maps labels to (arguments, directory).

    Rounds are the outer loop: what else the machine does falls on all.
    """
    rates = {label: [] for label in variants}
    for _ in range(given.rounds):
        for label, (arguments, directory) in variants.items():
            rates[label].append(rate(arguments, given, directory))
    return rates


def ratio(value, base):
    return f"{value / base:.2f}" if value > base / 10 else f"{value / base:.2g}"


def row(name, rates):
    base = statistics.median(next(iter(rates.values())))
    cells = [
        f"{label}: {ratio(statistics.median(values), base)} ({ratio(min(values), base)}-{ratio(max(values), base)})"
        for label, values in rates.items()
    ]
    return f"| {name} | {base:,.0f}/s | {'; '.join(cells)} |"


def main():
    parser = argparse.ArgumentParser(description="What settings change, as a Markdown table.")
    parser.add_argument("--only", default="", help="rows that match this regular expression")
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--at", default=".")
    parser.add_argument(
        "--place", action="append", default=[], metavar="NAME=DIRECTORY", help="compare these directories"
    )
    given = parser.parse_args()
    print("| what | first | rates relative to the first (least-most) |\n|---|---|---|", flush=True)
    if given.place:
        places = dict(place.rsplit("=", 1) for place in given.place)
        rows = {name: {label: (arguments, at) for label, at in places.items()} for name, arguments in PLACED.items()}
    else:
        rows = {
            name: {label: (arguments, given.at) for label, arguments in variants.items()}
            for name, variants in ROWS.items()
        }
    for name, variants in rows.items():
        if re.search(given.only, name):
            print(row(name, measured(variants, given)), flush=True)


if __name__ == "__main__":
    main()
