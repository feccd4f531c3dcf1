# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""What is asked at every PUT and READ, so inline: who waits already, and whether writers have to."""

from modules.core.chain cimport chain_fenced
from modules.member.state.member cimport Member
from modules.member.state.waiter cimport WaitKind, Waiter


cdef inline Waiter *first_waiting(const Member *m, WaitKind kind) noexcept nogil:
    """Returns the client that has waited longest in the list of this kind. NULL: none waits."""
    return m.clients.waiting.lists[<int>kind].first


cdef inline bint awaits_view(const Member *m) noexcept nogil:
    """Returns whether this head has heard of a newer view (rule 2). Writers are blocked until the head has that view.
    """
    return m.chain.me == 0 and chain_fenced(&m.chain)
