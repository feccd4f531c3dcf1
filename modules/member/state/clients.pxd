# cython: language_level=3
"""The room of clients: who waits, and what is counted of them."""

from libc.stdint cimport uint64_t

from modules.member.state.waiter cimport Waiting


cdef struct Clients:
    # What clients have asked for.
    Waiting waiting             # clients that wait, but for writers whose updates are in the log
    bint was_tail               # in this view's chain: subscribers may still be here
    bint subscribers            # somebody may be subscribed to something
    uint64_t writes
    uint64_t reads_served
    uint64_t unknown_outcomes
