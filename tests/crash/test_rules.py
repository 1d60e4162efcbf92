"""Every ordering rule, broken on purpose, is noticed; the table, the switches and the runner name the same 32 of them.

What is noticed within seconds is tried in every run, the rest at night: `make rules` tries all of them.
"""
import os
import random
import re

import pytest

from tests.child import DEBUG_BUILD, ROOT
from tests.crash.rules import RULES, SCENARIO, SURVIVORS, known_notices
from tests.crash.states import CHAINS

SEED = int(os.environ.get("WALRUS_SEED", str(random.SystemRandom().randrange(1 << 30))))
STATES = 300
NIGHTLY = {"epoch_new", "epoch_durable", "epoch_list", "journal_flushed", "journal_prefix", "open_flushes", "open_waits",
           "recycle_head", "snap_keeps"}


def names_in_table() -> list[str]:
    text = (ROOT / "docs" / "format.md").read_text()
    return re.findall(r"^\| `([a-z_]+)` \|", text[text.index("| rule | what it says |"):], re.MULTILINE)


def test_table_switches_and_runner_name_the_same_32_rules() -> None:
    switches = re.findall(r'R\([A-Z_]+, "([a-z_]+)"\)', (ROOT / "walrus" / "_rules.pxd").read_text())
    assert len(RULES) == 32
    assert names_in_table() == switches == list(RULES)


def test_each_switch_is_in_the_engine() -> None:
    text = "".join(path.read_text() for path in (ROOT / "walrus").glob("*.pyx"))
    assert [rule for rule in RULES if f"rule_broken(RULE_{rule.upper()})" not in text] == []


def test_the_table_tells_what_notices() -> None:
    text = (ROOT / "docs" / "format.md").read_text()
    for rule, what in RULES.items():
        last = re.search(rf"^\| `{rule}` \|.*\| ([^|]*) \|$", text, re.MULTILINE)
        kind = "chain" if what in CHAINS else "scenario" if what == SCENARIO else "workload"
        assert last is not None
        assert last[1].startswith("survives" if rule in SURVIVORS else f"{kind} `{rule if kind == 'scenario' else what}`"), rule


@pytest.mark.timeout(900)
@pytest.mark.skipif(not DEBUG_BUILD.is_dir(), reason="needs the debug build: make debug")
@pytest.mark.parametrize("rule", [pytest.param(rule, marks=[pytest.mark.nightly] if rule in NIGHTLY else [])
                                  for rule in RULES if rule not in SURVIVORS])
def test_a_broken_rule_is_noticed(rule: str) -> None:
    print(f"seed {SEED}: WALRUS_SEED={SEED} repeats this run")
    assert any(known_notices(rule, STATES, SEED)), f"{rule} was broken, and nothing noticed"
