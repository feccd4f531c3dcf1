# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""How far the files of members are on their disks, for WAITAOF in a chain of all commands.

Each member tells its predecessor how far its own file and those of all members after it are on the disk. Nothing is
committed by that, and nothing waits for it but a client that asks.
"""

from libc.stdint cimport int64_t

from modules.core.chain cimport Chain, chain_is_tail


cdef inline int64_t synced_from_here(const Chain *c) noexcept nogil:
    """Returns up to where this member and all after it have the effects on their disks; -1: not known."""
    if c.learner or c.me < 0:
        return -1
    return c.synced if chain_is_tail(c) else min(c.synced, c.synced_below)


cdef inline bint synced_is_due(const Chain *c) noexcept nogil:
    return synced_from_here(c) > c.synced_up


cdef inline void synced_hear(Chain *c, int64_t synced) noexcept nogil:
    """The successor has told this in the present epoch. No member has more on its disk than it was sent."""
    c.synced_below = max(c.synced_below, min(synced, c.applied))
