from typing_extensions import disjoint_base

MAX_BATCH_ENTRIES: int
MAX_BATCH_BYTES: int
MAX_ENTRY_BYTES: int

@disjoint_base
class Gathered: ...
