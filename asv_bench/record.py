"""Records what commits cost: builds each in a directory of its own, runs the benchmarks on it, puts the results into
results/.

    .venv/bin/python asv_bench/record.py --machine NAME [--bench REGEX] [COMMIT...]     (default: HEAD)
    .venv/bin/python asv_bench/record.py --check     runs each once on the installed package, records nothing

No network: the interpreter that runs this has all that building and asv need. The benchmarks are those of the work
tree, so that an axis that is new has its past too; what a commit cannot do yet stays empty. The name of the machine
is chosen, not looked up.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ENVIRONMENT = f"existing-py{sys.version_info[0]}.{sys.version_info[1]}"


def machine(name):
    """What asv wants to know of a machine."""
    cpuinfo = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":")[1].strip() for line in cpuinfo if line.startswith("model name")), platform.machine())
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "machine": name,
        "arch": platform.machine(),
        "cpu": model,
        "num_cpu": str(os.cpu_count()),
        "os": f"Linux {'.'.join(platform.release().split('.')[:2])}",
        "ram": f"{gib:.0f} GiB",
    }


def git(*arguments):
    return subprocess.run(
        ["git", "-C", str(HERE), *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


def build(commit, work):
    tree = Path(work, "tree")
    tree.mkdir()
    subprocess.run(["git", "archive", "--output", f"{work}/tree.tar", commit], cwd=HERE.parent, check=True)
    subprocess.run(["tar", "-xf", f"{work}/tree.tar", "-C", tree], check=True)
    subprocess.run(
        [
            sys.executable,
            "setup.py",
            "--quiet",
            "build",
            "--build-base",
            f"{work}/objects",
            "--build-lib",
            f"{work}/built",
        ],
        cwd=tree,
        check=True,
        stderr=subprocess.DEVNULL,
    )
    return f"{work}/built"


def asv(work, command, *arguments, **variables):
    """Its exit code; what it keeps of machines stays in the directory `work`."""
    return subprocess.run(
        [sys.executable, "-m", "asv", command, "--environment", f"existing:{sys.executable}", *arguments],
        cwd=HERE,
        env=os.environ | {"HOME": str(work), "PYTHONSAFEPATH": "1"} | variables,
        check=False,
    ).returncode


def machine_known(work, name):
    Path(work, ".asv-machine.json").write_text(json.dumps({name: machine(name), "version": 1}))


def run(commit, built, given, work):
    """asv's own run, on what was built."""
    asv(
        work,
        "run",
        "--set-commit-hash",
        commit,
        "--machine",
        given.machine,
        "--show-stderr",
        *(["--bench", given.bench] if given.bench else []),
        ASV_PYTHONPATH=built,
    )


def check(work):
    """Each benchmark once, results thrown away: 0, or not all went through."""
    config = json.loads((HERE / "asv.conf.json").read_text())
    places = {
        "repo": HERE.parent,
        "benchmark_dir": HERE / "benchmarks",
        "results_dir": Path(work, "results"),
        "env_dir": Path(work, "env"),
        "html_dir": Path(work, "html"),
    }
    Path(work, "asv.conf.json").write_text(json.dumps(config | {name: str(place) for name, place in places.items()}))
    machine_known(work, "check")
    given = ("--config", f"{work}/asv.conf.json")
    return asv(work, "check", *given) or asv(
        work, "run", *given, "--machine", "check", "--quick", "--show-stderr", "--dry-run"
    )


def tidy(name):
    """Results say which Python it was, not where it lies."""
    for path in (HERE / "results" / name).glob("*-existing-*.json"):
        result = json.loads(path.read_text())
        if "commit_hash" not in result or result["env_name"] == ENVIRONMENT:
            continue
        result["env_name"], result["python"] = ENVIRONMENT, ENVIRONMENT.removeprefix("existing-py")
        result["params"]["python"] = result["python"]
        path.unlink()
        kept = path.with_name(f"{result['commit_hash'][:8]}-{ENVIRONMENT}.json")
        if kept.exists():
            result["results"] = json.loads(kept.read_text())["results"] | result["results"]
        kept.write_text(json.dumps(result) + "\n")


def main():
    parser = argparse.ArgumentParser(description="Records what commits cost, in asv_bench/results.")
    parser.add_argument("commits", nargs="*", default=["HEAD"], metavar="COMMIT")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--machine", help="a name for the machine; results of different ones are kept apart")
    what.add_argument(
        "--check", action="store_true", help="run each benchmark once on the installed package, record nothing"
    )
    parser.add_argument("--bench", help="only benchmarks that match this regular expression")
    given = parser.parse_args()
    if given.check:
        with tempfile.TemporaryDirectory(prefix="walrus-asv-") as work:
            return check(work)
    for name in given.commits:
        commit = git("rev-parse", f"{name}^{{commit}}")
        with tempfile.TemporaryDirectory(prefix="walrus-asv-") as work:
            machine_known(work, given.machine)
            run(commit, build(commit, work), given, work)
        tidy(given.machine)
    return 0


if __name__ == "__main__":
    sys.exit(main())
