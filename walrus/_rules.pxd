"""The ordering rules by number, and in the debug build a switch that breaks one of them, to see that a test notices.

Layer: declarations. WALRUS_BREAK_RULE=name is read once, in the debug build only; in a release build rule_broken() is the
constant 0 and the compiler drops what stands behind it.
"""

cdef extern from *:
    """
    #ifndef WALRUS_DEBUG
    #define WALRUS_DEBUG 0
    #endif
    #ifndef WALRUS_RULES_ONCE
    #define WALRUS_RULES_ONCE
    #define WALRUS_RULES(R) \\
        R(EPOCH_NEW, "epoch_new") R(EPOCH_DURABLE, "epoch_durable") R(EPOCH_LIST, "epoch_list") \\
        R(ONE_COUNTER, "one_counter") R(ONE_FRAME, "one_frame") R(CHUNK_COMPLETE, "chunk_complete") \\
        R(CHUNK_PREFIX, "chunk_prefix") R(SYNC_WAITS, "sync_waits") R(SYNC_JOURNAL, "sync_journal") \\
        R(SYNC_LOGS, "sync_logs") R(SYNC_PUBLISH, "sync_publish") R(JOURNAL_EXTENTS, "journal_extents") \\
        R(JOURNAL_FLUSHED, "journal_flushed") R(JOURNAL_PREFIX, "journal_prefix") R(JOURNAL_CATALOG, "journal_catalog") \\
        R(JOURNAL_ADOPTED, "journal_adopted") R(LOW_CURSOR, "low_cursor") R(RECYCLE_LOW, "recycle_low") \\
        R(RECYCLE_HEAD, "recycle_head") R(PUNCH_LISTED, "punch_listed") R(SNAP_ATOMIC, "snap_atomic") \\
        R(SNAP_FLUSHED, "snap_flushed") R(SNAP_KEEPS, "snap_keeps") R(SNAP_QUIET, "snap_quiet") \\
        R(SLOT_PAIR, "slot_pair") R(CUT_EPOCH, "cut_epoch") R(CUT_DURABLE, "cut_durable") \\
        R(CLAIM_CAPPED, "claim_capped") R(OPEN_WAITS, "open_waits") R(OPEN_FLUSHES, "open_flushes") \\
        R(OPEN_PREFIX, "open_prefix") R(OPEN_CLAMPS, "open_clamps")
    #define WALRUS_RULE_ENUM(id, name) RULE_##id,
    enum walrus_rule { WALRUS_RULES(WALRUS_RULE_ENUM) RULE_COUNT };
    #if WALRUS_DEBUG
    #include <stdlib.h>
    #include <string.h>
    #define WALRUS_RULE_NAME(id, name) name,
    static inline int walrus_rule_broken(int rule) {
        static const char *const names[] = { WALRUS_RULES(WALRUS_RULE_NAME) };
        static int broken = -2;
        if (broken == -2) {
            const char *asked = getenv("WALRUS_BREAK_RULE");
            int found = -1;
            for (int i = 0; asked && i < RULE_COUNT; i++) if (!strcmp(asked, names[i])) found = i;
            broken = found;
        }
        return broken == rule;
    }
    #else
    #define walrus_rule_broken(rule) 0
    #endif
    #endif
    """
    const int RULE_EPOCH_NEW, RULE_EPOCH_DURABLE, RULE_EPOCH_LIST, RULE_ONE_COUNTER, RULE_ONE_FRAME
    const int RULE_CHUNK_COMPLETE, RULE_CHUNK_PREFIX, RULE_SYNC_WAITS, RULE_SYNC_JOURNAL, RULE_SYNC_LOGS
    const int RULE_SYNC_PUBLISH, RULE_JOURNAL_EXTENTS, RULE_JOURNAL_FLUSHED, RULE_JOURNAL_PREFIX
    const int RULE_JOURNAL_CATALOG, RULE_JOURNAL_ADOPTED, RULE_LOW_CURSOR, RULE_RECYCLE_LOW, RULE_RECYCLE_HEAD
    const int RULE_PUNCH_LISTED, RULE_SNAP_ATOMIC, RULE_SNAP_FLUSHED, RULE_SNAP_KEEPS, RULE_SNAP_QUIET
    const int RULE_SLOT_PAIR, RULE_CUT_EPOCH, RULE_CUT_DURABLE, RULE_CLAIM_CAPPED, RULE_OPEN_WAITS
    const int RULE_OPEN_FLUSHES, RULE_OPEN_PREFIX, RULE_OPEN_CLAMPS
    bint rule_broken "walrus_rule_broken"(int rule) noexcept nogil
