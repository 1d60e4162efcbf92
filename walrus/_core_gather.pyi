MAX_BATCH_ENTRIES: int
MAX_BATCH_BYTES: int
MAX_ENTRY_BYTES: int

class Gathered: ...
