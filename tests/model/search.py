"""Searches the model's worlds for a history that does harm: every one up to a depth, or random ones.

    python -m tests.model.search                   the small worlds, each to its depth
    python -m tests.model.search --seed 1          random walks in larger ones
    python -m tests.model.search --mutations       each rule broken in turn: the shortest harm that was found
"""

import argparse
import gc
import random
import sys
import time

from tests.model.recovery_model import Model, Sizes, Violation


def trail(link):
    labels = []
    while link is not None:
        label, link = link
        labels.append(label)
    return labels[::-1]


def explore(model, depth, until):
    """Every history, shortest first: (states, transitions, depth that was finished, violation or None, its history).

    States are known by their hashes. `until` is a time of time.monotonic(); past it the search ends with the depth it has.
    """
    first = model.start()
    known, level, moves = {hash(first)}, [(first, None)], 0
    for d in range(depth):
        following = []
        for s, link in level:
            if time.monotonic() > until:
                return len(known), moves, d, None, None
            for label, act in model.actions(s):
                moves += 1
                try:
                    new = act()
                    if new is None:
                        continue
                    if new.phase == "live":
                        model.check_live(new)
                except Violation as v:
                    return len(known), moves, d, str(v), trail((label, link))
                if new.phase == "live" and new.crashes >= model.z.crashes:
                    continue                # no crash is left that could lose anything
                h = hash(new)
                if h not in known:
                    known.add(h)
                    following.append((new, (label, link)))
            for label, new in model.crash(s):
                moves += 1
                h = hash(new)
                if h not in known:
                    known.add(h)
                    following.append((new, (label, link)))
        level = following
        if not level:
            return len(known), moves, d + 1, None, None
    return len(known), moves, depth, None, None


def walk(model, pick, steps):
    """One random history: (violation, history)."""
    s, labels = model.start(), []
    crash = pick.choice((0.02, 0.05, 0.15))
    for _ in range(steps):
        if s.phase != "down" and s.crashes < model.z.crashes and pick.random() < crash:
            label, s = pick.choice(list(model.crash(s, pick)))
            labels.append(label)
            continue
        actions = model.actions(s)
        pick.shuffle(actions)
        for label, act in actions:
            try:
                new = act()
                if new is None:
                    continue
                labels.append(label)
                if new.phase == "live":
                    model.check_live(new)
            except Violation as v:
                return str(v), labels if labels and labels[-1] == label else [*labels, label]
            s = new
            break
        else:
            return None, labels
    return None, labels


def ops(words):
    return frozenset(words.split())


# Worlds that are searched whole, each to a depth: (sizes, depth). Together they show every rule but one.
SCOPES = {
    "sync": (Sizes(topics=2, chunk=2, chunks=3, journals=2, records=2, files=1, extents=3, length=3, crashes=2,
                   ops=ops("append batch write complete sync kill power")), 9),
    "extents": (Sizes(topics=2, chunk=1, chunks=3, journals=2, records=1, files=2, extents=3, length=2, crashes=2,
                      ops=ops("append complete sync kill power")), 12),
    "journal": (Sizes(topics=1, chunk=2, chunks=3, journals=2, records=1, files=1, extents=3, length=4, crashes=2,
                      ops=ops("append write complete sync kill power")), 13),
    "reuse": (Sizes(topics=1, chunk=3, chunks=2, journals=1, records=1, files=1, extents=2, length=3, crashes=1,
                    ops=ops("append write complete commit sync snap power")), 14),
    "gap": (Sizes(topics=2, chunk=3, chunks=2, journals=2, records=1, files=1, extents=2, length=2, crashes=1,
                  ops=ops("append write complete sync power")), 14),
    "cursor": (Sizes(topics=1, chunk=2, chunks=2, journals=2, records=2, files=1, extents=2, length=2, crashes=2,
                     ops=ops("append commit seek sync trim snap kill power")), 12),
    "recycle": (Sizes(topics=1, chunk=1, chunks=2, journals=2, records=1, files=2, extents=1, length=4, crashes=1,
                      ops=ops("append complete sync commit trim snap kill power")), 12),
    "punch": (Sizes(topics=1, chunk=1, chunks=2, journals=1, records=2, files=2, extents=2, length=3, crashes=1,
                    ops=ops("append complete sync commit trim snap punch power")), 12),
    "cut": (Sizes(topics=1, chunk=2, chunks=2, journals=2, records=2, files=1, extents=3, length=2, crashes=2,
                  ops=ops("append batch write complete sync snap cut kill power")), 12),
}

# How each rule is broken, and the world that shows the harm; 'walk': none does, random walks do.
MUTATIONS = {
    "epoch_new": ("opening takes no new epoch", "extents"),
    "epoch_durable": ("the open appends before its epoch is flushed", "extents"),
    "epoch_list": ("there is no epoch list, only a run of epochs that do not fall", "extents"),
    "one_counter": ("a change in the journal counts even where the snapshot covers it", "cursor"),
    "one_frame": ("a batch is a frame for each entry", "sync"),
    "chunk_complete": ("a chunk is free once its extent is submitted", "extents"),
    "chunk_prefix": ("a chunk is free while an earlier extent is in flight", "extents"),
    "sync_waits": ("a sync leaves extents in flight alone", "extents"),
    "sync_journal": ("a sync leaves the journal unflushed", "sync"),
    "sync_logs": ("a sync leaves log files unflushed", "extents"),
    "sync_publish": ("durable offsets are published, then flushed", "sync"),
    "journal_extents": ("a journal file is written over whatever it holds", "journal"),
    "journal_flushed": ("a journal file is written over when extents are complete", "reuse"),
    "journal_prefix": ("a journal file is written over with a gap before its extents", "gap"),
    "journal_catalog": ("a journal file is written over before a snapshot has its changes", "reuse"),
    "journal_adopted": ("opening wipes the journal", "journal"),
    "low_cursor": ("the watermark goes by where the cursor once was", "cursor"),
    "recycle_low": ("a file is recycled by a watermark in memory", "recycle"),
    "recycle_head": ("a recycled file keeps its old number", "recycle"),
    "punch_listed": ("holes are punched in files that are scanned", "punch"),
    "snap_atomic": ("a snapshot replaces the only one there is", "sync"),
    "snap_flushed": ("a file is listed before it is flushed", "recycle"),
    "snap_keeps": ("a listed file with an unflushed hole is no longer listed", "walk"),
    "snap_quiet": ("a snapshot comes into the middle of a truncation", "cut"),
    "slot_pair": ("a cursor has one value in shared memory, written over", "cursor"),
    "cut_epoch": ("a truncation stays in its epoch", "cut"),
    "cut_durable": ("a truncation returns, then it is flushed", "cut"),
    "claim_capped": ("what a frame says was durable counts past a truncation", "cut"),
    "open_waits": ("the dead process still writes after opening has read", "extents"),
    "open_flushes": ("what opening reads counts as durable without a flush", "extents"),
    "open_prefix": ("opening keeps frames behind a hole", "recycle"),
    "open_clamps": ("a cursor beyond the end stays there", "cursor"),
}

# Checks that are no rules: no harm is found without them.
RELAXATIONS = {
    "staging_boot": ("staging counts after a power cut: any part of it, old parts too", "extents"),
    "seed_number": ("an extent of an earlier use of its file validates", "recycle"),
}


def hunt(name, scope, seconds, seed):
    """One rule broken: (world, violation, history), the shortest that its world, else walks, show. None: no harm."""
    begin = time.monotonic()
    if scope in SCOPES:
        sizes, depth = SCOPES[scope]
        *_, violation, history = explore(Model(sizes, {name}), depth + 2, begin + seconds)
        if violation:
            return scope, violation, history
    pick, best, begin = random.Random(seed), None, time.monotonic()
    while time.monotonic() < begin + seconds:
        violation, history = walk(Model(Sizes(crashes=3), {name}), pick, 150 if best is None else len(best[2]) - 1)
        if violation:
            best = "walk", violation, history
    return best


def table_of_harm(table, names, seconds, seed):
    """Prints a row for each rule; how many of them showed no harm."""
    harmless = 0
    for name, (what, scope) in table.items():
        if names and name not in names:
            continue
        found = hunt(name, scope, seconds, seed)
        if found is None:
            harmless += 1
            print(f"| {name} | {what} | no harm found | | |", flush=True)
        else:
            scope, violation, history = found
            print(f'| {name} | {what} | {violation} | {scope}, {len(history)} | {"; ".join(history)} |', flush=True)
    return harmless


def random_walks(seed, steps, broken=(), until=float("inf")):
    """Walks in worlds of several sizes: (walks, steps, crashes, violation or None, its history)."""
    pick, done, walks, crashes = random.Random(seed), 0, 0, 0
    while done < steps and time.monotonic() < until:
        sizes = Sizes(crashes=4, length=pick.choice((4, 6, 9)), chunks=pick.choice((3, 4, 6)),
                      files=pick.choice((2, 3, 4)))
        violation, history = walk(Model(sizes, broken), pick, 200)
        done, walks = done + len(history), walks + 1
        crashes += sum(label in ("SIGKILL", "POWER CUT") for label in history)
        if violation:
            return walks, done, crashes, violation, history
    return walks, done, crashes, None, []


def small_worlds(names, seconds, broken=()):
    """Searches each world, and prints what was searched; gives (violation, history) of the first harm, or None."""
    for name in names:
        sizes, depth = SCOPES[name]
        begin = time.monotonic()
        states, moves, d, violation, history = explore(Model(sizes, broken), depth, begin + seconds / len(names))
        print(f"{name}: {states} states, {moves} transitions, depth {d}" + (f" of {depth}" if d < depth else "")
              + f", {time.monotonic() - begin:.0f} s", flush=True)
        if violation:
            return violation, history
    return None


def main():
    ap = argparse.ArgumentParser(description="The order of writes: whole small worlds, random walks, broken rules.")
    ap.add_argument("--seconds", type=float, default=300, help="for all small worlds together")
    ap.add_argument("--seed", type=int, help="random walks from this seed instead")
    ap.add_argument("--steps", type=int, default=200000, help="of all random walks together")
    ap.add_argument("--break", dest="broken", default="", help="rules to break, separated by commas")
    ap.add_argument("--scope", choices=SCOPES, help="one world only")
    ap.add_argument("--mutations", action="store_true", help="a table of the harm that comes of breaking each rule")
    ap.add_argument("--relaxations", action="store_true", help="the same for the checks that are no rules")
    ap.add_argument("--only", default="", help="of these tables, the rows named here")
    ap.add_argument("--each", type=float, default=20, help="seconds for each row")
    a = ap.parse_args()
    gc.disable()                            # states have no cycles, and collecting takes half the time
    broken = set(filter(None, a.broken.split(",")))
    if broken - set(MUTATIONS) - set(RELAXATIONS):
        ap.error(f"no such rule: {broken - set(MUTATIONS) - set(RELAXATIONS)}")

    only = set(filter(None, a.only.split(",")))
    if a.mutations:
        return bool(table_of_harm(MUTATIONS, only, a.each, a.seed or 1))
    if a.relaxations:
        rows = only or set(RELAXATIONS)
        return table_of_harm(RELAXATIONS, rows, a.each, a.seed or 1) < len(rows)
    if a.seed is not None:
        walks, steps, crashes, violation, history = random_walks(a.seed, a.steps, broken)
        print(f"seed {a.seed}: {walks} walks, {steps} steps, {crashes} crashes")
        harm = (violation, history) if violation else None
    else:
        harm = small_worlds([a.scope] if a.scope else list(SCOPES), a.seconds, broken)
    if harm:
        print(harm[0], *harm[1], sep="\n  ")
    return bool(harm)


if __name__ == "__main__":
    sys.exit(main())
