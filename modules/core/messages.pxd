# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""The messages between members, the verdicts on them, and the roles of members."""

from libc.stdint cimport int64_t, uint64_t, uint8_t

from modules.core.view cimport HISTORY_BYTES


cdef enum Role:
    ROLE_ALONE          # has no history: a singleton of its own, which a master may take into a chain
    ROLE_REMOVED        # has a history and is in no view: serves nothing
    ROLE_LEARNER        # receives a chain's log, to become its tail
    ROLE_SINGLETON
    ROLE_HEAD
    ROLE_MIDDLE
    ROLE_TAIL


cdef enum Verdict:
    # The verdict on a message. All but ACCEPTED leave the state as it was, apart from `newest_epoch`.
    ACCEPTED
    STALE               # the message is of an older epoch: the sender is sent the view
    BEHIND              # the message is of a newer epoch: the sender sends its view
    OTHER_HISTORY       # of another chain
    CONFLICT            # another view of the same epoch
    STRANGER            # the view expects this message from another member
    NOT_GREETED         # a batch on a connection without a handshake in this epoch
    GAP                 # updates are missing before this batch
    DIVERGED            # the two members' histories disagree: the successor's data must go
    TOO_FAR_BEHIND      # the log no longer reaches back to what the successor lacks
    NONSENSE            # no correct member sends this
    NO_MEMORY


cdef struct Limits:
    uint64_t log_bytes          # uncommitted updates; at the limit the head holds writers back
    uint64_t backlog_bytes      # committed updates kept for members that were away
    uint64_t join_bytes         # committed updates kept for a learner


cdef struct Greeting:
    # Either half of the handshake: the sender's epoch and position.
    int64_t epoch
    uint8_t history[HISTORY_BYTES]
    int64_t applied
    int64_t assigned            # the epoch in which `applied` was assigned
    bint heeds_saved            # the sender, a successor, commits only what it is told to be saved


cdef struct Batch:
    int64_t epoch               # the sender's
    int64_t assigned            # the epoch in which all of these updates were assigned
    int64_t first               # sn of the first update
    int64_t count               # 0 ends a handshake when nothing is lacking
    int64_t committed           # as the sender knows it
    int64_t upto                # the newest update that the receiver may be sent at this moment
    int64_t saved               # neither the sender nor any member before it loses updates up to here
    int64_t answer              # the newest question that every member before the receiver has seen
    bint listens                # the sender is to hear at once of each commit
    uint64_t bytes              # of the payloads


cdef struct Ack:
    int64_t epoch
    int64_t committed           # from a learner: applied
    bint head_told              # the tail has told the head itself
    int64_t question            # the newest that the tail has asked (see `read_lease.pxd`); 0: none
    int64_t synced              # the sender and all members after it have this on their disks; -1: not known
