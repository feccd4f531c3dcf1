# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""Sending in the pass of the event loop in which something became due.

Messages are sent in the before-sleep event. After that event, Redis 7.0 executes the commands of clients that it has
just unblocked, and Redis 8.2 with io-threads those that a thread has read meanwhile. Without help, the messages of
these commands would wait for the next event, so `wake` causes another pass. Their records are made at once, in the
order of the updates.
"""

from modules.member.keyspace.another_pass cimport wake_again
from modules.member.persistence cimport is_record_due, record
from modules.member.state.member cimport Member


cdef inline void wake(Member *m) noexcept nogil:
    """To be called at the end of a command: if the before-sleep event is over, record, and cause another pass."""
    if m.event_loop.asleep_soon:
        if is_record_due(m):
            record(m)
        wake_again(m)
