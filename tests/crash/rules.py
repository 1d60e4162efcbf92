"""Breaks each ordering rule in turn and shows what notices: python -m tests.crash.rules [rule ...] [--states N] [--seed N].

A rule is broken by a switch of the debug build (WALRUS_BREAK_RULE). First the crash states of all workloads are tried, then named
scenarios; the first that finds something wrong is printed. The exit code is the number of rules that nothing noticed.
"""
import argparse
import random
import sys
import tempfile
from pathlib import Path

from tests.crash import scenarios
from tests.crash.test_crash_states import WORKLOADS, search

# Which workload notices first; the others are tried after it.
RULES = {
    "epoch_new": "chained", "epoch_durable": "chained", "epoch_list": "chained", "one_counter": "cursors",
    "one_frame": "appends", "chunk_complete": "appends", "chunk_prefix": "appends", "sync_waits": "appends",
    "sync_journal": "appends", "sync_logs": "appends", "sync_publish": "appends", "journal_extents": "journal",
    "journal_flushed": "journal", "journal_prefix": "journal", "journal_catalog": "journal",
    "journal_adopted": "chained", "low_cursor": "recycling", "recycle_low": "recycling", "recycle_head": "recycling",
    "punch_listed": "recycling", "snap_atomic": "journal", "snap_flushed": "appends", "snap_keeps": "recycling",
    "snap_quiet": "truncations", "slot_pair": "cursors", "cut_epoch": "truncations", "cut_durable": "truncations",
    "claim_capped": "truncations", "open_waits": "appends", "open_flushes": "chained", "open_prefix": "appends",
    "open_clamps": "cursors",
}


def notice(rule: str, states: int, seed: int) -> str:
    """What noticed that the rule was broken, or ''."""
    scenario = getattr(scenarios, rule, None)
    if scenario is not None:
        with tempfile.TemporaryDirectory(prefix="walrus-rule-") as directory:
            problem = scenario(Path(directory))
        if problem:
            return f"scenario {rule}: {problem}"
    first = RULES[rule]
    for workload in sorted(WORKLOADS, key=lambda name: name != first):
        with tempfile.TemporaryDirectory(prefix="walrus-rule-", dir="/dev/shm") as directory:
            try:
                problems = search(Path(directory), workload, "io_uring", seed, states, WALRUS_BREAK_RULE=rule)
            except Exception as error:  # the workload itself fell over the broken rule
                problems = [f"workload {workload}: {type(error).__name__}: {error}"]
        if problems:
            return problems[0]
    return ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rules", nargs="*", help="rules to break (default: all)")
    parser.add_argument("--states", type=int, default=400, help="crash states of each workload")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 30))
    options = parser.parse_args()
    print(f"seed {options.seed}")
    survivors = []
    for rule in options.rules or RULES:
        found = notice(rule, options.states, options.seed)
        print(f"| {rule} | {found[:240] or 'NOT NOTICED'} |", flush=True)
        if not found:
            survivors.append(rule)
    print(f"{len(options.rules or RULES) - len(survivors)} noticed, not noticed: {', '.join(survivors) or 'none'}")
    return len(survivors)


if __name__ == "__main__":
    sys.exit(main())
