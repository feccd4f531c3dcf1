# cython: language_level=3
"""Sending once per pass of the event loop, and never later.

Messages are built in the before-sleep event. Redis 7.0 runs the commands of clients that it has just unblocked after
that event: what these leave to be sent would wait until the next wake-up, so a one-shot brings one about. What they
leave to be recorded is recorded at once, since Redis writes the append-only file before it sleeps. (Later servers run
them in the next pass, before its event.)
"""

from modules.bindings.redismodule cimport RedisModule_EventLoopAddOneShot
from modules.member.persistence cimport is_record_due, record
from modules.member.state.member cimport Member


cdef inline void on_woken(void *member) noexcept nogil:
    (<Member *>member).event_loop.woken = False


cdef inline void wake(Member *m) noexcept nogil:
    """At the end of a command."""
    if m.event_loop.asleep_soon:
        if is_record_due(m):
            record(m)
        wake_again(m)


cdef inline void wake_again(Member *m) noexcept nogil:
    """Another pass follows this one at once."""
    if not m.event_loop.woken:
        m.event_loop.woken = True
        RedisModule_EventLoopAddOneShot(on_woken, m)
