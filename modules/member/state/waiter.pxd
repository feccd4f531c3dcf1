# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""Blocked clients: one struct for each client, in a list for each thing that clients wait for."""

from libc.stdint cimport int64_t, uint64_t

from modules.bindings.redismodule cimport RedisModuleBlockedClient, RedisModuleDict, RedisModuleString
from modules.core.invariant cimport INVARIANT


cdef enum WaitKind:
    WAIT_ROOM                   # a writer, until the log has room (rule 9); its update has no sequence number yet
    WAIT_COMMIT                 # the client of a MEMBER.WAIT
    WAIT_RIGHT                  # the client of a READ, until the tail's right to answer is confirmed
    WAIT_SHOWN                  # the client of a READ that has its answer, until what that shows is committed
    WAIT_WORKER                 # a client whose answer a worker's job finds; the job holds the waiter until it is done
    WAIT_CHECKPOINT             # the client of a TAIL.CHECKPOINT
    WAIT_FLUSH                  # the client of a HEAD.FLUSH
    WAIT_SUSPICION              # the master of a CHAIN.WATCH
    WAIT_VIEW                   # the client of a MEMBER.VIEW, until there is a newer view
    WAIT_KINDS


cdef struct Waiter:
    # One blocked client, until it has its reply or has left.
    Waiter *next                # in the list of this kind
    Waiter *previous
    WaitKind kind
    RedisModuleBlockedClient *client    # NULL: the client has left, and a job still holds the waiter
    uint64_t asker              # the client's id
    RedisModuleString *key      # of a writer or a READ
    RedisModuleString *value
    RedisModuleString *channel
    int64_t since_ms            # when the client was blocked; member.write-timeout limits the wait from then on
    int64_t deadline_ms         # of a MEMBER.WAIT or MEMBER.VIEW; 0: no limit
    # of a READ: the question that must be answered first, 0: no question was sent yet; then what must be committed
    int64_t sn
    void *answer                # of a READ that has it; NULL: none yet
    # MEMBER.WAIT: the client's epoch, or -1; MEMBER.VIEW: the epoch that the client knows; READ: the epoch of its
    # question; TAIL.CHECKPOINT: the watermark
    int64_t epoch


cdef struct WaiterList:
    Waiter *first
    Waiter *last


cdef struct Waiting:
    WaiterList lists[<int>WAIT_KINDS]   # one for each kind, in the order of arrival
    RedisModuleDict *by_client          # the same waiters, by the address of `client`


# ------------------------------------------------------------------------------------------------------- lists

cdef inline void list_append(WaiterList *list, Waiter *waiter) noexcept nogil:
    waiter.next = NULL
    waiter.previous = list.last
    if list.last != NULL:
        list.last.next = waiter
    else:
        list.first = waiter
    list.last = waiter


cdef inline void list_remove(WaiterList *list, Waiter *waiter) noexcept nogil:
    INVARIANT(list.first != NULL and list.last != NULL, "rule 6: a client that waits is in the list of its kind")
    if waiter.previous != NULL:
        waiter.previous.next = waiter.next
    else:
        list.first = waiter.next
    if waiter.next != NULL:
        waiter.next.previous = waiter.previous
    else:
        list.last = waiter.previous
