# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""A member's role, and whether it does what its role is for. INFO, the master and health checks use both."""

from modules.core.chain cimport chain_fenced, chain_role, chain_serves_reads, chain_takes_writes
from modules.core.messages cimport (
    ROLE_ALONE, ROLE_HEAD, ROLE_LEARNER, ROLE_MIDDLE, ROLE_REMOVED, ROLE_SINGLETON, ROLE_TAIL, Role,
)
from modules.member.state.member cimport Member


cdef inline const char *role_name(Role role) noexcept nogil:
    if role == ROLE_ALONE:
        return "alone"
    if role == ROLE_REMOVED:
        return "removed"
    if role == ROLE_LEARNER:
        return "learner"
    if role == ROLE_SINGLETON:
        return "singleton"
    if role == ROLE_HEAD:
        return "head"
    return "middle" if role == ROLE_MIDDLE else "tail"


cdef inline bint may_write(const Member *m) noexcept nogil:
    """Does a write that comes now get executed? The server of a new head is a replica until it has become a master."""
    return chain_takes_writes(&m.chain) and (m.effects.leads or not m.chain.log.streams)


cdef inline bint serves_in_role(const Member *m) noexcept nogil:
    cdef Role role = chain_role(&m.chain)
    if role == ROLE_REMOVED or role == ROLE_LEARNER:
        return False
    if role == ROLE_MIDDLE:
        return m.chain.in_step and not chain_fenced(&m.chain)
    return chain_serves_reads(&m.chain) if role == ROLE_TAIL else may_write(m)
