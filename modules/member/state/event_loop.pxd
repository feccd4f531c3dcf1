# cython: language_level=3
"""The room of events: how far this pass of the event loop is."""

from libc.stdint cimport int64_t

cdef enum:
    TICK_MS = 50                # pace of timeouts and reconnecting
    LATE_TICK_MS = 150          # without one for so long, Redis's own cron, which wakes the loop too, makes up for it
    DOUBT_MS = 500              # and of asking a neighbour, for a member without a lease


cdef struct EventLoop:
    # The clock, and what is due by the clock.
    int64_t ticked_ms           # the last tick
    bint asleep_soon            # the before-sleep event of this pass is over
    bint woken                  # a one-shot is scheduled to make up for that
    int64_t doubt_ms            # when a member without a lease speaks to a neighbour next
