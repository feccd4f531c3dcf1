# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# What the gate may send: a reply goes out when all that it can show is committed, and this member has a lease.
#
# A member that is in no view holds nothing: its filter refuses commands that show data.

from libc.stdint cimport INT64_MAX, int64_t

from modules.bindings.atomics cimport observe, publish
from modules.core.chain cimport chain_executed, chain_fenced, chain_shows_data
from modules.core.read_lease cimport read_lease_proven_ms, read_lease_until
from modules.core.tickets cimport tickets_commit
from modules.member.gate cimport gate_attend, gate_era, gate_wake
from modules.member.state.gate cimport GateShared
from modules.member.state.member cimport Member


cdef int64_t may_tell_until(const Member *m) noexcept nogil:
    """Returns the time on the boot clock, in ms, up to which replies of this member are known to be of the newest view.
    """
    if not m.chain.in_step or chain_executed(&m.chain) < m.chain.serve_from:
        return 0
    if m.chain.me == 0 and not m.effects.leads:
        return 0
    return read_lease_until(&m.chain)


cdef int64_t may_take(const Member *m) noexcept nogil:
    """Returns the newest ticket with which a request may be given to this member's server; -1: none may.

    A write that came before the server of a new head is a master would be refused, and no reply could go out yet.
    """
    if m.effects.fresh or not chain_shows_data(&m.chain) or (m.chain.me == 0 and not m.effects.leads):
        return -1
    return INT64_MAX if m.effects.leads else m.effects.tickets.executed


cdef bint serves_clients(const Member *m) noexcept nogil:
    """Returns whether there are clients whose replies are held. A client is counted before the server has its request.
    """
    return observe(&m.gate.shared.clients) > observe(&m.gate.shared.unheld_clients)


cdef void hold_nothing(Member *m) noexcept nogil:
    """This member is in no view: what is held is dropped, and what comes is not held."""
    if not m.effects.holds:
        return
    m.effects.holds = False
    gate_era(m)
    publish(&m.gate.shared.closed, 0)
    publish(&m.gate.shared.lease_until, INT64_MAX)
    publish(&m.gate.shared.executed, INT64_MAX)
    publish(&m.gate.shared.committed, INT64_MAX)
    gate_wake(m)


cdef void note_fresh(Member *m) noexcept nogil:
    """A member that comes into the view shows nothing before its server has all that its predecessor then had.

    What clients sent while it was in no view may be in their sockets still, with no ticket that tells what it has to
    show. The filter refuses that.
    """
    if not m.effects.holds:
        m.effects.fresh = m.chain.me > 0
    if m.chain.in_step and chain_executed(&m.chain) >= m.chain.serve_from and not chain_fenced(&m.chain):
        m.effects.fresh = False


cdef bint tell(int64_t *number, int64_t value) noexcept nogil:
    """Let the gate know one of the numbers by which it decides. Returns whether it is another than before."""
    if number[0] == value:
        return False
    publish(number, value)
    return True


cdef void hold_uncommitted(Member *m) noexcept nogil:
    cdef GateShared *shared = &m.gate.shared
    cdef bint news
    note_fresh(m)
    tickets_commit(&m.effects.tickets, m.chain.committed, m.chain.executed)
    m.effects.holds = True
    news = tell(&shared.lease_until, may_tell_until(m))
    news |= tell(&shared.proven_ms, read_lease_proven_ms(&m.chain, m.now_ms))
    news |= tell(&shared.executed, may_take(m))
    news |= tell(&shared.committed, m.effects.tickets.committed)
    # Commands at the head make effects, which the others must be able to take (rule 9).
    news |= tell(&shared.closed, m.effects.leads and m.chain.unsettled_bytes > m.chain.limits.log_bytes)
    if news:        # the thread that is woken for nothing delays this one
        gate_wake(m)
    elif m.effects.tickets.committed == m.effects.tickets.newest:
        gate_attend(m)


cdef void note_commits(Member *m) noexcept nogil:
    """Tell the gate what may be shown now. Called in each pass, after everything that may have changed that."""
    if m.chain.log.streams and m.chain.me >= 0:
        hold_uncommitted(m)
    else:
        hold_nothing(m)
