"""``make compare``: builds the rivals, runs the workloads interleaved, writes results.json, compare.md and plots.

python -m harness [--quick] [--rounds N] [--only WORKLOAD] [--rivals A,B] [--seconds S] [--directory D] [--output O]
"""

from __future__ import annotations

import argparse
import datetime
import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from . import plots, report
from .machine import describe, free_bytes
from .progress import Progress
from .rivals import BUILD, COMPARE, RIVALS, NotBuilt, Rival
from .running import GIB, RunFailed, expected_seconds, run_one
from .workloads import Workload, planned

ROUNDS: Final = 3
QUICK_FREE_BYTES: Final = 8 * GIB
FULL_FREE_BYTES: Final = 36 * GIB


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m harness", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="about five minutes, one round, rough figures")
    parser.add_argument("--rounds", type=int, help=f"each workload that often, default {ROUNDS} (quick: 1)")
    parser.add_argument("--only", action="append", help="workloads or groups; may be repeated")
    parser.add_argument("--rivals", help="names, separated by commas; default: all")
    parser.add_argument("--seconds", type=float, help="instead of the workloads' own lengths")
    parser.add_argument(
        "--directory", type=Path, default=BUILD, help="on the disk to measure; a temporary directory is made in it"
    )
    parser.add_argument(
        "--output", type=Path, default=COMPARE / "results", help="where results.json, compare.md and plots go"
    )
    parser.add_argument("--resume", action="store_true", help="only the runs that results.json has not, or as failed")
    parser.add_argument(
        "--table-only", action="store_true", help="no runs: table and plots anew from the results.json that is there"
    )
    return parser.parse_args()


def chosen_workloads(options: argparse.Namespace) -> list[Workload]:
    found = [row for row in planned(options.quick) if not options.only or {row.name, row.group} & set(options.only)]
    if not found:
        raise SystemExit(f"no such workload; there are: {', '.join(row.name for row in planned(options.quick))}")
    if options.seconds is not None:
        found = [
            replace(row, args={**row.args, "seconds": options.seconds}) if "seconds" in row.args else row
            for row in found
        ]
    return found


def build(names: set[str]) -> tuple[list[Rival], dict[str, str], dict[str, str]]:
    """Those that can be had, versions, and why the others cannot."""
    ready, versions, left_out = [], {}, {}
    for rival in RIVALS:
        if names and rival.name not in names:
            continue
        print(f"building {rival.title} ...", file=sys.stderr, flush=True)
        try:
            versions[rival.name] = rival.prepare()
            ready.append(rival)
        except NotBuilt as reason:
            left_out[rival.name] = str(reason)
            print(f"    left out: {reason}", file=sys.stderr, flush=True)
    return ready, versions, left_out


def runs_of(rivals: list[Rival], workloads: list[Workload], rounds: int) -> list[tuple[int, Workload, Rival]]:
    """Round by round, within a workload rival after rival, each round beginning with another one."""
    plan = []
    for number in range(rounds):
        turned = rivals[number % len(rivals) :] + rivals[: number % len(rivals)]
        for workload in workloads:
            for rival in turned:
                if rival.name == "fio" and not workload.limit:
                    continue
                if rival.name == "fio" or rival.why_not(workload) is None:
                    plan.append((number, workload, rival))
    return plan


def measure(plan: list[tuple[int, Workload, Rival]], base: Path, results: dict[str, Any], save: Path) -> None:
    """Runs the plan; results are written after each run, so that an interruption loses one run."""
    progress = Progress(len(plan), sum(expected_seconds(rival, workload) for _, workload, rival in plan))
    for number, workload, rival in plan:
        progress.start(f"round {number + 1}, {workload.group}: {workload.title}, {rival.title}")
        run: dict[str, Any] = {"round": number, "workload": workload.name, "rival": rival.name}
        try:
            run.update(run_one(rival, workload, base, progress.tick))
            said = report.figure_text(workload, run)
        except RunFailed as failure:
            run["error"] = str(failure)
            said = f"FAILED: {failure}"
        results["runs"].append(run)
        save.write_text(json.dumps(results, indent=1) + "\n")
        progress.end(said, expected_seconds(rival, workload))


def resumed(
    plan: list[tuple[int, Workload, Rival]], results: dict[str, Any], before: dict[str, Any]
) -> list[tuple[int, Workload, Rival]]:
    """Takes over the runs that succeeded, if they were of the same versions and lengths; gives what is left to do."""
    if any(before[key] != results[key] for key in ("versions", "quick", "workloads", "settings")):
        raise SystemExit("results.json is of other versions, settings or workloads: nothing to go on with")
    results["runs"] = [run for run in before["runs"] if "error" not in run]
    results["resumed"] = [*before.get("resumed", []), before["made"]]
    done = {(run["round"], run["workload"], run["rival"]) for run in results["runs"]}
    return [one for one in plan if (one[0], one[1].name, one[2].name) not in done]


def new_results(
    options: argparse.Namespace, workloads: list[Workload], rounds: int
) -> tuple[dict[str, Any], list[Rival]]:
    names = set(options.rivals.split(",")) if options.rivals else set()
    rivals, versions, left_out = build(names)
    if not rivals:
        raise SystemExit("no rival can be run")
    results: dict[str, Any] = {
        "made": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "quick": options.quick,
        "rounds": rounds,
        "machine": describe(options.directory),
        "versions": versions,
        "left_out": left_out,
        "rivals": {rival.name: rival.title for rival in rivals},
        "settings": {rival.name: rival.settings() for rival in rivals},
        "workloads": [
            {
                "name": row.name,
                "group": row.group,
                "title": row.title,
                "args": row.args,
                "fill": row.fill,
                "limit": row.limit,
                "not_run": {
                    rival.name: reason
                    for rival in rivals
                    if not rival.is_limit and (reason := rival.why_not(row)) and not row.only
                },
                "notes": {
                    rival.name: note for rival in rivals if rival.why_not(row) is None and (note := rival.note(row))
                },
            }
            for row in workloads
        ],
        "runs": [],
    }
    return results, rivals


def main() -> None:
    options = parsed()
    options.output.mkdir(parents=True, exist_ok=True)
    options.directory.mkdir(parents=True, exist_ok=True)
    save = options.output / "results.json"
    if options.table_only:
        results = json.loads(save.read_text())
    else:
        wanted = QUICK_FREE_BYTES if options.quick else FULL_FREE_BYTES
        if free_bytes(options.directory) < wanted:
            raise SystemExit(
                f"{options.directory} has less than {wanted // GIB} GiB free; --directory names another disk"
            )
        rounds = options.rounds or (1 if options.quick else ROUNDS)
        workloads = chosen_workloads(options)
        results, rivals = new_results(options, workloads, rounds)
        plan = runs_of(rivals, workloads, rounds)
        if options.resume and save.exists():
            plan = resumed(plan, results, json.loads(save.read_text()))
        with tempfile.TemporaryDirectory(prefix="walrus-compare-", dir=options.directory) as base:
            measure(plan, Path(base), results, save)
    results["summary"] = report.summarize(results)
    save.write_text(json.dumps(results, indent=1) + "\n")
    (options.output / "compare.md").write_text(report.markdown(results))
    plots.draw(results, options.output)
    failed = [run for run in results["runs"] if "error" in run]
    print(
        f"{options.output}/compare.md; {len(results['runs']) - len(failed)} runs, {len(failed)} failed", file=sys.stderr
    )


if __name__ == "__main__":
    main()
