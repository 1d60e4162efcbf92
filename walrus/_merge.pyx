"""Merge: of all frames that were found, each topic's longest run without a hole.

Rules kept here: open_prefix (from the low watermark; of frames at the same offset the newest epoch's), epoch_list (a
group ends where a newer epoch of its topic begins), claim_capped (what a frame says was durable counts only up to
there). Of equal ones extents are taken before staging, staging before the journal: the frames in a chunk become
extents, and the journal is free.

Below the highest claim nothing may be missing: a hole there is a damaged range of the topic, the run goes on behind
it, and the topic takes no appends. Above it the first hole is the end.

Threads: opening alone. No GIL.
"""
from walrus._adopt cimport adopt_frames, adopt_queue, run_payload
from walrus._append cimport topic_mark_dirty
from walrus._device cimport device_read
from walrus._extent cimport BLOCK_BYTES, GROUP_KIND_PIECE
from walrus._findings cimport SOURCE_STAGING, Found
from walrus._libc cimport (ENOMEM, WALRUS_DEBUG, free, int64_t, malloc, posix_memalign, uint8_t, uint32_t, uint64_t,
                           walrus_add64, walrus_store64)
from walrus._log_state cimport Log
from walrus._logfiles cimport LOGFILE_JOURNAL
from walrus._restore cimport range_add
from walrus._rules cimport RULE_CLAIM_CAPPED, RULE_OPEN_PREFIX, rule_broken
from walrus._staging cimport Chunk
from walrus._topics cimport Topic, place_insert, topic_epoch_limit
from libc.stdlib cimport qsort


ctypedef struct Run:                # a walk along one topic's offsets
    Topic *topic
    Found *found                    # the topic's, sorted
    uint64_t count
    uint64_t *active                # indices of those that began at or before `at`
    uint64_t active_count
    uint64_t next                   # first index that did not
    uint64_t at
    uint32_t epoch
    bint disk_only                  # what staging alone has does not count
    bint mark                       # what is chosen is marked


# ---------------------------------------------------------------------------------------------------------- order

cdef inline int compare(uint64_t left, uint64_t right) noexcept nogil:
    return -1 if left < right else (1 if left > right else 0)


cdef int by_place(const void *a, const void *b) noexcept nogil:
    """Topic, offset, pieces by stamp and number; of equal ones the better source first."""
    cdef const Found *left = <const Found *>a
    cdef const Found *right = <const Found *>b
    cdef int order = compare(left.group.topic_id, right.group.topic_id)
    if order == 0:
        order = compare(left.group.first, right.group.first)
    if order == 0:
        order = compare(left.group.stamp, right.group.stamp)
    if order == 0:
        order = compare(left.group.piece, right.group.piece)
    if order == 0:
        order = compare(right.source, left.source)
    return order


cdef uint64_t first_of(const Findings *findings, uint64_t topic_id) noexcept nogil:
    """Index of the topic's first finding, or where it would be."""
    cdef uint64_t low = 0, high = findings.count, middle
    while low < high:
        middle = (low + high) // 2
        if findings.found[middle].group.topic_id < topic_id:
            low = middle + 1
        else:
            high = middle
    return low


# ----------------------------------------------------------------------------------------------------- what counts

cdef void ends_set(Topic *topic, Found *found, uint64_t count) noexcept nogil:
    """found.end: cut by the epoch list; 0 for what does not count at all."""
    cdef uint64_t i, end, limit
    for i in range(count):
        found[i].chosen = False
        end = found[i].group.first + found[i].group.count
        limit = topic_epoch_limit(topic, found[i].group.epoch)
        if limit < end:
            end = limit if found[i].group.kind != GROUP_KIND_PIECE else <uint64_t>0
        if end <= found[i].group.first or end <= topic.low:
            end = 0
        found[i].end = end


cdef uint64_t claim_of(Topic *topic, const Found *found, uint64_t count) noexcept nogil:
    """The highest offset below which everything was promised."""
    cdef uint64_t i, claim, limit, highest = topic.durable
    for i in range(count):
        claim = found[i].claim
        limit = topic_epoch_limit(topic, found[i].group.epoch)
        if limit < claim and not (WALRUS_DEBUG and rule_broken(RULE_CLAIM_CAPPED)):
            claim = limit
        if claim > highest:
            highest = claim
    return highest


cdef bint pieces_complete(const Run *run, uint64_t last) noexcept nogil:
    """Index `last` is a last piece: are those before it there, from the sources that count?"""
    cdef const Found *piece = run.found + last
    cdef uint64_t i = last
    cdef uint32_t wanted = piece.group.piece
    while wanted:
        if i == 0:
            return False
        i -= 1
        if run.found[i].group.stamp != piece.group.stamp or run.found[i].group.first != piece.group.first:
            return False
        if run.found[i].end == 0 or run.found[i].source == SOURCE_STAGING and run.disk_only:
            continue
        if run.found[i].group.piece + 1 < wanted:
            return False
        if run.found[i].group.piece + 1 == wanted:
            wanted -= 1
    return True


cdef void pieces_mark(Run *run, uint64_t last) noexcept nogil:
    """All pieces of the frame, each from its best source."""
    cdef uint64_t i = last
    cdef uint64_t best = last
    while i > 0 and run.found[i - 1].group.stamp == run.found[last].group.stamp \
            and run.found[i - 1].group.first == run.found[last].group.first:
        i -= 1
        if run.found[i].end == 0:
            continue
        if run.found[i].group.piece != run.found[best].group.piece:
            run.found[best].chosen = True
        best = i                                    # of one number the first in the order is the best
    run.found[best].chosen = True


cdef inline bint counts(const Run *run, uint64_t i) noexcept nogil:
    cdef const Found *found = run.found + i
    if found.end == 0 or (found.source == SOURCE_STAGING and run.disk_only):
        return False
    if found.group.kind == GROUP_KIND_PIECE:
        return found.group.pieces != 0 and pieces_complete(run, i)
    return True


# ------------------------------------------------------------------------------------------------------------ the run

cdef inline bint better(const Found *a, const Found *b) noexcept nogil:
    if a.group.epoch != b.group.epoch:
        return a.group.epoch > b.group.epoch
    if a.source != b.source:
        return a.source > b.source
    return a.end > b.end


cdef bint run_step(Run *run) noexcept nogil:
    """On by the best group that holds offset `at`. False: there is none."""
    cdef uint64_t i, kept = 0
    cdef Found *best = NULL
    cdef Found *found
    while run.next < run.count and run.found[run.next].group.first <= run.at:
        if counts(run, run.next):
            run.active[run.active_count] = run.next
            run.active_count += 1
        run.next += 1
    for i in range(run.active_count):
        found = run.found + run.active[i]
        if found.end <= run.at:
            continue
        run.active[kept] = run.active[i]
        kept += 1
        if found.group.epoch >= run.epoch and (best == NULL or better(found, best)):
            best = found
    run.active_count = kept
    if best == NULL:
        return False
    if run.mark and best.group.kind == GROUP_KIND_PIECE:
        pieces_mark(run, <uint64_t>(best - run.found))
    elif run.mark:
        best.chosen = True
    run.at = best.end
    run.epoch = best.group.epoch
    return True


cdef uint64_t run_next(const Run *run) noexcept nogil:
    """Where the next group behind the hole at `at` begins; 2^64 - 1: nowhere."""
    cdef uint64_t i = run.next
    while i < run.count:
        if run.found[i].group.epoch >= run.epoch and counts(run, i):
            return run.found[i].group.first
        i += 1
    return <uint64_t>-1


cdef uint64_t known_range_end(const Topic *topic, uint64_t at) noexcept nogil:
    cdef uint32_t i
    for i in range(topic.range_count):
        if topic.ranges[i].first <= at < topic.ranges[i].end:
            return topic.ranges[i].end
    return at


cdef void run_begin(Run *run, Topic *topic, Found *found, uint64_t count, uint64_t *active, bint disk_only,
                    bint mark) noexcept nogil:
    run.topic = topic
    run.found = found
    run.count = count
    run.active = active
    run.active_count = 0
    run.next = 0
    run.at = topic.low
    run.epoch = 0
    run.disk_only = disk_only
    run.mark = mark


cdef int run_go(Findings *findings, Run *run, uint64_t claim, bint accept) noexcept nogil:
    """Sets run.at to the end. 1: it lies below the claim, and that is not accepted yet; -ENOMEM."""
    cdef uint64_t behind, next_first
    while True:
        while run_step(run):
            pass
        next_first = run_next(run)
        behind = known_range_end(run.topic, run.at)
        if behind == run.at:
            if WALRUS_DEBUG and rule_broken(RULE_OPEN_PREFIX) and next_first != <uint64_t>-1:
                run.at = next_first
                continue
            if run.at >= claim:
                return 0
            if not accept:
                return 1
            behind = claim if claim < next_first else next_first
            if range_add(run.topic, run.at, behind) < 0:
                return -ENOMEM
            run.topic.refuses = True
            findings.log.recovery.ranges_damaged += 1
        run.at = behind if behind < next_first else next_first


# ---------------------------------------------------------------------------------------------------------- deciding

cdef int topic_decide(Findings *findings, Topic *topic, Found *found, uint64_t count, uint64_t *active,
                      bint accept) noexcept nogil:
    cdef Run run
    cdef uint64_t claim
    cdef int result
    ends_set(topic, found, count)
    claim = claim_of(topic, found, count)
    run_begin(&run, topic, found, count, active, False, True)
    result = run_go(findings, &run, claim, accept)
    if result == 0:
        walrus_store64(&topic.end, run.at)
    return result


cdef int merge_decide(Findings *findings, bint accept) noexcept nogil:
    cdef Log *log = findings.log
    cdef uint64_t i, first, last
    cdef uint64_t *active = <uint64_t *>malloc((findings.count + 1) * sizeof(uint64_t))
    cdef Topic *topic
    cdef int result = 0, code
    if active == NULL:
        return -ENOMEM
    qsort(findings.found, findings.count, sizeof(Found), by_place)
    for i in range(log.topics.count):
        topic = log.topics.by_number[i]
        first = first_of(findings, topic.id)
        last = first
        while last < findings.count and findings.found[last].group.topic_id == topic.id:
            last += 1
        code = topic_decide(findings, topic, findings.found + first, last - first, active, accept)
        if code < 0:
            result = code
            break
        topic.suspect = code == 1
        result = result or code
    free(active)
    return result


# ---------------------------------------------------------------------------------------------------------- entering

cdef int payload_read(Log *log, const Found *found, uint64_t first, uint64_t *payload) noexcept nogil:
    """Payload bytes of a group of which only a part counts: its frames are looked at."""
    cdef uint64_t begin = found.group.position & ~<uint64_t>(BLOCK_BYTES - 1)
    cdef uint64_t lead = found.group.position - begin, position
    cdef uint64_t bytes = (lead + found.group.bytes + BLOCK_BYTES - 1) & ~<uint64_t>(BLOCK_BYTES - 1)
    cdef void *memory = NULL
    cdef int64_t got
    if posix_memalign(&memory, BLOCK_BYTES, bytes):
        return -ENOMEM
    got = device_read(&log.device, &found.file.file, memory, bytes, begin)
    if got >= <int64_t>(lead + found.group.bytes):  # else the group's own figure stands: reading it will raise
        payload[0] = run_payload(<const uint8_t *>memory + lead, found.group.bytes, first, found.end, &position)
    free(memory)
    return 0


cdef int place_enter(Log *log, Topic *topic, Found *found, uint64_t from_offset) noexcept nogil:
    cdef uint64_t payload = found.group.payload_bytes
    if found.group.kind != GROUP_KIND_PIECE and (from_offset > found.group.first and from_offset != topic.low
                                                 or found.end < found.group.first + found.group.count):
        if payload_read(log, found, from_offset if from_offset != topic.low else found.group.first, &payload) < 0:
            return -ENOMEM
    found.group.payload_bytes = <uint32_t>payload
    if place_insert(topic, &found.group, found.end, found.file) < 0:
        return -ENOMEM
    topic.payload_bytes += payload
    if found.file.state == LOGFILE_JOURNAL:
        log.journal.has_places[found.file.name] = True
        return 0
    walrus_add64(&found.file.live, 1)
    walrus_add64(&found.file.live_bytes, found.group.bytes)
    return 0


cdef uint64_t journal_least_use(const Log *log) noexcept nogil:
    """The journal may hold frames of any adopted chunk, from its oldest file on."""
    cdef uint64_t least = 0
    cdef uint32_t i
    for i in range(log.journal.count):
        if log.journal.files[i].number and (least == 0 or log.journal.files[i].number < least):
            least = log.journal.files[i].number
    return least


cdef int topic_enter_chosen(Findings *findings, Topic *topic, Found *found, uint64_t count,
                            uint64_t use) noexcept nogil:
    cdef Log *log = findings.log
    cdef Chunk *last = NULL
    cdef uint64_t i, at = topic.low
    for i in range(count):
        if not found[i].chosen:
            if found[i].group.count and found[i].group.first >= topic.end:
                log.recovery.frames_cut += 1
            continue
        if found[i].source == SOURCE_STAGING:
            adopt_frames(log, topic, &found[i], at, &last, use)
        elif place_enter(log, topic, &found[i], at) < 0:
            return -ENOMEM
        at = found[i].end
    adopt_queue(log, topic)
    return 0


cdef int topic_settle(Findings *findings, Topic *topic, Found *found, uint64_t count, uint64_t *active,
                      uint64_t use) noexcept nogil:
    cdef Run run
    cdef int result = topic_enter_chosen(findings, topic, found, count, use)
    if result < 0:
        return result
    # Durable is what the flushed files alone give; known damaged ranges are passed as before.
    run_begin(&run, topic, found, count, active, True, False)
    result = run_go(findings, &run, 0, False)
    walrus_store64(&topic.durable, run.at if run.at < topic.end else topic.end)
    topic.low_durable = topic.low
    if topic.end > topic.durable:
        topic_mark_dirty(findings.log, topic)
    return result


cdef int merge_enter(Findings *findings) noexcept nogil:
    cdef Log *log = findings.log
    cdef uint64_t i, first, last, use = journal_least_use(log)
    cdef uint64_t *active = <uint64_t *>malloc((findings.count + 1) * sizeof(uint64_t))
    cdef Topic *topic
    cdef int result = 0
    if active == NULL:
        return -ENOMEM
    for i in range(log.topics.count):
        topic = log.topics.by_number[i]
        first = first_of(findings, topic.id)
        last = first
        while last < findings.count and findings.found[last].group.topic_id == topic.id:
            last += 1
        result = topic_settle(findings, topic, findings.found + first, last - first, active, use)
        if result < 0:
            break
    free(active)
    return result
