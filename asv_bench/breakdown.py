"""Where the time of a hot path goes: runs hot.py under perf, and prints a Markdown table of ns an entry.

    PYTHONPATH=build/profile .venv/bin/python -P asv_bench/breakdown.py [ARGUMENTS OF hot.py]

perf samples by its clock, which every machine has; shares are those of the calling thread's samples, rows are modules
of walrus or what they call. ns are shares of the best of ROUNDS runs without perf.
"""

import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

HOT = Path(__file__).resolve().parent / "hot.py"
ROUNDS = 5
SAMPLES_A_SECOND = 10_000
SHOWN = 0.01
SAMPLE = re.compile(r"\s*(?P<pid>\d+)/(?P<tid>\d+)\s+[0-9a-f]+ (?P<symbol>.+) \((?P<object>.*)\)$")
# (object, symbol) to the name of a row; the first that matches.
GROUPS = (
    (r"\[vdso\]", r"", "the clock"),
    (r"\[", r"", "the kernel"),
    (r"libisal", r"", "ISA-L: checksums of long data"),
    (r"libc\b|libc-", r"_*mem(cpy|move)", "the C library: copying"),
    (r"libc\b|libc-", r"", "the C library: the rest"),
    (r"libpython|bin/python", r"", "Python"),
    (r"walrus/_(\w+)\.", r"", ""),
)


def group(where, symbol):
    for of_object, of_symbol, name in GROUPS:
        if (found := re.search(of_object, where)) and re.match(of_symbol, symbol):
            return name or f"`_{found[1]}`"
    return "the rest"


def entry_ns(command):
    """ns an entry, the best of some runs."""
    runs = [subprocess.run(command, check=True, capture_output=True, text=True).stdout for _ in range(ROUNDS)]
    return min(float(re.search(r"([\d.,]+) ns an entry", text)[1].replace(",", "")) for text in runs)


def samples(command):
    """Samples of the calling thread, by row."""
    with tempfile.NamedTemporaryFile(prefix="walrus-perf-") as data:
        record = ["perf", "record", "-q", "-e", "cpu-clock", "-F", str(SAMPLES_A_SECOND), "-o", data.name]
        subprocess.run([*record, *command], check=True, capture_output=True)
        script = ["perf", "script", "-i", data.name, "-F", "pid,tid,ip,sym,dso"]
        lines = subprocess.run(script, check=True, capture_output=True, text=True).stdout.splitlines()
    matches = [match for line in lines if (match := SAMPLE.match(line))]
    return Counter(group(match["object"], match["symbol"]) for match in matches if match["pid"] == match["tid"])


def main():
    command = [sys.executable, "-P", str(HOT), *sys.argv[1:]]
    whole = entry_ns(command)
    rows = samples(command)
    total = sum(rows.values())
    print(f"| {' '.join(sys.argv[1:])} | share | ns an entry |\n|---|---|---|")
    for name, count in rows.most_common():
        if count / total >= SHOWN:
            print(f"| {name} | {count / total:.0%} | {count / total * whole:.1f} |")
    print(f"| all | | {whole:.1f} |\n")


if __name__ == "__main__":
    main()
