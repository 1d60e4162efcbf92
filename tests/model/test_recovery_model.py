"""The order of writes does no harm in any history that is searched, and each of its rules is needed.

Bounded here by seconds, the worlds too; `make nightly` searches these to their depth and breaks the last two rules.
"""
import gc
import random
import re
import time
from pathlib import Path

import pytest

from tests.model import recovery_model
from tests.model.recovery_model import Model, Sizes
from tests.model.search import MUTATIONS, RELAXATIONS, SCOPES, explore, hunt, random_walks, walk

WORLD_SECONDS = 2
WALK_SECONDS = 6
# Rules whose harm takes a longer search: many seconds, or random walks.
LONG = ("recycle_head", "snap_keeps")


@pytest.fixture(autouse=True, scope="module")
def no_collector():
    """The model's states have no cycles, and looking for some takes half the time."""
    gc.disable()
    yield
    gc.enable()


def search(name, seconds):
    sizes, depth = SCOPES[name]
    states, moves, reached, violation, history = explore(Model(sizes), depth, time.monotonic() + seconds)
    print(f"{name}: {states} states, {moves} transitions, depth {reached} of {depth}")
    assert violation is None, "\n".join([violation, *history])
    return reached, depth


@pytest.mark.parametrize("name", SCOPES)
def test_no_history_of_a_small_world_does_harm(name):
    reached, _ = search(name, WORLD_SECONDS)
    assert reached >= 4, "too slow to have seen a crash after a sync"


def test_random_histories_do_no_harm():
    seed = random.randrange(1 << 32)
    walks, steps, crashes, violation, history = random_walks(seed, 1 << 60, until=time.monotonic() + WALK_SECONDS)
    print(f"seed {seed}: {walks} walks, {steps} steps, {crashes} crashes")
    assert violation is None, "\n".join([f"seed {seed}: {violation}", *history])
    assert crashes > 0


def test_a_walk_is_repeated_from_its_seed():
    histories = [walk(Model(Sizes(crashes=3), {"epoch_new"}), random.Random(7), 150) for _ in range(2)]
    assert histories[0] == histories[1]


@pytest.mark.parametrize("rule", [rule for rule in MUTATIONS if rule not in LONG])
def test_breaking_a_rule_does_harm(rule):
    assert hunt(rule, MUTATIONS[rule][1], 20, 1) is not None, f"no harm without {rule}"


def test_the_rules_are_those_of_the_engine():
    """The names of the model, of the head of its file, and of the switches of the debug build are the same."""
    rules = (Path(__file__).resolve().parents[2] / "walrus" / "_rules.pxd").read_text()
    assert set(re.findall(r'R\(\w+, "(\w+)"\)', rules)) == set(MUTATIONS)
    head = set(re.findall(r"^  (\w+) {2,}", recovery_model.__doc__, re.MULTILINE))
    assert head == set(MUTATIONS) | {"one_write"}


@pytest.mark.nightly
@pytest.mark.parametrize("name", SCOPES)
def test_a_small_world_is_searched_to_its_depth(name):
    reached, depth = search(name, 1200)
    assert reached == depth


@pytest.mark.nightly
@pytest.mark.parametrize("rule", LONG)
def test_breaking_a_rule_does_harm_if_one_searches_longer(rule):
    assert hunt(rule, MUTATIONS[rule][1], 120, 1) is not None, f"no harm without {rule}"


@pytest.mark.nightly
@pytest.mark.parametrize("check", RELAXATIONS)
def test_what_is_no_rule_does_no_harm_when_it_is_left_out(check):
    found = hunt(check, RELAXATIONS[check][1], 60, 1)
    assert found is None, "\n".join([found[1], *found[2]])
