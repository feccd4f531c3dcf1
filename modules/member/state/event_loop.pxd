# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""The state of modules/member/event_loop: the clock, and how far the current pass is."""

from libc.stdint cimport int64_t

cdef enum:
    TICK_MS = 50                # period of the tick, which handles timeouts and reconnects
    RARE_TICKS = 16             # a power of two: of so many ticks one looks at what hardly ever changes
    # age of the last tick at which Redis's cron, which also wakes the event loop, runs the missing tick
    LATE_TICK_MS = 150
    DOUBT_MS = 500              # period at which a member without a lease asks a neighbour for its view


cdef struct EventLoop:
    # The clock, and what is due at a time.
    int64_t ticked_ms           # time of the last tick
    bint asleep_soon            # the before-sleep handler of this pass has run
    # a one-shot event is set, so that work that came after the before-sleep handler does not wait for the next event
    bint woken
    int64_t doubt_ms            # when a member without a lease next asks a neighbour
