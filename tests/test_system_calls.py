"""Appending makes no system call per entry: strace of the appending thread counts them."""
import shutil
import subprocess

import pytest

APPENDS = 200_000
# A chunk of 1 MiB is sealed every 8,000 entries or so: a write to an eventfd wakes the I/O thread, its lock may be waited for.
CALLS_MAX = 400


def can_trace():
    if shutil.which("strace") is None:
        return False
    return subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not can_trace(), reason="strace is not installed, or ptrace is refused here")
def test_two_hundred_thousand_appends_make_a_system_call_per_chunk_and_none_per_entry(child, tmp_path):
    calls = tmp_path / "calls"
    child.run(f"""
        with walrus.open(path) as log:
            append, data = log.topic("t").append, bytes(100)
            append(data)
            os.write(2, b"BEGIN")
            for _ in range({APPENDS}):
                append(data)
            os.write(2, b"END")
    """, prefix=("strace", "-o", str(calls)))
    lines = calls.read_text().splitlines()
    first, last = (next(i for i, line in enumerate(lines) if f'"{mark}"' in line) for mark in ("BEGIN", "END"))
    made = [line for line in lines[first + 1:last] if not line.startswith("---")]
    assert len(made) < CALLS_MAX, made[:20]
    assert {line.split("(")[0] for line in made} <= {"write", "futex"}
