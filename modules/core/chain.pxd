# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""The state of one member, and the questions about it. The core does no input or output and reads no clock.

The protocol is chain replication after van Renesse and Schneider (OSDI 2004). The state has the names of their section
3 where they have one: the uncommitted part of the log is *Sent*. Epochs, the handshake and cumulative acknowledgement
are defined in docs/design.md (sections 3 and 5).

The caller feeds events into the files beside this one:

    membership.pxd      views: adopted, learned, forgotten
    replication.pxd     updates and neighbours: assign, forward, acknowledge, commit
    learner.pxd         a tail feeds a server that is about to join
    read_lease.pxd      the right to answer linearizable reads
    durability.pxd      the append-only file, and a start from it
    synced.pxd          how far the files of the other members are on their disks

After each event the caller takes out what the event has made due: messages to other members (replication.pxd), and
answers, publications and released log entries of its own (outbox.pxd).
"""

from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memcpy, memset

from modules.core.log cimport Log, log_epoch_of, log_restart
from modules.core.messages cimport (
    ACCEPTED, BEHIND, Greeting, Limits, OTHER_HISTORY, ROLE_ALONE, ROLE_HEAD, ROLE_LEARNER, ROLE_MIDDLE, ROLE_REMOVED,
    ROLE_SINGLETON, ROLE_TAIL, Role, STALE, Verdict,
)
from modules.core.view cimport HISTORY_BYTES, KIND_ALL, Node, View


cdef extern from *:
    """
    #define CHAIN_NO_LIMIT INT64_MAX
    """
    const int64_t NO_LIMIT "CHAIN_NO_LIMIT"


cdef enum:
    SEEN_KEPT = 4                    # a power of two


cdef struct Chain:
    # ---- which chain, and the place in it. Only `membership_adopt`, `membership_learn`, `durability_restore` and
    # `durability_branch` assign these.
    bint has_history
    uint8_t history[HISTORY_BYTES]
    View view                   # epoch 0: none yet
    int me                      # index of this member in the view; -1: it is not in the view
    bint learner
    int64_t newest_epoch        # the newest heard of; if above view.epoch this member serves nothing (rule 2)
    # ---- how far. settled <= committed <= applied = log.end - 1
    int64_t applied
    int64_t committed
    int64_t settled             # up to here publications are made and waiters answered
    Log log
    uint64_t unsettled_bytes    # cost of (settled, applied]
    int64_t expiry              # waiters below this sn have been answered
    # The next four are NO_LIMIT where nothing has to be waited for.
    int64_t on_disk             # this member does not vouch for updates above it: a tail commits none of them
    int64_t recorded            # the append-only file lacks the updates above it, so the log keeps them
    int64_t published           # a tail acknowledges up to here: publications of higher sns have not left yet
    int64_t executed            # own server's data has the effects up to here (chains of all commands)
    int64_t vouched             # others may have committed up to here before this member began to wait for its disk
    Limits limits
    # ---- towards the predecessor
    int64_t greeted             # the connection on which it greeted this member in this epoch; -1: none
    bint in_step                # the handshake with it is complete in this epoch
    int64_t serve_from          # its newest update then: this member serves when it has applied that too
    int64_t saved_above         # no member before this one loses updates up to here; -1: not told in this epoch
    int64_t sent_up             # the highest ack sent to it in this epoch
    int64_t relied_up           # the highest ack not sent till the next tick: the predecessor hears it otherwise
    bint predecessor_listens    # it has said that it is to hear at once of each commit
    int64_t sent_head           # the tail's highest ack sent to the head
    # ---- what is on the disks of all (`synced.pxd`), in chains of all commands
    int64_t synced              # own server's file on the disk has the effects up to here; -1: not known
    int64_t synced_below        # the members after this one have told so in this epoch; -1: not all
    int64_t synced_up           # the predecessor was told so on its present connection
    # ---- the right to answer reads (read_lease.pxd), all but one of this epoch
    int64_t lease_until         # on this member's clock
    int64_t longest_lease_ms    # of all leases that any master has granted to this process, in any epoch
    bint in_doubt               # the predecessor is told again, so that it can say that this member is removed
    int64_t asked               # the newest question, of this tail or of the members after this one; from 1
    int64_t asked_ever          # the newest that ever went to the predecessor, and ...
    int64_t asked_up            # ... that went on its present connection
    int64_t answered            # the newest that all members before this one have seen
    int64_t answered_down       # the newest that the successor knows to be answered
    bint in_haste               # this tail has no lease: each acknowledgement that goes anyway asks again
    int64_t seen_at[SEEN_KEPT]       # by question: when it was the newest that this member had seen, at the latest
    int64_t proven_ms           # everything that was read before was read while no newer view was in force
    # ---- towards the successor, or the learner that a tail feeds
    bint feeding
    Node learner_node
    bint streaming              # the handshake is complete: batches may go
    bint confirm                # the successor has not heard yet that the handshake is complete
    bint has_clients            # set by the caller: replies to clients of this member wait for commits
    bint listens_told           # the successor knows that this member is to hear at once of each commit
    bint heeds_saved            # it commits nothing but what it is told to be saved (an earlier version cannot)
    int64_t saved_told          # in this handshake it was told that so much is saved
    int64_t next_sn             # the next update to go to it
    int64_t sent_sn             # one past the highest that ever went: below it, sending again is a resend
    int64_t pinned              # the lowest sn that the learner may lack; -1: nothing is kept for one
    bint pin_broken             # the join went over its limit
    # ---- counters for INFO
    uint64_t view_changes
    uint64_t resent
    uint64_t refused_stale


# ------------------------------------------------------------------------------------------------ state

cdef inline void chain_init(Chain *c, const Limits *limits) noexcept nogil:
    memset(c, 0, sizeof(Chain))
    c.limits = limits[0]
    c.me = -1
    c.applied = c.committed = c.settled = c.vouched = -1
    c.greeted = c.pinned = -1
    c.saved_above = c.saved_told = -1
    c.sent_up = c.relied_up = c.sent_head = -1
    c.synced = c.synced_below = c.synced_up = -1
    c.on_disk = c.published = c.recorded = c.executed = NO_LIMIT


cdef inline Role chain_role(const Chain *c) noexcept nogil:
    if not c.has_history:
        return ROLE_ALONE
    if c.me < 0:
        return ROLE_LEARNER if c.learner else ROLE_REMOVED
    if c.view.count == 1:
        return ROLE_SINGLETON
    if c.me == 0:
        return ROLE_HEAD
    return ROLE_TAIL if c.me == c.view.count - 1 else ROLE_MIDDLE


cdef inline bint chain_is_all(const Chain *c) noexcept nogil:
    """Is this a member of a chain that takes any command?"""
    return c.has_history and c.view.kind == KIND_ALL


cdef inline bint chain_is_tail(const Chain *c) noexcept nogil:
    return c.me >= 0 and c.me == c.view.count - 1


cdef inline bint chain_fenced(const Chain *c) noexcept nogil:
    """Has this member heard of a view that is newer than its own (rule 2)?"""
    return c.newest_epoch > c.view.epoch


cdef inline const Node *chain_successor(const Chain *c) noexcept nogil:
    """The process that updates are forwarded to. Returns NULL if there is none."""
    if 0 <= c.me < c.view.count - 1:
        return &c.view.members[c.me + 1]
    return &c.learner_node if c.feeding else NULL


cdef inline const Node *chain_predecessor(const Chain *c) noexcept nogil:
    """The process that forwards updates to this member. Returns NULL if there is none."""
    if c.learner:
        return &c.view.members[c.view.count - 1]
    if c.me > 0:
        return &c.view.members[c.me - 1]
    return NULL


cdef inline const Node *chain_head_shortcut(const Chain *c) noexcept nogil:
    """The head, if this member is a tail that acknowledges to the head directly. Otherwise NULL."""
    if chain_is_tail(c) and c.me > 1:
        return &c.view.members[0]
    return NULL


cdef inline int64_t chain_executed(const Chain *c) noexcept nogil:
    """The newest update that this member's data has. Its log may reach further in a chain of all commands."""
    return min(c.applied, c.executed)


cdef inline int64_t chain_written(const Chain *c) noexcept nogil:
    """The newest update that Redis has for its append-only file: on the disk, or to be written before the loop sleeps.

    In a chain of all commands Redis itself writes what it executes.
    """
    return chain_executed(c) if c.log.streams else c.recorded


cdef inline bint chain_takes_writes(const Chain *c) noexcept nogil:
    return not c.has_history or (c.me == 0 and not chain_fenced(c) and c.executed >= c.applied)


cdef inline bint chain_has_uncommitted(const Chain *c) noexcept nogil:
    """Does this member's data show what may not survive? A tail's does while a disk lacks what the tail has."""
    return c.has_history and c.committed < c.applied


cdef inline bint chain_serves_reads(const Chain *c) noexcept nogil:
    """Is this a tail that is in step with its predecessor and has all that the predecessor had applied (rule 4)?"""
    if not c.has_history:
        return True
    return chain_is_tail(c) and c.in_step and chain_executed(c) >= c.serve_from and not chain_fenced(c)


cdef inline bint chain_shows_data(const Chain *c) noexcept nogil:
    """May requests be given to this member's server, whose answers go out when what they show is committed?

    A new tail has to have what the old one had committed. Other members have it all.
    """
    if not c.has_history:
        return True
    if chain_is_tail(c):
        return c.in_step and chain_executed(c) >= c.serve_from
    return c.me >= 0


cdef inline void chain_position(const Chain *c, Greeting *out) noexcept nogil:
    out.epoch = c.view.epoch
    memcpy(out.history, c.history, HISTORY_BYTES)
    out.applied = c.applied
    out.assigned = log_epoch_of(&c.log, c.applied)
    out.heeds_saved = False


cdef inline Verdict chain_judge_epoch(Chain *c, int64_t epoch) noexcept nogil:
    """Rule 2, for every message between members. STALE: an older epoch. BEHIND: a newer one."""
    if not c.has_history:
        return OTHER_HISTORY
    if epoch < c.view.epoch:
        c.refused_stale += 1
        return STALE
    if epoch > c.view.epoch:
        if epoch > c.newest_epoch:
            c.newest_epoch = epoch
        return BEHIND
    return ACCEPTED


cdef inline void chain_jump(Chain *c, int64_t applied) noexcept nogil:
    log_restart(&c.log, applied + 1)
    c.applied = c.committed = c.settled = applied
    if c.recorded != NO_LIMIT:
        c.recorded = applied
    if c.executed != NO_LIMIT:
        c.executed = applied
    c.expiry = applied + 1
    c.unsettled_bytes = 0
    c.sent_sn = 0
    c.synced = -1


cdef inline int64_t chain_durable(const Chain *c) noexcept nogil:
    """The newest update that this member has applied and will not lose."""
    return min(c.applied, c.on_disk)


cdef inline int64_t chain_saved(const Chain *c) noexcept nogil:
    """The newest update that neither this member nor any before it will lose. A tail commits up to there."""
    return min(chain_durable(c), c.saved_above) if c.me > 0 else chain_durable(c)


cdef inline int64_t chain_sendable(const Chain *c) noexcept nogil:
    """The newest update that the successor may be sent: one that is not saved only if the successor heeds that."""
    return c.applied if c.heeds_saved else chain_saved(c)
