# cython: language_level=3
"""Clients that wait: one struct for all of them, in a list for each thing that they wait for."""

from libc.stdint cimport int64_t

from modules.bindings.redismodule cimport RedisModuleBlockedClient, RedisModuleDict, RedisModuleString
from modules.core.invariant cimport INVARIANT


cdef enum WaitKind:
    WAIT_ROOM                   # a writer, until the log has room (rule 9): its update has no sn yet
    WAIT_COMMIT                 # MEMBER.WAIT
    WAIT_RIGHT                  # a READ at a tail that may answer in a moment
    WAIT_WORKER                 # for what a worker's job finds out: the job has the waiter until it is done
    WAIT_CHECKPOINT             # TAIL.CHECKPOINT
    WAIT_FLUSH                  # HEAD.FLUSH
    WAIT_SUSPICION              # a master's CHAIN.WATCH
    WAIT_KINDS


cdef struct Waiter:
    # From when a client is blocked until it has been told, or has left.
    Waiter *next                # in the list of its kind
    Waiter *previous
    WaitKind kind
    RedisModuleBlockedClient *client    # NULL: it has left, and a job still has the waiter
    RedisModuleString *key      # of a writer, and of a READ
    RedisModuleString *value
    RedisModuleString *channel
    int64_t since_ms            # when it came, where member.write-timeout bounds the wait
    int64_t deadline_ms         # MEMBER.WAIT: 0, none
    int64_t sn                  # READ: the question that must be answered first; 0: none is asked yet
    int64_t epoch               # WAIT: -1, the client gave none; READ: of the question; TAIL.CHECKPOINT: the watermark


cdef struct WaiterList:
    Waiter *first
    Waiter *last


cdef struct Waiting:
    WaiterList lists[<int>WAIT_KINDS]   # in the order in which they came
    RedisModuleDict *by_client          # the same waiters, by the address of their blocked client


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
