"""LMDB, set up as its documentation advises for writing: a writable map, no flush but where durability asks for one."""

MAP_BYTES = 64 << 30  # address space, not memory
# Appends that need not be durable: MDB_WRITEMAP with MDB_NOSYNC (sync=False, map_async); the map outlives a killed
# process. lmdb.h
# says that with WRITEMAP and without sync a power cut may damage the whole database: less than a log promises.
UNSYNCED = {"writemap": True, "map_async": True, "sync": False, "metasync": False}
# Durable appends: a commit flushes data and meta page. WRITEMAP saves the copies of dirty pages.
SYNCED = {"writemap": True, "sync": True, "metasync": True}
COMMON = {"map_size": MAP_BYTES, "subdir": True, "max_dbs": 0, "readahead": True, "lock": True}
INTERVAL_MS = 200
PERSIST_EVERY = 1000
