"""The order of writes as a small state machine: what the disk may hold after a crash, and what opening makes of it.

Every rule that the engine keeps has a name. Here each name stands at one marked line or function, and can be broken by
itself: `search.py` then looks for the shortest history in which somebody loses what was promised. In the engine the
same names mark the code that keeps the rule, and the debug build breaks them one at a time (docs/format.md, "Order of
writes", has the table). A schedule decides how often a sync runs; none of these rules depends on it.

Numbers
  epoch_new        An open takes an epoch above all that were used; a truncation does too.
  epoch_durable    Nothing is appended before the snapshot with the open's new epoch has been flushed, on every
                   schedule.
  epoch_list       Each topic remembers (epoch, first offset). A frame of an earlier epoch that goes past the first
                   offset of a later one is dead, wherever it lies.
  one_counter      All catalog changes (cursor, low watermark, truncation) take their stamps from one counter. The
                   highest stamp wins, and a change that the snapshot's stamp covers is not applied a second time.

Appending
  one_frame        The entries of a batch share a frame and so a checksum.
  chunk_complete   A chunk's memory is free once the write of its extent is complete, not once it is submitted,
  chunk_prefix     and only when all earlier extents of the file are complete as well: a scan ends at a gap.

Sync
  sync_waits       Extents that were in flight when the sync began are waited for: its record leaves their frames out.
  sync_journal     The journal file that was written is flushed,
  sync_logs        and so is each log file with complete extents that were never flushed: their chunks may be gone
                   already.
  sync_publish     Durable offsets, and the durability of cursors and watermarks, are published after that, not before.

Reuse of space
  journal_extents  A journal file is written over only when all live frames in it are in extents too,
  journal_flushed  flushed ones; being complete is not enough,
  journal_prefix   with everything in front of them in their file, since a scan must get there,
  journal_catalog  and when a flushed snapshot covers the catalog changes in it.
  journal_adopted  A journal file of before the open is held to the same; opening wipes none.
  low_cursor       The low watermark goes up to the lowest cursor of this moment, and reaches the disk with that
                   cursor's changes or after them.
  recycle_low      A log file is recycled when durable watermarks have passed all its frames (or the epoch list has
                   killed them).
  recycle_head     Before its first extent the recycled file gets a number that no file ever had.
  punch_listed     Holes are punched only into files that a flushed snapshot lists; scanning any other would end at the
                   hole.

Catalog
  snap_atomic      A snapshot is there as a whole or not at all.
  snap_flushed     A file is listed, and then not scanned, when all its extents have been flushed.
  snap_keeps       Once listed it stays listed until it is recycled.
  snap_quiet       No snapshot is taken in the middle of a truncation: its stamp would cover a change that it does not
                   hold.
  slot_pair        A cursor's place in shared memory is a pair of values; a store leaves the older one whole.

Truncation
  cut_epoch        A truncation enters (new epoch, offset) into the topic's list,
  cut_durable      and this is durable before it returns and before the next append to that topic.
  claim_capped     What a frame says was durable counts no further than the start of the topic's next epoch.

Opening
  open_waits       Writes of the dead process have ended, one way or the other, before anything is read.
  open_flushes     Journal and log files are flushed before what was read in them is taken for durable.
  open_prefix      A topic is the longest run of valid frames from its low watermark, without a hole.
  open_clamps      A cursor beyond that end goes back to it, in the snapshot of the same open.
  one_write        (No switch.) That snapshot is all that opening writes, so a crash meanwhile is a crash before it.

Two further checks are not rules: the search finds no harm in worlds of these sizes when they are left out.
`staging_boot`: that staging is only believed within one boot. `seed_number`: that an extent's checksum knows the number
of its file. The engine keeps both.

In the model are: topics with frames of one or two entries; chunks; a ring of journal files; log files of a few extents,
which complete in any order; a cursor that commits and seeks back; watermarks; truncation; recycling; punching; the
snapshot. SIGKILL keeps staging and all complete writes; a write in flight has happened, has not, or is torn. A power
cut leaves in each place a value since its last flush, the flushed one, or a torn one; staging is gone. Opening is
interrupted as well. Left out are bit rot, full disks, readers, making of topics and frames larger than a chunk. A
payload counts how often its offset was given out, which tells stale bytes from true ones.
"""

import itertools
from typing import NamedTuple

# ------------------------------------------------------------------------------------------ what is on the disk


class Cell(NamedTuple):
    """A place on the disk: what is flushed, what was written since, oldest first, and what is in flight."""
    durable: object
    issued: tuple = ()
    flying: object = None


class Frame(NamedTuple):
    topic: int
    first: int
    count: int
    epoch: int
    claim: int          # the topic's durable end at the time
    payload: tuple


class Extent(NamedTuple):
    number: tuple       # of the log file at the time
    frames: tuple


class Change(NamedTuple):
    stamp: tuple
    kind: str           # 'cursor', 'low', 'cut'
    topic: int
    value: int
    epoch: int


class Record(NamedTuple):
    stamp: tuple
    frames: tuple
    changes: tuple


class Snap(NamedTuple):
    epoch: int
    stamp: tuple
    topics: tuple       # (low watermark, epoch list) of each
    cursor: int
    listed: tuple       # (file, number, table): per extent, what a frame is told by: (topic, first, count, epoch)


class Chunk(NamedTuple):
    frames: tuple
    place: object       # (file, position) of its extent, None before it was submitted


class Topic(NamedTuple):    # as the process has it
    end: int
    durable: int
    low: int
    low_durable: int
    epochs: tuple


class Sync(NamedTuple):
    ends: tuple
    waits: tuple
    journal: object     # which file of the ring was written; None: none
    changes: tuple
    lows: tuple
    cursor: tuple       # stamp of the cursor's value at the time


class Told(NamedTuple):     # what the callers of a topic know
    entries: tuple      # payloads of offsets 0, 1, 2 ...
    borders: frozenset  # offsets behind frames
    durable: int
    low: int
    given: tuple        # per offset, how often it was given out


class State(NamedTuple):
    # the disk
    snap: Cell
    journal: tuple
    heads: tuple
    logs: tuple
    # the staging file
    chunks: tuple
    slot: object
    ghosts: frozenset   # what staging ever held (kept for `staging_boot` alone)
    # the process
    phase: str          # 'live', 'down', 'opening'
    epoch: int
    number: int
    topics: tuple
    cursor: int
    dirty: tuple        # catalog changes that wait for a record
    sync: object
    cut: object
    snap_under_way: object  # (cursor's stamp, low watermarks) of one that is being written
    journal_at: tuple
    used: tuple         # per log file: places that were written
    current: object     # the log file that is written
    late: tuple         # writes of a dead process that are still to land
    # what callers know
    told: tuple
    cursors: tuple      # (stamp, value): any may come back after a power cut, the last after SIGKILL
    fate: str           # worst crash since the log was open
    crashes: int


class Violation(Exception):
    """What somebody was promised is not so."""


class Sizes(NamedTuple):
    topics: int = 2
    chunk: int = 2          # frames in a chunk
    chunks: int = 4
    journals: int = 2
    records: int = 2
    files: int = 3
    extents: int = 3
    length: int = 6         # entries per topic
    crashes: int = 2
    ops: frozenset = frozenset((
        "append", "batch", "write", "complete", "sync", "snap", "commit", "seek", "trim", "cut", "punch", "close", "kill",
        "power"))


def seen(cell):
    """What reading it gives before any power cut."""
    return cell.issued[-1] if cell.issued else cell.durable


def flushed(cell):
    return Cell(cell.issued[-1], (), cell.flying) if cell.issued else cell


def landed(cell):
    return Cell(cell.durable, (*cell.issued, cell.flying), None)


def after_power(cell):
    """What a power cut may leave of it; None is torn, or nothing."""
    if not cell.issued and cell.flying is None:
        return (cell.durable,)
    return tuple(dict.fromkeys((cell.durable, *cell.issued, *(() if cell.flying is None else (cell.flying,)), None)))


def after_kill(cell):
    if cell.flying is None:
        return (cell,)
    rest = Cell(cell.durable, cell.issued, None)
    outcomes = [rest, landed(cell)]
    if seen(cell) is not None:
        outcomes.append(Cell(cell.durable, (*cell.issued, None), None))
    return tuple(outcomes)


def put(row, i, value):
    return (*row[:i], value, *row[i + 1:])


def without_flying(rows):
    """Without the writes in flight."""
    return tuple(tuple(c._replace(flying=None) for c in row) for row in rows)


def put2(rows, i, j, value):
    return put(rows, i, put(rows[i], j, value))


# ------------------------------------------------------------------------------------------ the rules


class Model:
    def __init__(self, sizes, broken=()):
        self.z = sizes
        self.broken = frozenset(broken)

    def holds(self, rule):
        return rule not in self.broken

    # -- which frames are alive

    def alive(self, frame, epochs):
        """epoch_list"""
        if not self.holds("epoch_list"):
            return True
        for epoch, start in epochs:
            if epoch > frame.epoch:
                return frame.first + frame.count <= start
        return True

    def needed(self, s, frame):
        t = s.topics[frame.topic]
        return frame.first + frame.count > t.low_durable and self.alive(frame, t.epochs)

    # -- extents

    def in_place(self, s, f, p):
        """Its write is complete."""
        return s.logs[f][p].flying is None

    def reachable(self, s, f, p):
        """A scan would get there: all before it are complete too."""
        return all(self.in_place(s, f, q) for q in range(p + 1))

    def durable_extent(self, s, f, p):
        """journal_flushed, journal_prefix"""
        if not self.in_place(s, f, p):
            return False
        if self.holds("journal_flushed") and (s.heads[f].issued or s.logs[f][p].issued):
            return False
        if self.holds("journal_prefix"):
            before = s.logs[f][:p]
            return all(c.flying is None and (not c.issued or not self.holds("journal_flushed")) for c in before)
        return True

    def chunk_may_go(self, s, f, p):
        """chunk_complete, chunk_prefix"""
        if not self.holds("chunk_complete"):
            return True
        return self.reachable(s, f, p) if self.holds("chunk_prefix") else self.in_place(s, f, p)

    def extents(self, s, f):
        """(position, extent) of what is complete in a file."""
        for p in range(s.used[f]):
            x = seen(s.logs[f][p])
            if self.in_place(s, f, p) and x is not None:
                yield p, x

    # -- reuse

    def journal_may_be_overwritten(self, s, j):
        safe = None
        for cell in s.journal[j]:
            record = seen(cell)
            if record is None:
                continue
            if self.holds("journal_catalog"):
                covered = seen(s.snap).stamp if self.broken & {"snap_atomic"} else s.snap.durable.stamp
                if any(c.stamp > covered for c in record.changes):
                    return False
            if not self.holds("journal_extents"):
                continue
            for frame in record.frames:
                if self.needed(s, frame):
                    if safe is None:
                        safe = {fr for f in range(self.z.files) for p, x in self.extents(s, f)
                                if self.durable_extent(s, f, p) for fr in x.frames}
                    if frame not in safe:
                        return False
        return True

    def file_may_be_recycled(self, s, f):
        """recycle_low"""
        if f == s.current or any(c.flying is not None for c in s.logs[f]):
            return False
        for _, x in self.extents(s, f):
            for frame in x.frames:
                t = s.topics[frame.topic]
                low = t.low_durable if self.holds("recycle_low") else t.low
                if frame.first + frame.count > low and self.alive(frame, t.epochs):
                    return False
        return True

    def place_may_be_punched(self, s, f, p):
        """punch_listed"""
        x = seen(s.logs[f][p])
        if p >= s.used[f] or x is None or s.logs[f][p].flying is not None:
            return False
        if any(self.needed(s, frame) for frame in x.frames):
            return False
        if not self.holds("punch_listed"):
            return True
        return f != s.current and any(g == f and n == seen(s.heads[f]) for g, n, _ in s.snap.durable.listed)

    def file_may_be_listed(self, s, f):
        """snap_flushed, snap_keeps. A file that is no longer written counts as full."""
        if f == s.current or s.used[f] == 0 or any(c.flying is not None for c in s.logs[f]):
            return False
        if self.holds("snap_keeps") and any(g == f and n == seen(s.heads[f]) for g, n, _ in s.snap.durable.listed):
            return True
        return not self.holds("snap_flushed") or not (s.heads[f].issued or any(c.issued for c in s.logs[f]))

    def low_may_rise_to(self, s, t):
        """low_cursor. Only topic 0 has a cursor; another one may drop what is durable."""
        if t:
            return s.topics[t].durable
        return s.cursor if self.holds("low_cursor") else max(value for _, value in s.cursors)

    # -- the catalog

    def listing(self, s):
        rows = []
        for f in range(self.z.files):
            if self.file_may_be_listed(s, f):
                table = tuple(tuple(fr[:4] for fr in seen(c).frames) if seen(c) else () for c in s.logs[f][:s.used[f]])
                rows.append((f, seen(s.heads[f]), table))
        return tuple(rows)

    # ------------------------------------------------------------------------------------------ recovery

    def scan(self, s, f, snap):
        """What opening finds in a file: what a flushed table lists, else all up to a gap. With the table, or None."""
        head = seen(s.heads[f])
        for g, number, table in snap.listed:
            if g == f and number == head:
                return [seen(c) for c in s.logs[f][:len(table)]], table
        found = []
        for cell in s.logs[f]:
            x = seen(cell)
            if x is None or head is None or (x.number != head and self.holds("seed_number")):
                break
            found.append(x)
        return found, None

    def run(self, frames, low, epochs):
        """open_prefix. Of two frames at an offset the one of the newer epoch counts."""
        best = {}
        for frame in frames:
            if self.alive(frame, epochs) and (frame.first not in best or best[frame.first].epoch < frame.epoch):
                best[frame.first] = frame
        at, run, epoch = low, [], 0
        heads = [fr for fr in best.values() if fr.first <= low < fr.first + fr.count]
        frame = max(heads, key=lambda fr: fr.epoch) if heads else None
        while frame is not None and frame.epoch >= epoch:
            run.append(frame)
            at, epoch = frame.first + frame.count, frame.epoch
            frame = best.get(at)
        if not self.holds("open_prefix"):
            run = sorted((fr for fr in best.values() if fr.first + fr.count > low), key=lambda fr: fr.first)
            at = max([low] + [fr.first + fr.count for fr in run])
        return tuple(run), at

    def catalog(self, snap, records):
        """Snapshot and journal together: (low watermarks, epoch lists, cursor, its stamp, highest epoch)."""
        changes = sorted(c for r in records for c in r.changes)
        if self.holds("one_counter"):
            changes = [c for c in changes if c.stamp > snap.stamp]
        low = [t[0] for t in snap.topics]
        epochs = [t[1] for t in snap.topics]
        cursor, stamp, epoch = snap.cursor, snap.stamp, snap.epoch
        for c in changes:
            if c.kind == "low":
                low[c.topic] = c.value
            elif c.kind == "cursor":
                cursor, stamp = c.value, c.stamp
            else:
                epochs[c.topic] = renew(epochs[c.topic], c.epoch, c.value)
                epoch = max(epoch, c.epoch)
        return low, epochs, cursor, stamp, epoch

    def frames_in_files(self, s, snap, low, epochs):
        """(frames in extents, places found per file). A listed frame that is needed and not there is damage."""
        found, used = set(), []
        for f in range(self.z.files):
            extents, table = self.scan(s, f, snap)
            used.append(len(extents))
            for p, x in enumerate(extents):
                if table is None or (x is not None and tuple(fr[:4] for fr in x.frames) == table[p]):
                    found.update(x.frames)
                    continue
                for t, first, count, e in table[p]:
                    if first + count > low[t] and self.alive(Frame(t, first, count, e, 0, ()), epochs[t]):
                        raise Violation(f"a listed extent of file {f} is missing: reported as damage")
        return frozenset(found), tuple(used)

    def claims_hold(self, t, frames, epochs, end):
        """claim_capped"""
        for fr in frames:
            claim = fr.claim
            if self.holds("claim_capped"):
                claim = min([claim] + [start for e, start in epochs if e > fr.epoch])
            if claim > end:
                raise Violation(f"topic {t} ends at {end}, a frame says {claim} was durable: reported as damage")

    def writing_goes_on(self, s, snap, used):
        """(log file that is not full and not listed, or None; the journal's place behind its newest record)"""
        numbers = [(seen(s.heads[f]), f) for f in range(self.z.files) if seen(s.heads[f]) is not None]
        current = None
        if numbers:
            number, f = max(numbers)
            if used[f] < self.z.extents and not any(g == f and n == number for g, n, _ in snap.listed):
                current = f
        last = max(((r.stamp, j, i) for j, row in enumerate(s.journal) for i, c in enumerate(row)
                    if (r := seen(c)) is not None), default=None)
        return current, (last[1], last[2] + 1) if last else (0, 0)

    def recover(self, s):
        snap = seen(s.snap)
        if snap is None:
            raise Violation("no catalog")
        records = sorted({seen(c) for row in s.journal for c in row if seen(c) is not None})
        low, epochs, cursor, stamp, epoch = self.catalog(snap, records)
        if s.slot is not None and s.slot[0] > stamp:
            cursor = s.slot[1]
        if self.holds("epoch_new"):
            epoch += 1
        in_extents, used = self.frames_in_files(s, snap, low, epochs)
        on_disk = in_extents | {fr for r in records for fr in r.frames}
        everything = on_disk | {fr for row in s.chunks for ch in row for fr in ch.frames}

        topics, chunks, runs = [], [], []
        for t in range(self.z.topics):
            mine = [fr for fr in everything if fr.topic == t]
            run, end = self.run(mine, low[t], epochs[t])
            _, durable = self.run([fr for fr in on_disk if fr.topic == t], low[t], epochs[t])
            self.claims_hold(t, mine, epochs[t], end)
            runs.append(run)
            if self.holds("epoch_new"):
                epochs[t] = renew(epochs[t], epoch, end)
            topics.append(Topic(end, durable, low[t], low[t], epochs[t]))
            keep = [fr for fr in run if fr not in in_extents]
            chunks.append(tuple(Chunk(tuple(keep[i:i + self.z.chunk]), None)
                                for i in range(0, len(keep), self.z.chunk)))
        if self.holds("open_clamps"):
            cursor = max(min(cursor, topics[0].end), topics[0].low)
        current, at = self.writing_goes_on(s, snap, used)
        return epoch, tuple(topics), tuple(runs), cursor, tuple(chunks), used, current, at

    # ------------------------------------------------------------------------------------------ the oracle

    def judge(self, s, topics, runs, cursor):
        """What opening found against what the callers had been told."""
        for t, told in enumerate(s.told):
            end, low = topics[t].end, topics[t].low
            wanted = [(told.entries, told.durable)]
            if s.cut is not None and s.cut.topic == t:      # one that had not returned may be done or not
                wanted.append((told.entries[:s.cut.value], min(told.durable, s.cut.value)))
            got = {fr.first + i: v for fr in runs[t] for i, v in enumerate(fr.payload)}
            if low > told.low:
                raise Violation(f"topic {t}: low watermark {low} was never asked for")
            problem = ""
            for entries, durable in wanted:
                if s.fate == "kill" and end != len(entries):
                    problem = f"topic {t}: SIGKILL left {end} of {len(entries)} entries"
                elif end < durable:
                    problem = f"topic {t}: ends at {end}, {durable} had been durable"
                elif end > len(entries):
                    problem = f"topic {t}: ends at {end}, only {len(entries)} were ever appended"
                elif any(got.get(o, "nothing") != entries[o] for o in range(low, end)):
                    o = next(o for o in range(low, end) if got.get(o, "nothing") != entries[o])
                    problem = f'topic {t}: offset {o} reads {got.get(o, "nothing")}, written was {entries[o]}'
                elif end and end not in told.borders and end > low:
                    problem = f"topic {t}: part of a batch, to {end}"
                else:
                    problem = ""
                    break
            if problem:
                raise Violation(problem)
        values = [v for _, v in (s.cursors[-1:] if s.fate == "kill" else s.cursors)]
        end, low = topics[0].end, topics[0].low
        if cursor > end:
            raise Violation(f"the cursor is at {cursor}, the end at {end}: entries to come are skipped")
        if cursor not in [max(min(v, end), low) for v in values]:
            raise Violation(f"the cursor is at {cursor}, wanted one of {values}")
        if not any(min(v, end) >= low for v in values):
            raise Violation(f"the cursor {values} points below the low watermark {low}")

    def check_live(self, s):
        """Whatever lies between watermark and end is to be read somewhere."""
        for t, topic in enumerate(s.topics):
            have = set()
            for ch in s.chunks[t]:
                have.update(o for fr in ch.frames for o in range(fr.first, fr.first + fr.count))
            for f in range(self.z.files):
                for _, x in self.extents(s, f):
                    for fr in x.frames:
                        if fr.topic == t:
                            have.update(range(fr.first, fr.first + fr.count))
            for o in range(topic.low, topic.end):
                if o not in have:
                    raise Violation(f"topic {t}: offset {o} can be read nowhere")

    # ------------------------------------------------------------------------------------------ operations

    def start(self):
        z = self.z
        topics = tuple(Topic(0, 0, 0, 0, ((1, 0),)) for _ in range(z.topics))
        snap = Snap(1, (1, 0), tuple((0, ((1, 0),)) for _ in range(z.topics)), 0, ())
        return State(
            snap=Cell(snap), journal=((Cell(None),) * z.records,) * z.journals, heads=(Cell(None),) * z.files,
            logs=((Cell(None),) * z.extents,) * z.files, chunks=((),) * z.topics, slot=None, ghosts=frozenset(),
            phase="live", epoch=1, number=0, topics=topics, cursor=0, dirty=(), sync=None, cut=None,
            snap_under_way=None, journal_at=(0, 0), used=(0,) * z.files, current=None, late=(),
            told=(Told((), frozenset(), 0, 0, ()),) * z.topics, cursors=(((1, 0), 0),), fate="none", crashes=0)

    def append(self, s, t, count):
        topic = s.topics[t]
        if count > 1 and not self.holds("one_frame"):
            new = s
            for _ in range(count):
                new = new and self.append(new, t, 1)
            return new and new._replace(told=put(new.told, t, new.told[t]._replace(
                borders=new.told[t].borders - set(range(topic.end + 1, topic.end + count)))))
        if topic.end + count > self.z.length or (s.cut is not None and s.cut.topic == t):
            return None
        row = s.chunks[t]
        if not row or row[-1].place is not None or len(row[-1].frames) >= self.z.chunk:
            if sum(map(len, s.chunks)) >= self.z.chunks:
                return None                                                 # the appender waits for a chunk
            row += (Chunk((), None),)
        given = list(s.told[t].given)
        payload = []
        for o in range(topic.end, topic.end + count):
            given[o:o + 1] = [given[o] + 1 if o < len(given) else 1]
            payload.append(given[o])
        frame = Frame(t, topic.end, count, s.epoch, topic.durable, tuple(payload))
        row = (*row[:-1], Chunk((*row[-1].frames, frame), None))
        end = topic.end + count
        told = s.told[t]
        told = Told(told.entries + tuple(payload), told.borders | {end}, told.durable, told.low, tuple(given))
        s = s._replace(chunks=put(s.chunks, t, row), topics=put(s.topics, t, topic._replace(end=end)),
                       told=put(s.told, t, told))
        if "staging_boot" in self.broken:
            s = s._replace(ghosts=s.ghosts | {frame})
        if len(row[-1].frames) >= self.z.chunk:
            return self.write(s, t) or s
        return s

    def write(self, s, t):
        """Submits the topic's oldest chunk that was not submitted yet."""
        i = next((i for i, ch in enumerate(s.chunks[t]) if ch.place is None), None)
        if i is None:
            return None
        f = s.current
        if f is None or s.used[f] >= self.z.extents:
            f = next((g for g in range(self.z.files) if self.file_may_be_recycled(s, g)), None)
            if f is None:
                return None                                                 # the disk is full
            head = (s.epoch, s.number + 1)
            heads = s.heads
            if self.holds("recycle_head") or seen(s.heads[f]) is None:
                heads = put(s.heads, f, s.heads[f]._replace(issued=(*s.heads[f].issued, head)))
            s = s._replace(heads=heads, number=s.number + 1, current=f, used=put(s.used, f, 0))
        p = s.used[f]
        ch = s.chunks[t][i]
        cell = s.logs[f][p]._replace(flying=Extent(seen(s.heads[f]), ch.frames))
        s = s._replace(logs=put2(s.logs, f, p, cell), used=put(s.used, f, p + 1),
                       chunks=put2(s.chunks, t, i, Chunk(ch.frames, (f, p))))
        return s if self.holds("chunk_complete") else self.free(s)

    def free(self, s):
        rows = tuple(tuple(ch for ch in row if ch.place is None or not self.chunk_may_go(s, *ch.place))
                     for row in s.chunks)
        return s._replace(chunks=rows)

    def complete(self, s, f, p):
        s = s._replace(logs=put2(s.logs, f, p, landed(s.logs[f][p])))
        return self.free(s)

    def flush_logs(self, s):
        return s._replace(heads=tuple(map(flushed, s.heads)), logs=tuple(tuple(map(flushed, row)) for row in s.logs))

    def sync_begin(self, s):
        if s.sync is not None:
            return None
        frames = tuple(fr for t, row in enumerate(s.chunks) for ch in row if ch.place is None
                       for fr in ch.frames if fr.first + fr.count > s.topics[t].durable)
        waits = tuple((f, p) for f, row in enumerate(s.logs) for p, c in enumerate(row) if c.flying is not None)
        dirty = any(c.issued for row in s.logs for c in row)
        if not (frames or waits or dirty or s.dirty):
            return None
        j, journal, number, at = None, s.journal, s.number, s.journal_at
        if frames or s.dirty:
            j, i = at
            if i >= self.z.records:
                j, i = (j + 1) % self.z.journals, 0
                if not self.journal_may_be_overwritten(s, j):
                    return None                                             # extents or a snapshot have to come first
            number += 1
            record = Record((s.epoch, number), frames, s.dirty)
            journal = put2(s.journal, j, i, s.journal[j][i]._replace(flying=record))
            at = (j, i + 1)
        sync = Sync(tuple(t.end for t in s.topics), waits, j, s.dirty, tuple(t.low for t in s.topics),
                    s.cursors[-1][0])
        s = s._replace(journal=journal, number=number, journal_at=at, dirty=(), sync=sync)
        if not self.holds("sync_publish"):
            s = self.publish(s)
        if s.cut is not None and not self.holds("cut_durable"):
            s = self.cut_done(s)
        return s

    def publish(self, s):
        y = s.sync
        topics = tuple(t._replace(durable=max(t.durable, min(y.ends[i], t.end)),
                                  low_durable=max(t.low_durable, y.lows[i])) for i, t in enumerate(s.topics))
        told = tuple(o._replace(durable=max(o.durable, min(y.ends[i], len(o.entries)))) for i, o in enumerate(s.told))
        cursors = tuple(c for c in s.cursors if c[0] >= y.cursor)
        return s._replace(topics=topics, told=told, cursors=cursors)

    def sync_end(self, s):
        y = s.sync
        if y is None or (self.holds("sync_waits") and any(not self.in_place(s, f, p) for f, p in y.waits)):
            return None
        if y.journal is not None:
            row = tuple(landed(c) if c.flying is not None else c for c in s.journal[y.journal])
            if self.holds("sync_journal"):
                row = tuple(map(flushed, row))
            s = s._replace(journal=put(s.journal, y.journal, row))
        if self.holds("sync_logs"):
            s = self.flush_logs(s)
        s = self.publish(s)._replace(sync=None)
        if s.cut is not None and s.cut in y.changes:
            s = self.cut_done(s)
        return s

    def change(self, s, kind, t, value, epoch=0):
        c = Change((s.epoch, s.number + 1), kind, t, value, epoch)
        dirty = (*tuple(d for d in s.dirty if (d.kind, d.topic) != (kind, t)), c)
        return s._replace(number=s.number + 1, dirty=dirty), c

    def commit(self, s, value):
        if value == s.cursor:
            return None
        s, c = self.change(s, "cursor", 0, value)
        return s._replace(cursor=value, slot=(c.stamp, value), cursors=(*s.cursors, (c.stamp, value)))

    def trim(self, s, t):
        low = self.low_may_rise_to(s, t)
        if low <= s.topics[t].low or s.cut is not None:
            return None
        s, _ = self.change(s, "low", t, low)
        s = s._replace(topics=put(s.topics, t, s.topics[t]._replace(low=low)),
                       told=put(s.told, t, s.told[t]._replace(low=low)))
        return s

    def cut(self, s, t):
        """Truncates by one frame. It returns when a sync has taken the change along."""
        borders = sorted(b for b in s.told[t].borders | {0} if b < s.topics[t].end)
        if s.cut is not None or s.sync is not None or not borders or borders[-1] < s.topics[t].low \
                or (s.snap_under_way is not None and self.holds("snap_quiet")):
            return None
        epoch = s.epoch + 1 if self.holds("cut_epoch") else s.epoch
        s, c = self.change(s, "cut", t, borders[-1], epoch)
        return s._replace(cut=c)

    def cut_done(self, s):
        c = s.cut
        t, off = c.topic, c.value
        topic = s.topics[t]
        chunks = tuple(ch._replace(frames=tuple(fr for fr in ch.frames if fr.first < off)) if ch.place is None else ch
                       for ch in s.chunks[t])
        epochs = renew(topic.epochs, c.epoch, off) if self.holds("cut_epoch") else topic.epochs
        told = s.told[t]
        told = told._replace(entries=told.entries[:off], durable=min(told.durable, off),
                             borders=frozenset(b for b in told.borders if b <= off))
        s = s._replace(cut=None, chunks=put(s.chunks, t, tuple(ch for ch in chunks if ch.frames)), epoch=c.epoch,
                       topics=put(s.topics, t, topic._replace(end=off, durable=min(topic.durable, off), epochs=epochs)),
                       told=put(s.told, t, told))
        if t == 0 and s.cursor > off:
            s = self.commit(s, off)
        return s

    def snap_begin(self, s):
        if s.snap_under_way is not None or (s.cut is not None and self.holds("snap_quiet")):
            return None
        stamp = (s.epoch, s.number)
        snap = Snap(s.epoch, stamp, tuple((t.low, t.epochs) for t in s.topics), s.cursor, self.listing(s))
        if snap._replace(stamp=seen(s.snap).stamp) == seen(s.snap):
            return None
        return s._replace(snap=s.snap._replace(issued=(*s.snap.issued, snap)),
                          snap_under_way=(s.cursors[-1][0], tuple(t.low for t in s.topics)))

    def snap_end(self, s):
        if s.snap_under_way is None:
            return None
        stamp, lows = s.snap_under_way
        topics = tuple(t._replace(low_durable=max(t.low_durable, lows[i])) for i, t in enumerate(s.topics))
        return s._replace(snap=flushed(s.snap), snap_under_way=None, topics=topics,
                          cursors=tuple(c for c in s.cursors if c[0] >= stamp))

    def punch(self, s, f, p):
        if not self.place_may_be_punched(s, f, p):
            return None
        c = s.logs[f][p]
        return s._replace(logs=put2(s.logs, f, p, c._replace(issued=(*c.issued, None))))

    # -- crashes

    def dead(self, s, fate):
        fate = "power" if "power" in (fate, s.fate) else fate
        return s._replace(phase="down", sync=None, dirty=(), snap_under_way=None, fate=fate, crashes=s.crashes + 1,
                          epoch=0, number=0, topics=(), cursor=0, journal_at=(0, 0), used=(), current=None)

    def spread(self, s, outcome, pick):
        """The disks that a crash may leave: all of them, or one that `pick` picks."""
        rows = [(s.snap,), s.heads, *s.journal, *s.logs]
        choices = [tuple(outcome(c)) for row in rows for c in row]
        if outcome is after_power_cells and self.holds("snap_atomic"):
            choices[0] = tuple(c for c in choices[0] if c.durable is not None)
        many = [tuple(pick.choice(c) for c in choices)] if pick else itertools.product(*choices)
        for flat in many:
            at, rebuilt = 0, []
            for row in rows:
                rebuilt.append(tuple(flat[at:at + len(row)]))
                at += len(row)
            k = 2 + self.z.journals
            yield s._replace(snap=rebuilt[0][0], heads=rebuilt[1], journal=tuple(rebuilt[2:k]), logs=tuple(rebuilt[k:]))

    def kill(self, s, pick=None):
        s = self.dead(s, "kill")
        s = s._replace(chunks=tuple(tuple(ch._replace(place=None) for ch in row) for row in s.chunks))
        if not self.holds("open_waits"):        # they land at any later time
            flying = tuple((f, p, c.flying) for f, row in enumerate(s.logs) for p, c in enumerate(row) if c.flying)
            flying += tuple((-1 - j, i, c.flying)
                            for j, row in enumerate(s.journal) for i, c in enumerate(row) if c.flying)
            yield s._replace(logs=without_flying(s.logs), journal=without_flying(s.journal), late=s.late + flying)
            return
        for out in self.spread(s, after_kill, pick):
            yield out
            if not self.holds("slot_pair") and out.slot is not None:
                yield out._replace(slot=None)               # killed while the next value was being stored

    def land_late(self, s, z):
        f, p, value = z
        rows = s.logs if f >= 0 else s.journal
        f = f if f >= 0 else -1 - f
        cell = rows[f][p]
        rows = put2(rows, f, p, cell._replace(issued=(*cell.issued, value)))
        s = s._replace(late=tuple(x for x in s.late if x is not z))
        return s._replace(logs=rows) if z[0] >= 0 else s._replace(journal=rows)

    def power(self, s, pick=None):
        s = self.dead(s, "power")._replace(late=())
        ghosts = sorted(s.ghosts)
        s = s._replace(chunks=((),) * self.z.topics, ghosts=frozenset())
        slots = (None,) if s.slot is None or self.holds("staging_boot") else (None, *s.cursors)
        for out in self.spread(s._replace(slot=None), after_power_cells, pick):
            if self.holds("staging_boot"):
                yield out
                continue
            subsets = itertools.product((0, 1), repeat=len(ghosts))
            for mask in ([tuple(pick.randint(0, 1) for _ in ghosts)] if pick else subsets):
                left = tuple(g for g, m in zip(ghosts, mask, strict=True) if m)
                rows = tuple((Chunk(tuple(g for g in left if g.topic == t), None),) for t in range(self.z.topics))
                for slot in ([pick.choice(slots)] if pick else slots):
                    yield out._replace(chunks=rows, slot=slot, ghosts=frozenset(left))

    # -- opening

    def open_begin(self, s):
        if self.holds("open_flushes"):
            s = self.flush_logs(s)
            s = s._replace(journal=tuple(tuple(map(flushed, row)) for row in s.journal))
        epoch, topics, runs, cursor, chunks, used, current, at = self.recover(s)
        self.judge(s, topics, runs, cursor)
        s = s._replace(phase="opening", epoch=epoch, number=0, topics=topics, cursor=cursor,
                       chunks=chunks, used=used, current=current, journal_at=at, slot=None)
        if not self.holds("journal_adopted"):
            s = s._replace(journal=tuple((Cell(None),) * self.z.records for _ in s.journal), journal_at=(0, 0))
        snap = Snap(epoch, (epoch, 0), tuple((t.low, t.epochs) for t in topics), cursor, self.listing(s))
        s = s._replace(snap=s.snap._replace(issued=(*s.snap.issued, snap)))
        return s

    def open_end(self, s):
        if self.holds("epoch_durable"):
            s = s._replace(snap=flushed(s.snap))
        told = tuple(Told(tuple(o.entries[:t.end]), frozenset(b for b in o.borders if b <= t.end), t.durable,
                          t.low, o.given) for o, t in zip(s.told, s.topics, strict=True))
        ghosts = frozenset(fr for row in s.chunks for ch in row for fr in ch.frames) if "staging_boot" in self.broken \
            else s.ghosts
        return s._replace(phase="live", slot=((s.epoch, 0), s.cursor), cut=None, told=told, fate="none",
                          cursors=(((s.epoch, 0), s.cursor),), ghosts=ghosts | s.ghosts)

    def close(self, s):
        """A clean close: all frames into extents, a flush, a snapshot."""
        if s.sync or s.cut or s.snap_under_way or any(c.flying is not None for row in s.logs for c in row):
            return None
        while any(ch.place is None for row in s.chunks for ch in row):
            t = next(t for t, row in enumerate(s.chunks) if any(ch.place is None for ch in row))
            out = self.write(s, t)
            if out is None:
                return None
            s = self.complete(out, out.current, out.used[out.current] - 1)
        s = self.flush_logs(s)
        s = self.snap_begin(s) or s
        s = self.snap_end(s) if s.snap_under_way else s
        told = tuple(o._replace(durable=len(o.entries)) for o in s.told)
        return self.dead(s, "kill")._replace(told=told, crashes=s.crashes)

    # -- all that can happen next

    def actions(self, s):
        """(label, what gives the state after it, or None where it cannot happen now)"""
        z = self.z
        out = []
        if s.phase == "down":
            out.append(("open: read, write the snapshot", lambda: self.open_begin(s)))
        elif s.phase == "opening":
            out.append(("open: snapshot flushed", lambda: self.open_end(s)))
        else:
            for t in range(z.topics):
                out.append((f"append {t}", lambda t=t: self.append(s, t, 1)))
                out.append((f"batch {t}", lambda t=t: self.append(s, t, 2)))
                out.append((f"write {t}", lambda t=t: self.write(s, t)))
                out.append((f"trim {t}", lambda t=t: self.trim(s, t)))
                out.append((f"cut {t}", lambda t=t: self.cut(s, t)))
            for f, row in enumerate(s.logs):
                for p, c in enumerate(row):
                    if c.flying is not None:
                        out.append((f"complete {f}.{p}", lambda f=f, p=p: self.complete(s, f, p)))
                    elif seen(c) is not None:
                        out.append((f"punch {f}.{p}", lambda f=f, p=p: self.punch(s, f, p)))
            out.append(("sync: write", lambda: self.sync_begin(s)))
            out.append(("sync: flush, publish", lambda: self.sync_end(s)))
            out.append(("snap: write", lambda: self.snap_begin(s)))
            out.append(("snap: flush", lambda: self.snap_end(s)))
            out.append(("commit 0 at its end", lambda: self.commit(s, s.topics[0].end)))
            out.append(("seek 0 back", lambda: self.commit(s, s.topics[0].low)))
            out.append(("close", lambda: self.close(s)))
            out = [(label, act) for label, act in out if label.split()[0].rstrip(":") in z.ops]
        for x in s.late:
            out.append((f"a late write lands at {x[:2]}", lambda x=x: self.land_late(s, x)))
        return out

    def crash(self, s, pick=None):
        if s.phase != "down" and s.crashes < self.z.crashes:
            if "kill" in self.z.ops:
                for new in self.kill(s, pick):
                    yield "SIGKILL", new
            if "power" in self.z.ops:
                for new in self.power(s, pick):
                    yield "POWER CUT", new


def after_power_cells(cell):
    return [Cell(v) for v in after_power(cell)]


def renew(epochs, epoch, start):
    """The list with (epoch, start) entered, which voids what it said of offsets from there on."""
    return (*tuple(x for x in epochs if x[1] < start and x[0] < epoch), (epoch, start))
