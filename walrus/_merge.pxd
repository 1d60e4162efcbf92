"""Merge: of all frames that were found, each topic's longest run without a hole.

Layer: the log. Opening alone; one thread.
"""
from walrus._findings cimport Findings

# Decides the end of every topic. With `accept` False: 1 if some topic ends below what had been promised (nothing is
# entered then: look for more, then accept), else 0. With `accept` True: such holes become damaged ranges. Negative:
# -ENOMEM.
cdef int merge_decide(Findings *findings, bint accept) noexcept nogil
# Enters what was decided: places, adopted chunks, ends, durable offsets. 0 or a negative code.
cdef int merge_enter(Findings *findings) noexcept nogil
