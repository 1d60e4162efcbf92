"""Takes each defence away in turn and shows that its test fails then: python -m tests.mutations [name ...].

Each entry of mutations.toml is applied to a copy of the source tree; only what it touches is compiled anew. KILLED: its test
failed, crashed or hung. SURVIVED: it passed, or was skipped. BROKEN: it does not build, or there is no such test. Before that
all tests asked for must pass on the tree as it is. The exit code is the number of mutations that survived or are broken.
"""
import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
BASE = ROOT / "build" / "mutations"
LIST = Path(__file__).with_name("mutations.toml")
TREE = ("setup.py", "pyproject.toml", "README.md", "LICENSE")
SOURCES = (".pyx", ".pxd", ".py", ".pyi", ".typed")
BUILD_SECONDS = 1800
TEST_SECONDS = 60                   # of one test; a mutation may well make it hang
TESTS_FAILED = 1                    # pytest's exit code; higher ones say that nothing was tested


@dataclass(frozen=True)
class Mutation:
    """One defence, how it is taken away, and the test that must fail then."""

    name: str
    file: str
    old: str
    new: str
    test: str
    row: str = ""                   # of the defects table; or
    promise: str = ""               # of docs/guarantees.md

    def applied(self, source: str) -> str:
        """The source without the defence; ValueError where the list no longer fits it."""
        found = source.count(self.old)
        if found != 1:
            raise ValueError(f"{self.name}: its old text is {found} times in {self.file}, not once")
        return source.replace(self.old, self.new)


def listed() -> tuple[list[str], list[Mutation]]:
    """The rows of the defects table, and all mutations."""
    content = tomllib.loads(LIST.read_text())
    return content["rows"], [Mutation(**entry) for entry in content["mutation"]]


def run(command: list[str], seconds: float, **options: object) -> tuple[int, str]:
    """Exit code and output of a command, with all that it started ended after so many seconds."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                               start_new_session=True, **options)
    try:
        output, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
    return process.returncode, output


def copy_sources(target: Path) -> None:
    """What differs; the rest keeps its times, and so its object files."""
    wanted = [*map(Path, TREE), *(path.relative_to(ROOT) for path in (ROOT / "walrus").iterdir() if path.suffix in SOURCES)]
    for path in wanted:
        copy = target / path
        copy.parent.mkdir(parents=True, exist_ok=True)
        if not copy.exists() or copy.read_bytes() != (ROOT / path).read_bytes():
            shutil.copyfile(ROOT / path, copy)
    for path in (target / "walrus").iterdir():
        if path.relative_to(target) not in wanted:
            path.unlink()


def build(tree: Path) -> tuple[int, str]:
    """The tree's modules, into its lib/."""
    command = [sys.executable, "setup.py", "--quiet", "build", "--build-base", "build", "--build-lib", "lib"]
    return run(command, BUILD_SECONDS, cwd=tree, env={**os.environ, "WALRUS_DEBUG": "0"})


def run_tests(tree: Path, tests: list[str]) -> tuple[int, str]:
    """With what was built in the tree; pytest's exit code."""
    command = [sys.executable, "-P", "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--timeout", str(TEST_SECONDS),
               "--basetemp", str(tree / "tmp"), *tests]
    seconds = TEST_SECONDS * (3 + len(tests))
    return run(command, seconds, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(tree / "lib"), "PYTHONSAFEPATH": "1"})


def last_lines(output: str) -> str:
    return "\n".join(output.splitlines()[-30:])


def judge(mutation: Mutation) -> tuple[str, str]:
    """KILLED, SURVIVED or BROKEN, and what was said."""
    with tempfile.TemporaryDirectory(prefix="walrus-mutation-") as directory:
        tree = Path(directory) / "tree"
        shutil.copytree(BASE, tree)
        mutated = tree / mutation.file
        mutated.write_text(mutation.applied(mutated.read_text()))
        code, output = build(tree)
        if code:
            return "BROKEN", last_lines(output)
        code, output = run_tests(tree, [mutation.test])
    failures = [line for line in output.splitlines() if line.startswith(("FAILED", "ERROR"))]
    if code == 0:
        return "SURVIVED", last_lines(output)
    if code > TESTS_FAILED:
        return "BROKEN", last_lines(output)
    return "KILLED", failures[0] if failures else f"pytest ended with {code}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="name", help="mutations to try (default: all)")
    names = parser.parse_args().names
    _, mutations = listed()
    unknown = set(names) - {mutation.name for mutation in mutations}
    if unknown:
        parser.error(f"no such mutation: {', '.join(sorted(unknown))}")
    chosen = [mutation for mutation in mutations if not names or mutation.name in names]
    copy_sources(BASE)
    code, output = build(BASE)
    if code == 0:
        with tempfile.TemporaryDirectory(prefix="walrus-mutation-") as directory:
            (Path(directory) / "lib").symlink_to(BASE / "lib")
            code, output = run_tests(Path(directory), sorted({mutation.test for mutation in chosen}))
    if code:
        print(f"the tree as it is does not build, or does not pass:\n{last_lines(output)}")
        return len(chosen)
    left = []
    for mutation in chosen:
        verdict, said = judge(mutation)
        print(f"{verdict:8} {mutation.name}: {said if verdict == 'KILLED' else mutation.test}", flush=True)
        if verdict != "KILLED":
            print(said, flush=True)
            left.append(mutation.name)
    print(f"{len(chosen) - len(left)} of {len(chosen)} killed; not killed: {', '.join(left) or 'none'}")
    return len(left)


if __name__ == "__main__":
    sys.exit(main())
