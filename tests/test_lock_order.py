"""Locks are taken in one order: read out of the sources, through calls, and held against ORDER. Made-up sources show that it can fail.

What a branch holds when it returns or jumps is not carried on behind it. What a function leaves held where it returns 0, or lets go
for a while, counts for its callers. Trying a lock, or waiting a slice of time for it, cannot hang: that is not looked at.
"""
import re
from collections import namedtuple
from pathlib import Path

import pytest

from tests.test_house_rules import FUNCTION, statements

PACKAGE = Path(__file__).resolve().parents[1] / "walrus"

# Lock: those that may be taken while it is held. What is not here is taken by nobody who holds it.
ORDER = {
    "sync_lock": {"topic.lock", "dirty_lock"},
    "cursor.lock": {"catalog.lock"},
    "catalog.lock": {"topic.lock", "topics.lock", "control.lock", "files.lock", "queue_lock", "dirty_lock"},
    "topic.lock": {"staging.lock", "queue_lock", "dirty_lock"},
    "files.flush_lock": {"files.lock"},
    "cache.ahead_lock": {"cache.lock"},
}
ALIASES = {"table.lock": "topics.lock"}
INNERMOST = "seam.lock"             # of the debug build's trace: while it is held none is taken, under any other it may be

TAKES = re.compile(r"\bwalrus_lock\s*\(\s*&\s*([\w.]+)")
TRIES = re.compile(r"= (?:walrus_trylock|lock_slice)\s*\(\s*&\s*([\w.]+)")
GIVES = re.compile(r"\bwalrus_unlock\s*\(\s*&\s*([\w.]+)")
CALLS = re.compile(r"(?<![\w.])(\w+)\s*\(")
CIMPORT = re.compile(r"from\s+(?:walrus\.|\.)(\w+)\s+cimport\s+(.*)")
TURNS = re.compile(r"(if|elif|else|while|for|try|except|finally|with)\b")

# What a function does to locks. taken: (lock, those of its caller that it had let go by then).
Effect = namedtuple("Effect", "taken left gone")


def canonical(text):
    parts = text.split(".")
    name = ".".join(parts[-2:]) if parts[-1] == "lock" or parts[-2:-1] in (["files"], ["cache"]) else parts[-1]
    return ALIASES.get(name, name)


def bodies(source):
    """{function: its statements, as (line, indentation, text)}; of methods too, by their bare names."""
    lines, found = statements(source), {}
    for place, (_, _, indentation, text) in enumerate(lines):
        match = FUNCTION.match(text)
        if match and text.endswith(":"):
            body = found.setdefault(match[1] or match[2], [])
            for first, _, deeper, inner in lines[place + 1:]:
                if deeper <= indentation:
                    break
                body.append((first, deeper, inner))
    return found


def cimported(source):
    return {name.split()[-1]: (match[1], name.split()[0]) for _, _, _, text in statements(source) if (match := CIMPORT.match(text))
            for name in match[2].strip(" ()").split(",") if name.strip()}


class Sources:
    def __init__(self, files):
        self.bodies = {(module, name): body for module, text in files.items() for name, body in bodies(text).items()}
        self.known = {module: cimported(text) for module, text in files.items()}
        self.effects = {key: Effect(frozenset(), frozenset(), frozenset()) for key in self.bodies}
        self.edges = {}
        before = None
        while before != self.effects:               # until calls of calls bring nothing new
            before = dict(self.effects)
            for key in self.bodies:
                self.effects[key] = self.walk(key)

    def callee(self, module, name):
        return (module, name) if (module, name) in self.bodies else self.known[module].get(name)

    def walk(self, key):
        held, gone, taken, left, blocks, jumped = set(), set(), set(), set(), [], False
        for line, indentation, text in self.bodies[key]:
            turned = None
            while blocks and blocks[-1][0] >= indentation:
                _, *at_entry = blocks.pop()
                turned = at_entry
                if jumped:
                    held, gone, jumped = set(at_entry[0]), set(at_entry[1]), False
            if turned and text.startswith(("elif", "else", "except")):
                held, gone = set(turned[0]), set(turned[1])
            for name in CALLS.findall(text):
                effect = self.effects.get(self.callee(key[0], name))
                if effect:
                    for lock, free in effect.taken:
                        self.note(key, line, held - free, lock)
                        taken.add((lock, frozenset(gone | free)))
                    held |= effect.left
                    held -= effect.gone
                    gone |= effect.gone - held
            for lock in map(canonical, TAKES.findall(text)):
                self.note(key, line, held, lock)
                taken.add((lock, frozenset(gone)))
                held.add(lock)
                gone.discard(lock)
            held |= set(map(canonical, TRIES.findall(text)))
            for lock in map(canonical, GIVES.findall(text)):
                gone |= set() if lock in held else {lock}
                held.discard(lock)
            if TURNS.match(text):
                blocks.append((indentation, frozenset(held), frozenset(gone)))
            jumped = bool(re.match(r"(return|continue|break|raise)\b", text.rsplit(": ", 1)[-1] if TURNS.match(text) else text))
            if re.search(r"\breturn( 0| True)?$", text):
                left |= held
        return Effect(frozenset(taken), frozenset(left | (set() if jumped else held)), frozenset(gone))

    def note(self, key, line, held, lock):
        for other in held if lock != INNERMOST else ():
            self.edges.setdefault((other, lock), f"{key[0]}.pyx:{line} in {key[1]}")


def wrong(files, order=ORDER):
    return {f"{lock} while {held} is held: {where}" for (held, lock), where in Sources(files).edges.items()
            if lock not in order.get(held, ())}


def test_no_lock_is_taken_against_the_order():
    assert wrong({path.stem: path.read_text() for path in sorted(PACKAGE.glob("*.pyx"))}) == set()


def test_the_order_has_no_circle_and_every_pair_of_it_is_there():
    sources = Sources({path.stem: path.read_text() for path in sorted(PACKAGE.glob("*.pyx"))})
    assert {(held, lock) for held, locks in ORDER.items() for lock in locks} == set(sources.edges)
    left = dict(ORDER)
    while left:
        last = {held for held, locks in left.items() if not locks & set(left)}
        assert last, f"a circle among {sorted(left)}"
        left = {held: locks for held, locks in left.items() if held not in last}


HEAD = "from walrus._b cimport inner\n"


@pytest.mark.parametrize(("body", "found"), [
    ("walrus_lock(&t.topic.lock)\n    walrus_lock(&log.catalog.lock)", True),
    ("walrus_lock(&log.catalog.lock)\n    walrus_lock(&t.topic.lock)", False),
    ("walrus_lock(&t.topic.lock)\n    walrus_unlock(&t.topic.lock)\n    walrus_lock(&log.catalog.lock)", False),
    ("walrus_lock(&t.topic.lock)\n    inner(log)", True),
    ("walrus_lock(&t.topic.lock)\n    outer(log)", True),
    ("walrus_lock(&t.topic.lock)\n    if done:\n        walrus_unlock(&t.topic.lock)\n        return\n    inner(log)", True),
    ("walrus_lock(&t.topic.lock)\n    if done:\n        walrus_unlock(&t.topic.lock)\n    else:\n        inner(log)", True),
    ("if done:\n        walrus_lock(&t.topic.lock)\n        return\n    inner(log)", False),
    ("enter(t)\n    inner(log)", True),
    ("refuse(t)\n    inner(log)", False),
    ("held = walrus_trylock(&t.topic.lock)\n    inner(log)", True),
    ("walrus_lock(&t.topic.lock)\n    for_a_while(t)", False),
    ("walrus_lock(&t.topic.lock)\n    walrus_lock(&t.topic.lock)", True),
])
def test_what_the_check_finds(body, found):
    files = {"_a": HEAD + f"""
cdef int work(Log *log) noexcept nogil:
    {body}

cdef int outer(Log *log) noexcept nogil:
    inner(log)

cdef int enter(Topic *t) noexcept nogil:
    walrus_lock(&t.topic.lock)
    return 0

cdef int refuse(Topic *t) noexcept nogil:
    cdef int result = enter(t)
    if result:
        return result
    walrus_unlock(&t.topic.lock)
    return 0

cdef int for_a_while(Topic *t) noexcept nogil:
    walrus_unlock(&t.topic.lock)
    inner(log)
    walrus_lock(&t.topic.lock)
""", "_b": "cdef int inner(Log *log) noexcept nogil:\n    walrus_lock(&log.catalog.lock)\n    walrus_unlock(&log.catalog.lock)\n"}
    assert bool(wrong(files)) == found
