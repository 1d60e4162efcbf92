"""fio as a limit beside the rivals: sequential writing, sequential reading, flushed 4 KiB overwrites."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from ..job import MIB, Job
from . import settings


def write_through(path: str, size: int) -> None:
    """The file as it is overwritten or read later: written, flushed, out of the page cache."""
    with open(path, "wb") as made:
        block = os.urandom(MIB)
        for _ in range(0, size, MIB):
            made.write(block)
        made.flush()
        os.fsync(made.fileno())
        os.posix_fadvise(made.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def fio(job: Job, path: str, size: int, options: list[str]) -> dict[str, Any] | None:
    """Its figures; None where it fails."""
    command = ["fio", *settings.COMMON, *options, f"--filename={path}", f"--size={size}"]
    command += ["--time_based", f"--runtime={max(1.0, job.seconds):g}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stderr or done.stdout, file=sys.stderr)
        return None
    figures: dict[str, Any] = json.loads(done.stdout[done.stdout.index("{") :])["jobs"][0]
    return figures


def result_of(job: Job, figures: dict[str, Any], way: str, size: int) -> dict[str, Any]:
    one = figures[way]
    seconds = one["runtime"] / 1000
    latencies = figures["sync"]["lat_ns"] if "fdatasync" in job.mode else one["clat_ns"]
    shares = latencies.get("percentile", {})
    named = {"p50": "50.000000", "p99": "99.000000", "p99.9": "99.900000", "p99.99": "99.990000"}
    return {
        "entries": one["total_ios"] if size == 4096 else None,
        "bytes": one["io_bytes"],
        "seconds": seconds,
        "cpu_seconds": (figures["usr_cpu"] + figures["sys_cpu"]) / 100 * seconds,
        "mode": job.mode,
        "latency_ns": {name: shares[key] for name, key in named.items() if key in shares},
    }


def main() -> None:
    """mode: write | read | fdatasync."""
    job = Job.parse(sys.argv[1:])
    os.makedirs(job.dir, exist_ok=True)
    path = os.path.join(job.dir, "limit")
    if job.mode == "fdatasync":
        write_through(path, settings.FLUSHED_FILE_BYTES)
        figures = fio(job, path, settings.FLUSHED_FILE_BYTES, settings.FLUSHED)
    else:
        write_through(path, settings.SEQUENTIAL_FILE_BYTES)
        size = settings.SEQUENTIAL_FILE_BYTES
        figures = fio(job, path, size, [f"--rw={job.mode}", *settings.SEQUENTIAL])
        figures = figures or fio(job, path, size, [f"--rw={job.mode}", *settings.SEQUENTIAL_FALLBACK])
    os.unlink(path)
    if figures is None:
        raise SystemExit("fio failed")
    way = "read" if job.mode == "read" else "write"
    print(json.dumps(result_of(job, figures, way, 4096 if job.mode == "fdatasync" else MIB)))


if __name__ == "__main__":
    main()
