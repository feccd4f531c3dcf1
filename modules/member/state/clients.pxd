# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""The state of modules/member/clients: blocked clients, and counters for INFO."""

from libc.stdint cimport int64_t, uint8_t, uint64_t

from modules.core.once_table cimport OnceTable
from modules.core.view cimport HISTORY_BYTES
from modules.member.state.waiter cimport Waiting


cdef struct Clients:
    # Requests of clients.
    Waiting waiting             # blocked clients, except writers whose updates are in the log
    bint was_tail               # this member was the tail of the current chain: it may still have subscribers
    bint subscribers            # some client may be subscribed to a channel
    bint may_subscribe          # a command of Redis's own has come since subscribers were counted, renamed perhaps
    bint paused                 # by CLIENT PAUSE, when the last tick came
    int64_t told_epoch          # of the newest view of which those who wait for one have been told
    uint8_t told_history[HISTORY_BYTES]     # its chain's
    uint64_t writes
    uint64_t reads_served
    uint64_t unknown_outcomes
    OnceTable once              # the replies of MEMBER.ONCE
    bint once_running           # a command is being executed under MEMBER.ONCE
    bint once_loading           # the snapshot that is being loaded is this member's data, so its kept replies are, too
    uint64_t once_repetitions   # commands that were answered and not executed again
