"""Recovery: what opening reads, what it makes of it, and the one thing it writes.

Rules kept here: epoch_new (a new epoch, above all that was seen), epoch_list (after an unclean stop it is entered,
with the recovered end, into the list of every topic), epoch_durable (the snapshot that holds it is flushed before
anything else is written or used). open_waits is the lock's business; open_flushes, open_prefix and open_clamps are
kept in _reopen_files, _merge and _reopen_control.

A crash anywhere in here leaves a directory that opens the same way again: files are only made or lengthened before
the snapshot, and what the new nonce of a staging file voids held nothing that counts. A log that is being made has
its first snapshot as the last thing written; until then the directory counts as empty.

Threads: opening alone. No GIL.
"""
from walrus._adopt cimport STAGING_NONE, STAGING_OURS, adopt_settle, adopt_slots, staging_look
from walrus._catalog cimport catalog_slots_open, catalog_snapshot
from walrus._device cimport DeviceFile, device_read, file_close, file_open
from walrus._extent cimport BLOCK_BYTES
from walrus._findings cimport Findings, findings_free, refuse
from walrus._journal cimport JOURNAL_FILE_BYTES, JOURNAL_FILES, JOURNAL_FILES_MAX, journal_name, journal_open
from walrus._libc cimport (ENOMEM, WALRUS_DEBUG, free, int64_t, memcmp, memcpy, memset, posix_memalign, uint8_t,
                           uint32_t,
                           uint64_t, walrus_monotonic_ns)
from walrus._log_state cimport LOG_CORRUPT, LOG_NO_MEMORY, LOG_TOO_NEW
from walrus._merge cimport merge_decide, merge_enter
from walrus._reopen_control cimport reopen_control, reopen_cursors, reopen_sharing
from walrus._reopen_files cimport reopen_beyond, reopen_journal, reopen_log_files, reopen_ring, reopen_states
from walrus._restore cimport restore_changes, restore_snapshot
from walrus._rules cimport RULE_EPOCH_DURABLE, RULE_EPOCH_NEW, rule_broken
from walrus._salvage cimport salvage
from walrus._scan cimport Window, window_free
from walrus._snapshot_format cimport SNAPSHOT_CLEAN_CLOSE, SnapshotFile, SnapshotHead, snapshot_check
from walrus._staging cimport REGION_BYTES, staging_open
from walrus._survey cimport Survey, all_zero, boot_id_read, random_bytes, survey_directory, survey_free
from walrus._topics cimport Topic, topic_renew

cdef enum:
    STAMP_EPOCH_BITS = 40           # stamps of an open begin at a multiple of 2^40 above all that were seen


ctypedef struct Slots:              # both snapshots, as read
    uint8_t *memory[2]
    int valid[2]
    bint blank[2]


# -------------------------------------------------------------------------------------------------------- snapshots

cdef int slot_read(Log *log, DeviceFile *file, Slots *slots, int i) noexcept nogil:
    """All that the slot's own size allows; what its head says of bytes is checked against that."""
    cdef uint64_t bytes = (file.size + BLOCK_BYTES - 1) & ~<uint64_t>(BLOCK_BYTES - 1)
    cdef int64_t got
    slots.blank[i] = True
    slots.valid[i] = 0
    if bytes == 0:
        return 0
    if posix_memalign(<void **>&slots.memory[i], BLOCK_BYTES, bytes):
        return -ENOMEM
    got = device_read(&log.device, file, slots.memory[i], bytes, 0)
    if got < 0:
        return <int>got
    slots.blank[i] = all_zero(slots.memory[i], <uint64_t>got)
    if not slots.blank[i]:
        slots.valid[i] = snapshot_check(slots.memory[i], <uint64_t>got)
    if slots.valid[i] < 0:
        return refuse(log, LOG_TOO_NEW, b"a catalog", file.name,
                      <int>(<const SnapshotHead *>slots.memory[i]).version)
    return 0


cdef inline bint newer(const SnapshotHead *a, const SnapshotHead *b) noexcept nogil:
    return a.epoch > b.epoch or (a.epoch == b.epoch and a.stamp > b.stamp)


cdef int slots_read(Log *log, const Survey *survey, Slots *slots, int *chosen) noexcept nogil:
    """*chosen: the newest valid one, or -1."""
    cdef int i, result = 0
    chosen[0] = -1
    slots.blank[0] = True
    slots.blank[1] = True
    if survey.slots == 0:
        return 0
    result = catalog_slots_open(&log.catalog, &log.device, True)
    for i in range(2):
        if result >= 0:
            result = slot_read(log, &log.catalog.slot[i], slots, i)
        if result >= 0 and slots.valid[i] == 1 and (chosen[0] < 0 or newer(
                <const SnapshotHead *>slots.memory[i], <const SnapshotHead *>slots.memory[chosen[0]])):
            chosen[0] = i
    return result if result < 0 else 0


# ----------------------------------------------------------------------------------------------------------- a new log

cdef int journal_blank(Log *log, const Survey *survey, bint *blank) noexcept nogil:
    """No record was ever written: the first block of every journal file is zeros."""
    cdef DeviceFile file
    cdef char name[64]
    cdef void *block = NULL
    cdef int64_t got
    cdef uint32_t i
    cdef int result = 0
    blank[0] = True
    if posix_memalign(&block, BLOCK_BYTES, BLOCK_BYTES):
        return -ENOMEM
    for i in range(JOURNAL_FILES_MAX):
        if not survey.journals & (<uint32_t>1 << i):
            continue
        journal_name(name, i)
        result = file_open(&log.device, &file, name, 0)
        if result < 0:
            break
        got = device_read(&log.device, &file, block, BLOCK_BYTES, 0)
        file_close(&log.device, &file)
        if got < 0:
            result = <int>got
            break
        blank[0] = blank[0] and all_zero(<const uint8_t *>block, <uint64_t>got)
    free(block)
    return result if result < 0 else 0


cdef int looks_new(Log *log, const Survey *survey, const Slots *slots, bint *new) noexcept nogil:
    """Nothing was ever written but what the making of a log writes before its first snapshot is whole."""
    cdef bint blank = False, same_boot
    cdef uint64_t area
    cdef int staging
    cdef uint32_t wanted = (<uint32_t>1 << JOURNAL_FILES) - 1
    new[0] = False
    if survey.count:
        return 0
    if not (slots.blank[0] and slots.blank[1]) and (survey.journals & wanted) != wanted:
        return 0
    staging = staging_look(log, log.catalog.staging_nonce, &same_boot, &area)
    if staging < 0 or staging != STAGING_NONE:
        return staging if staging < 0 else 0
    if journal_blank(log, survey, &blank) < 0:
        return -ENOMEM
    new[0] = blank
    return 0


cdef uint64_t area_wanted(const Log *log) noexcept nogil:
    cdef uint64_t area = log.options.staging_bytes & ~<uint64_t>(REGION_BYTES - 1)
    return area if area else <uint64_t>REGION_BYTES


cdef int staging_fresh(Log *log) noexcept nogil:
    """The nonce is in a flushed snapshot by now."""
    cdef uint8_t names[32]
    memcpy(names, log.catalog.log_id, 16)
    memcpy(names + 16, log.catalog.staging_nonce, 16)
    return staging_open(&log.staging, &log.device, area_wanted(log), names, log.catalog.boot_id, log.catalog.epoch,
                        True)


cdef int snapshot_flush(Log *log) noexcept nogil:
    if WALRUS_DEBUG and rule_broken(RULE_EPOCH_DURABLE) and not log.recovery.created:
        return 0
    return catalog_snapshot(&log.catalog, &log.device, &log.topics, &log.files, &log.journal, 0)


cdef int make_log(Log *log, Findings *findings) noexcept nogil:
    cdef SnapshotHead nothing
    cdef uint64_t journal_bytes = log.options.journal_file_bytes & ~<uint64_t>(BLOCK_BYTES - 1)
    cdef int result = random_bytes(log.catalog.log_id, 16)
    if result == 0:
        result = random_bytes(log.catalog.staging_nonce, 16)
    if result < 0:
        return result
    memset(&nothing, 0, sizeof(nothing))
    log.recovery.created = 1
    log.catalog.epoch = 1
    log.catalog.stamp = <uint64_t>1 << STAMP_EPOCH_BITS
    log.catalog.newest = 1
    result = journal_open(&log.journal, &log.device, JOURNAL_FILES, journal_bytes if journal_bytes else
                          <uint64_t>JOURNAL_FILE_BYTES, True)
    if result >= 0:
        reopen_ring(findings, &nothing)
        log.journal.sequence = 1
        result = catalog_slots_open(&log.catalog, &log.device, True)
    if result >= 0:
        result = snapshot_flush(log)
    if result >= 0:
        result = staging_fresh(log)
    if result >= 0:
        result = reopen_control(findings, &nothing)
    if result >= 0:
        result = reopen_sharing(findings)
    return result if result < 0 else 0


# --------------------------------------------------------------------------------------------------- a log that was

cdef void begin_with(Log *log, Findings *findings, const Slots *slots, int chosen) noexcept nogil:
    cdef const SnapshotHead *head = <const SnapshotHead *>slots.memory[chosen]
    memcpy(log.catalog.log_id, head.log_id, 16)
    memcpy(log.catalog.staging_nonce, head.staging_nonce, 16)
    log.catalog.newest = <uint32_t>chosen
    log.catalog.flushed_stamp = head.stamp
    log.catalog.next_topic = head.next_topic
    log.catalog.next_cursor = head.next_cursor
    log.files.next_counter = head.next_file
    findings.snapshot_epoch = head.epoch
    findings.snapshot_stamp = head.stamp
    findings.epoch_seen = head.epoch
    findings.stamp_seen = head.stamp
    # Where the other slot holds what is neither valid nor blank, a later open may have been writing it.
    log.recovery.older_catalog = slots.valid[1 - chosen] == 0 and not slots.blank[1 - chosen]
    findings.unclean = not head.flags & SNAPSHOT_CLEAN_CLOSE or log.recovery.older_catalog


cdef int staging_reopen(Findings *findings, const SnapshotHead *head, int *found) noexcept nogil:
    """Adopts what is in it, if it is the one that the snapshot speaks of."""
    cdef Log *log = findings.log
    cdef bint same_boot = False
    cdef uint64_t area = 0
    cdef int result
    found[0] = staging_look(log, head.staging_nonce, &same_boot, &area)
    if found[0] < 0:
        return found[0]
    if found[0] == STAGING_OURS and not findings.unclean and area != area_wanted(log):
        found[0] = STAGING_NONE                     # after a clean close nothing is in it: a new size counts now
    if found[0] != STAGING_OURS:
        log.recovery.staging_lost = findings.unclean and memcmp(head.boot_id, log.catalog.boot_id, 16) == 0
        return 0
    findings.same_boot = same_boot and findings.unclean
    result = staging_open(&log.staging, &log.device, area, log.catalog.log_id, log.catalog.boot_id, log.catalog.epoch,
                          False)
    return adopt_slots(findings) if result >= 0 else result


cdef int merge(Findings *findings, Window *window) noexcept nogil:
    cdef Log *log = findings.log
    cdef Topic *topic
    cdef uint64_t i
    cdef int result = salvage(findings, window)     # in gaps that are known to be damage
    if result == 0:
        result = merge_decide(findings, False)
    if result == 1:                                 # something promised is missing: look behind the gaps, then accept
        result = reopen_beyond(findings, window)
        if result >= 0:
            result = restore_changes(findings)
        if result >= 0:
            result = merge_decide(findings, False)
        if result == 1:
            result = salvage(findings, window)
        if result >= 0:
            result = merge_decide(findings, True)
    for i in range(log.topics.count):
        topic = log.topics.by_number[i]
        findings.unclean = findings.unclean or topic.end > topic.durable
    return merge_enter(findings) if result >= 0 else result


cdef int epoch_take(Findings *findings) noexcept nogil:
    """epoch_new, epoch_list; after a clean close nothing lies beyond any end, and no list needs an entry."""
    cdef Log *log = findings.log
    cdef uint64_t i
    log.recovery.unclean = findings.unclean
    log.catalog.stamp = ((findings.stamp_seen >> STAMP_EPOCH_BITS) + 1) << STAMP_EPOCH_BITS
    log.catalog.epoch = findings.epoch_seen
    if WALRUS_DEBUG and rule_broken(RULE_EPOCH_NEW):
        return 0
    log.catalog.epoch += 1
    if findings.unclean:
        for i in range(log.topics.count):
            if topic_renew(log.topics.by_number[i], log.catalog.epoch, log.topics.by_number[i].end) < 0:
                return LOG_NO_MEMORY
    return 0


cdef int read_all(Findings *findings, Window *window, const Survey *survey, const SnapshotHead *head,
                  int *staging) noexcept nogil:
    """Journal first: where watermarks stand tells which extents need not be read."""
    cdef const SnapshotFile *rows = NULL
    cdef int result = restore_snapshot(findings, <const uint8_t *>head, &rows)
    if result == 0:
        result = reopen_journal(findings, window, survey, head)
    if result == 0:
        findings.unclean = findings.unclean or findings.changes_bytes != 0
        result = restore_changes(findings)
    if result == 0:
        result = staging_reopen(findings, head, staging)
    if result >= 0:
        result = reopen_control(findings, head)
    if result == 0:
        result = reopen_log_files(findings, window, survey, rows, head.files if rows != NULL else <uint32_t>0)
    return result


cdef int reopen(Log *log, Findings *findings, Window *window, const Survey *survey,
                const SnapshotHead *head) noexcept nogil:
    cdef int staging = STAGING_NONE
    cdef int result = read_all(findings, window, survey, head, &staging)
    if result >= 0:
        result = merge(findings, window)
    if result >= 0:
        result = reopen_states(findings)
    if result >= 0:
        reopen_ring(findings, head)
        result = epoch_take(findings)
    if result >= 0:
        result = reopen_cursors(findings)
    if result >= 0 and staging != STAGING_OURS:
        result = random_bytes(log.catalog.staging_nonce, 16)
    if result >= 0:
        result = snapshot_flush(log)
    if result >= 0:
        result = staging_fresh(log) if staging != STAGING_OURS else 0
    if result >= 0:
        adopt_settle(log)
        result = reopen_sharing(findings)
    return result if result < 0 else 0


# ------------------------------------------------------------------------------------------------------------- recover

cdef int recover_with(Log *log, Findings *findings, Window *window, Survey *survey, Slots *slots) noexcept nogil:
    cdef int chosen = -1
    cdef bint new = False
    cdef int result = survey_directory(log, survey)
    if result == 0:
        boot_id_read(log.catalog.boot_id)
        if all_zero(log.catalog.boot_id, 16):       # not told: a boot of its own, so nothing is promised over it
            result = random_bytes(log.catalog.boot_id, 16)
    if result == 0:
        result = slots_read(log, survey, slots, &chosen)
    if result < 0:
        return result
    if chosen >= 0:
        begin_with(log, findings, slots, chosen)
        return reopen(log, findings, window, survey, <const SnapshotHead *>slots.memory[chosen])
    result = looks_new(log, survey, slots, &new)
    if result < 0:
        return result
    if not new:
        return refuse(log, LOG_CORRUPT, b"no snapshot validates", b"catalog.0 and catalog.1", 0)
    return make_log(log, findings)


cdef int recover(Log *log) noexcept nogil:
    cdef uint64_t began = walrus_monotonic_ns()
    cdef Findings findings
    cdef Window window
    cdef Survey survey
    cdef Slots slots
    cdef int result
    memset(&findings, 0, sizeof(findings))
    memset(&window, 0, sizeof(window))
    memset(&survey, 0, sizeof(survey))
    memset(&slots, 0, sizeof(slots))
    findings.log = log
    result = recover_with(log, &findings, &window, &survey, &slots)
    findings_free(&findings)
    window_free(&window)
    survey_free(&survey)
    free(slots.memory[0])
    free(slots.memory[1])
    log.recovery.duration_ns = walrus_monotonic_ns() - began
    return LOG_NO_MEMORY if result == -ENOMEM else result
