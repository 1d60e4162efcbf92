"""The list of mutations fits the sources, and, by night, each of them is noticed: see __main__.py."""
import re
import subprocess

import pytest

from tests import child
from tests.mutations.__main__ import ROOT, Mutation, listed

ROWS, MUTATIONS = listed()


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_it_applies_and_its_test_is_there(mutation):
    assert mutation.applied((ROOT / mutation.file).read_text()) != (ROOT / mutation.file).read_text()
    path, *within = mutation.test.split("::")
    source = (ROOT / path).read_text()
    assert within and all(re.search(rf"^\s*(def|class) {re.escape(name)}\b", source, re.MULTILINE) for name in within)
    assert bool(mutation.row) != bool(mutation.promise)


def test_each_of_the_29_situations_has_one_and_names_are_given_once():
    assert len(ROWS) == len(set(ROWS)) == 29
    assert {mutation.row for mutation in MUTATIONS if mutation.row} == set(ROWS)
    assert len({mutation.name for mutation in MUTATIONS}) == len(MUTATIONS)


@pytest.mark.parametrize("old", ["not there", "a"])
def test_an_old_text_that_is_not_there_once_is_an_error(old):
    with pytest.raises(ValueError, match="not once"):
        Mutation("name", "file", old, "new", "test").applied("a a")


@pytest.mark.nightly
def test_none_survives():
    done = subprocess.run(child.command("tests.mutations"), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
