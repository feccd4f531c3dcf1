# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""Opening a ticket before something that may change data (`core/tickets.pxd`). Inline: it is done for each command."""

from modules.bindings.atomics cimport publish
from modules.core.tickets cimport tickets_open
from modules.member.keyspace.another_pass cimport wake_again
from modules.member.state.effects cimport CALM_PASSES
from modules.member.state.member cimport Member


cdef inline void open_ticket(Member *m) noexcept nogil:
    """From here on, replies may show effects that are not committed yet. The gate sees the ticket before it can read
    such a reply.
    """
    if tickets_open(&m.effects.tickets):
        publish(&m.gate.shared.ticket, m.effects.tickets.newest)
        if m.event_loop.asleep_soon:
            wake_again(m)       # the ticket is closed before the event loop sleeps


cdef inline void note_command(Member *m) noexcept nogil:
    """A command runs at the head. If a ticket is open whatever the command does, its reply needs another pass, too."""
    if m.effects.calm < CALM_PASSES:
        m.effects.stirred = True
        if m.event_loop.asleep_soon:
            wake_again(m)
