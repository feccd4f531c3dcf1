# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""Making the event loop pass once more without a pause, so that what has become due late is sent at once."""

from modules.bindings.redismodule cimport RedisModule_EventLoopAddOneShot
from modules.member.state.member cimport Member


cdef inline void on_woken(void *member) noexcept nogil:
    (<Member *>member).event_loop.woken = False


cdef inline void wake_again(Member *m) noexcept nogil:
    """Cause another pass immediately after this one."""
    if not m.event_loop.woken:
        m.event_loop.woken = True
        RedisModule_EventLoopAddOneShot(on_woken, m)
