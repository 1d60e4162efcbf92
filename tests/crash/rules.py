"""Breaks each ordering rule in turn and shows what notices: make rules RULES="name ... --states N --seed N".

A rule is broken by a switch of the debug build (WALRUS_BREAK_RULE). What is known to notice it is tried first, then everything else
there is: crash states of all workloads, and of chains of crashes. The exit code is the number of rules that nothing noticed, but for
those of which SURVIVORS says why nothing can.
"""
import argparse
import random
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.crash import scenarios
from tests.crash.states import CHAINS, search, search_chains
from tests.crash.workloads import WORKLOADS

# What notices: a workload, a kind of chain, or the scenario of the rule's name.
SCENARIO = "scenario"
RULES = {
    "epoch_new": "cut", "epoch_durable": "killed", "epoch_list": "cut", "one_counter": "journal", "one_frame": "appends",
    "chunk_complete": SCENARIO, "chunk_prefix": SCENARIO, "sync_waits": "appends", "sync_journal": "appends",
    "sync_logs": "appends", "sync_publish": "appends", "journal_extents": "journal", "journal_flushed": "laps",
    "journal_prefix": "laps", "journal_catalog": "journal", "journal_adopted": "cut", "low_cursor": "recycling",
    "recycle_low": "consumed", "recycle_head": "recycling", "punch_listed": "punched", "snap_atomic": "journal",
    "snap_flushed": "appends", "snap_keeps": "punched", "snap_quiet": "quiet", "slot_pair": SCENARIO,
    "cut_epoch": "truncations", "cut_durable": "truncations", "claim_capped": "truncations", "open_waits": SCENARIO,
    "open_flushes": "killed", "open_prefix": "appends", "open_clamps": "cursors",
}
SURVIVORS: dict[str, str] = {}
TRIES = 8


def notice(rule: str, what: str, states: int, seed: int) -> str:
    """What `what` noticed while the rule was broken, or ''."""
    if what == SCENARIO:
        with tempfile.TemporaryDirectory(prefix="walrus-rule-") as directory:
            found = getattr(scenarios, rule)(Path(directory))
        return f"scenario {rule}: {found}" if found else ""
    look = search_chains if what in CHAINS else search
    shm = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="walrus-rule-", dir=shm if shm.is_dir() else None) as directory:
        try:
            problems = look(Path(directory), what, "io_uring", seed, states, WALRUS_BREAK_RULE=rule)
        except Exception as error:  # the workload itself fell over the broken rule
            problems = [f"workload {what}: {type(error).__name__}: {error}"]
    return problems[0] if problems else ""


def known_notices(rule: str, states: int, seed: int) -> Iterator[str]:
    """From a few seeds: one may not bring about what it takes."""
    for i in range(1 if RULES[rule] == SCENARIO else TRIES):
        yield notice(rule, RULES[rule], states, seed + i)


def all_notices(rule: str, states: int, seed: int) -> Iterator[str]:
    """What is known to notice first."""
    yield from known_notices(rule, states, seed)
    for what in (*WORKLOADS, *CHAINS):
        if what != RULES[rule]:
            yield notice(rule, what, states, seed)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rules", nargs="*", metavar="rule", help="rules to break (default: all 32)")
    parser.add_argument("--states", type=int, default=400, help="crash states of each workload (default: 400)")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 30))
    options = parser.parse_args()
    unknown = set(options.rules) - set(RULES)
    if unknown:
        parser.error(f"no such rule: {', '.join(sorted(unknown))}")
    rules = options.rules or list(RULES)
    print(f"seed {options.seed}")
    left = []
    for rule in rules:
        found = next(filter(None, all_notices(rule, options.states, options.seed)), "")
        print(f"| {rule} | {found[:240] or 'NOT NOTICED: ' + SURVIVORS.get(rule, 'nobody knows why')} |", flush=True)
        if not found:
            left.append(rule)
    print(f"{len(rules) - len(left)} of {len(rules)} noticed; not noticed: {', '.join(left) or 'none'}")
    return len(set(left) - set(SURVIVORS))


if __name__ == "__main__":
    sys.exit(main())
