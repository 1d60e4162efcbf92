"""The gate against slower commits: instruction counts of the hot paths under callgrind, held against committed
figures.

    make gate                   over LIMIT more than ci/instruction-counts.json says fails, and names the path
    make gate UPDATE=1          writes the figures of this machine's key; commit them with the change that they are for

Counted is what the calling thread executes inside the function of a path (`--toggle-collect`), from the Python border
down; the I/O thread is left out. Figures belong to a key: what compiled walrus, the Python, the C library, valgrind,
and the CPU features that valgrind passes on. Under a key without figures the parent commit is built and measured on
the spot; nothing is ever skipped.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FIGURES = ROOT / "ci" / "instruction-counts.json"
WORKLOAD = ROOT / "ci" / "gate_workload.py"
LIMIT = 0.03
RUNS_AT_ONCE = 2
# A path that seems dearer is measured again this often, and the least counts: what is dearer stays dearer, a stall
# does not.
SECOND_LOOKS = 2

# Path: the function that is counted, and the entries that pass through it.
PATHS = {
    "append": ("__pyx_pw_*TopicHandle_*append", 4_000),
    "append_batch": ("__pyx_pw_*TopicHandle_*append_batch", 10_000),
    "read_batch": ("__pyx_pw_*CursorHandle_*read_batch", 10_000),
    "to_bytes": ("__pyx_pw_*Batch_*tolist", 10_000),
    "read_next": ("__pyx_pw_*CursorHandle_*_shared_next", 4_000),
    "recovery": ("__pyx_f_*_log_log_open", 12_000),
}
# valgrind shows a program a CPU of its own: of the host's features it passes these on. AVX-512 and VPCLMULQDQ it
# hides, so ISA-L's widest way is not what is counted, on no machine, and they are no part of the key.
FEATURES = ("sse4_2", "pclmulqdq", "avx", "avx2", "bmi2", "crc32", "pmull")

# What these execute hangs on where blocks of the heap happen to lie (a move in place or not, a byte moved is an
# instruction for callgrind where the CPU has fast strings): each call out of walrus counts as MEMORY_CALL
# instructions instead, whatever it did.
MEMORY = re.compile(
    r"_*(mem(cpy|move|set|cmp)|malloc|calloc|realloc|free|cfree|posix_memalign|aligned_alloc"
    r"|int_(malloc|free|realloc|memalign)|mid_memalign|unlink_chunk|sysmalloc|systrim|tcache|alloc_perturb|mmap"
    r"|munmap|mremap|brk|sbrk|madvise"
    r"|Py(Object|Mem)_(Raw)?(Malloc|Calloc|Realloc|Free)|PyMem_|PyObject_Arena|pymalloc"
    r"|allocate_from_new_pool|new_arena|arena_map|address_in_range|insert_to_)"
)
MEMORY_CALL = 25


class GateError(Exception):
    """Counting was not possible; the text says what to do."""


# ------------------------------------------------------------------------------------------------------------ the key


def compiler_of(package: Path) -> str:
    """What compiled the extension modules, by their own word."""
    module = next(iter(sorted(package.glob("_append.*.so"))), None)
    if module is None:
        raise GateError(f"{package} has no compiled module: run make build first")
    found = re.search(rb"(GCC: \([^\0]*|clang version [^\0]*)", module.read_bytes())
    return found[1].decode(errors="replace") if found else "unknown compiler"


def cpu_features(cpuinfo: str) -> list[str]:
    line = re.search(r"^(?:flags|Features)\s*:(.*)$", cpuinfo, re.MULTILINE)
    there = set(line[1].split()) if line else set()
    return [name for name in FEATURES if name in there]


def key_of(package: Path) -> str:
    valgrind = subprocess.run(["valgrind", "--version"], check=True, capture_output=True, text=True).stdout.strip()
    optimised = ", PGO" if "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or "") else ""
    features = " ".join(cpu_features(Path("/proc/cpuinfo").read_text()))
    return "; ".join(
        (
            compiler_of(package),
            f"Python {platform.python_version()} ({platform.python_compiler()}{optimised})",
            " ".join(platform.libc_ver()),
            valgrind,
            f"{platform.machine()} {features}",
        )
    )


# ----------------------------------------------------------------------------------------------------------- counting


def environment(package: Path) -> dict[str, str]:
    """The same for every run: hashes, allocation and the way to the disk do not hang on the caller's."""
    kept = {name: os.environ[name] for name in ("PATH", "TMPDIR", "LD_LIBRARY_PATH") if name in os.environ}
    return kept | {
        "PYTHONHASHSEED": "0",
        "LD_BIND_NOW": "1",
        "PYTHONSAFEPATH": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "WALRUS_QUIET": "1",
        "WALRUS_DISABLE_IO_URING": "1",
        "PYTHONPATH": str(package.parent),
    }


def run(command: list[str], **more: Any) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, **more)
    if done.returncode:
        raise GateError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")


def calls_and_costs(profile: Path) -> tuple[dict[tuple[str, str], int], dict[tuple[str, str], tuple[int, int]]]:
    """Of callgrind's format: instructions of each (object, function) itself, and (calls, instructions) of each pair
    (caller's object, called function)."""
    names: dict[tuple[bool, str], str] = {}
    own: dict[tuple[str, str], int] = defaultdict(int)
    called: dict[tuple[str, str], tuple[int, int]] = defaultdict(lambda: (0, 0))
    at = {"ob": "", "fn": "", "cfn": ""}
    calls = 0
    for line in profile.read_text().splitlines():
        if match := re.match(r"(ob|fn|cob|cfn)=\((\d+)\)(?: (.*))?$", line):
            names.setdefault((match[1].endswith("ob"), match[2]), match[3])
            at[match[1]] = names[match[1].endswith("ob"), match[2]]
        elif line.startswith("calls="):
            calls = int(line[len("calls=") :].split()[0])
        elif re.match(r"[-+*\d]", line):
            cost = int(line.split()[1])
            if calls:
                before = called[at["ob"], at["cfn"]]
                called[at["ob"], at["cfn"]] = before[0] + calls, before[1] + cost
                calls = 0
            else:
                own[at["ob"], at["fn"]] += cost
    if not names:
        raise GateError(f"{profile.name} is empty: callgrind was interrupted")
    return own, called


def total(profile: Path, package: Path) -> int:
    """What one thread's profile counts for: MEMORY functions by the call, all others by their instructions."""
    own, called = calls_and_costs(profile)
    instructions = sum(cost for (_, function), cost in own.items() if not MEMORY.match(function))
    return instructions + MEMORY_CALL * sum(
        calls
        for (caller, function), (calls, cost) in called.items()
        if cost and MEMORY.match(function) and caller.startswith(f"{package}/")
    )


def count(path: str, package: Path, prepared: Path) -> int:
    """Instructions of one path, run once, on a copy of the prepared logs."""
    function = PATHS[path][0]
    with tempfile.TemporaryDirectory(prefix="walrus-gate-") as work:
        logs, profile = Path(work, "logs"), Path(work, "profile")
        run(["cp", "-a", "--sparse=always", str(prepared), str(logs)])
        run(
            [
                "valgrind",
                "--tool=callgrind",
                "--separate-threads=yes",
                f"--callgrind-out-file={profile}",
                "--collect-atstart=no",
                f"--toggle-collect={function}",
                sys.executable,
                str(WORKLOAD),
                path,
                str(logs),
            ],
            env=environment(package),
        )
        counted = total(profile.with_name("profile-01"), package)
    if not counted:
        raise GateError(
            f"{path}: no call of {function} was seen; if it has another name now, say so in PATHS of ci/gate.py"
        )
    return counted


def measure(package: Path, paths: list[str]) -> dict[str, int]:
    """Instructions of each path."""
    with tempfile.TemporaryDirectory(prefix="walrus-gate-") as prepared, ThreadPoolExecutor(RUNS_AT_ONCE) as workers:
        run([sys.executable, str(WORKLOAD), "prepare", prepared], env=environment(package))
        return dict(zip(paths, workers.map(lambda path: count(path, package, Path(prepared)), paths), strict=True))


# ------------------------------------------------------------------------------------------------------- the baseline


def git(*arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True)
    if done.returncode:
        raise GateError(f"git {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def parent() -> str:
    """The commit to compare with: HEAD for changes that are not committed yet, else the one before it."""
    return git("rev-parse", "HEAD" if git("status", "--porcelain", "--", "walrus", "setup.py") else "HEAD^").strip()


def figures_of(commit: str) -> dict[str, dict[str, int]]:
    try:
        return json.loads(git("show", f"{commit}:{FIGURES.relative_to(ROOT)}"))
    except GateError:
        return {}


def raised(before: dict[str, dict[str, int]], after: dict[str, dict[str, int]]) -> dict[str, float]:
    """By which factor each path was made dearer on purpose: its figure was changed, under whatever key."""
    factors = dict.fromkeys(PATHS, 1.0)
    for key in before.keys() & after.keys():
        for path in before[key].keys() & after[key].keys() & PATHS.keys():
            factors[path] = max(factors[path], after[key][path] / before[key][path])
    return factors


def measure_commit(commit: str, paths: list[str]) -> dict[str, int]:
    """Builds a commit in a directory of its own and measures it."""
    with tempfile.TemporaryDirectory(prefix="walrus-gate-parent-") as work:
        tree, built = Path(work, "tree"), Path(work, "built")
        tree.mkdir()
        git("archive", "--output", f"{work}/tree.tar", commit)
        run(["tar", "-xf", f"{work}/tree.tar", "-C", str(tree)])
        run(
            [
                sys.executable,
                "setup.py",
                "--quiet",
                "build",
                "--build-base",
                f"{work}/objects",
                "--build-lib",
                str(built),
            ],
            cwd=tree,
        )
        return measure(built / "walrus", paths)


def baseline(figures: dict[str, dict[str, int]], key: str) -> tuple[str, dict[str, int], dict[str, float]] | None:
    """What to compare with: its name, its counts, and the factors that were allowed on purpose. None: the checkout has no history."""
    known = figures.get(key, {})
    if PATHS.keys() <= known.keys():
        return str(FIGURES.relative_to(ROOT)), known, dict.fromkeys(PATHS, 1.0)
    try:
        commit = parent()
    except GateError as why:
        print(f"no figures for this key, and no parent commit to build: {why}", flush=True)
        return None
    print(f"no figures for this key: building {commit[:12]} to compare with", flush=True)
    return f"commit {commit[:12]}", measure_commit(commit, list(PATHS)), raised(figures_of(commit), figures)


# ----------------------------------------------------------------------------------------------------------- the gate


def dearer(counts: dict[str, int], base: dict[str, int], allowed: dict[str, float]) -> list[str]:
    """The paths that cost more than LIMIT over their baseline."""
    return [path for path in counts if counts[path] > base[path] * allowed[path] * (1 + LIMIT)]


def table(counts: dict[str, int], base: dict[str, int]) -> str:
    rows = [
        f"  {path:<13}{counts[path]:>11,} instructions {counts[path] / PATHS[path][1]:>8.1f} an entry "
        f"{counts[path] / base[path] - 1:>+8.2%}"
        for path in counts
    ]
    return "\n".join(rows)


def check(package: Path) -> int:
    key = key_of(package)
    print(f"key: {key}")
    figures = json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
    found = baseline(figures, key)
    counts = measure(package, list(PATHS))
    if found is None:
        print(f"{table(counts, counts)}\ngate: counted, NOT compared: this checkout has neither figures for its key nor a parent commit")
        return 0
    name, base, allowed = found
    for _ in range(SECOND_LOOKS):
        again = dearer(counts, base, allowed)
        if again:
            counts |= {path: min(counts[path], value) for path, value in measure(package, again).items()}
    print(f"against {name}:\n{table(counts, base)}")
    too_dear = dearer(counts, base, allowed)
    for path in too_dear:
        print(
            f"gate: {path} costs {counts[path] / base[path] - 1:.1%} more instructions than {name}: "
            f"{counts[path]:,} against {base[path]:,}; the limit is {LIMIT:.0%}. "
            f"Where that is on purpose: make gate UPDATE=1, and commit {FIGURES.relative_to(ROOT)} "
            "in the same commit, saying why.",
            file=sys.stderr,
        )
    print(f"gate: {len(PATHS) - len(too_dear)} passed, {len(too_dear)} failed")
    return 1 if too_dear else 0


def updated(figures: dict[str, dict[str, int]], key: str, counts: dict[str, int]) -> dict[str, dict[str, int]]:
    """With new figures for a key; those of other keys go where they speak of code that costs something else by now."""
    before = figures.get(key)
    changed = before is not None and any(
        abs(counts[path] / before.get(path, counts[path]) - 1) > LIMIT for path in counts
    )
    return ({} if changed else figures) | {key: counts}


def update(package: Path) -> int:
    key = key_of(package)
    figures = json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
    counts = measure(package, list(PATHS))
    FIGURES.write_text(json.dumps(updated(figures, key, counts), indent=2, sort_keys=True) + "\n")
    print(f"key: {key}\n{table(counts, figures.get(key) or counts)}\nwritten to {FIGURES.relative_to(ROOT)}")
    return 0


def installed() -> Path:
    """The package that this interpreter imports, which must be the compiled one."""
    import walrus

    return Path(walrus.__file__).parent


def main() -> int:
    parser = argparse.ArgumentParser(description="Instruction counts of the hot paths, held against committed figures.")
    parser.add_argument("--update", action="store_true", help="write this machine's figures instead of comparing")
    parser.add_argument("--package", type=Path, help="directory of the compiled package (default: the installed one)")
    given = parser.parse_args()
    if shutil.which("valgrind") is None:
        print("gate: valgrind is missing; ci/system-packages installs it", file=sys.stderr)
        return 2
    try:
        return (update if given.update else check)((given.package or installed()).resolve())
    except GateError as error:
        print(f"gate: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
