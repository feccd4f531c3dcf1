# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# The main thread's hold on the gate: it starts the gate, wakes it, begins eras, and stops it.

from modules.bindings.atomics cimport exchange
from modules.bindings.descriptors cimport SOCK_SEQPACKET
from modules.bindings.libc cimport (
    EFD_CLOEXEC, EFD_NONBLOCK, POLLIN, eventfd, write as write_fd,
)
from modules.bindings.pthread cimport pthread_join
from modules.bindings.redismodule cimport (
    REDISMODULE_EVENTLOOP_READABLE, REDISMODULE_OK, RedisModule_EventLoopAdd, RedisModule_EventLoopDel,
)
from modules.server.threads cimport thread_start

cdef enum:
    START_MS = 10000            # for a thread that closes some descriptors


cdef bint await_ready(int control) noexcept nogil:
    """Wait until the thread has a table of descriptors of its own. Returns False if it cannot have one."""
    cdef Message message
    cdef int none[SOCKETS]
    cdef pollfd ready
    ready.fd, ready.events, ready.revents = control, POLLIN, 0
    return (poll(&ready, 1, START_MS) == 1 and message_receive(control, &message, none)
            and message.kind == GATE_READY and message.client)


cdef bint start_thread(Member *m, int gates_end) noexcept nogil:
    cdef Relay *r = relay_new(&m.gate.shared, gates_end, m.gate.wake_fd)
    if r == NULL:
        return False
    if not thread_start(&m.gate.thread, gate_main, r, False):
        free(r)
        return False
    return await_ready(m.gate.control)


cdef bint gate_start(Member *m, bint holds) noexcept nogil:
    """Start the gate when the module is loaded. Returns False if it cannot start, or cannot work in this server.

    holds: this server can be in a chain whose replies are held. Otherwise there is no gate, nor with member.gate no.
    """
    cdef int pair[2]
    publish(&m.gate.shared.committed, INT64_MAX)
    publish(&m.gate.shared.executed, INT64_MAX)
    if not holds or not m.settings.gate:
        m.gate.absent = not holds
        return True
    m.gate.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
    if m.gate.wake_fd < 0 or socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) != 0:
        return False
    m.gate.control = pair[0]
    allow_descriptors()
    m.gate.runs = start_thread(m, pair[1])
    close(pair[1])
    if not m.gate.runs:
        return False
    # The event loop watches this socket as it will watch a client's: what the swap needs of it is seen now.
    if (RedisModule_EventLoopAdd(m.gate.control, REDISMODULE_EVENTLOOP_READABLE, on_message, NULL) != REDISMODULE_OK
            or not gate_find_loop(m, m.gate.control)):
        gate_stop(m)
        return False
    swap_present(m)
    return True


cdef void poke(Member *m) noexcept nogil:
    cdef uint64_t one = 1
    write_fd(m.gate.wake_fd, &one, sizeof(one))


cdef void gate_wake(Member *m) noexcept nogil:
    """Called after `committed`, `executed`, `lease_until`, `proven_ms` or `closed` has moved. If nothing is held, that
    costs no system call.
    """
    fence()
    if observe(&m.gate.shared.waiting) and exchange(&m.gate.shared.waiting, 0):
        poke(m)
    else:
        gate_attend(m)


cdef void gate_attend(Member *m) noexcept nogil:
    """Called after a pass in which nothing is left to be committed: let the gate read a reply that it does not watch
    for.
    """
    if observe(&m.gate.shared.inattentive) and exchange(&m.gate.shared.inattentive, 0):
        poke(m)


cdef void gate_set_hold_timeout(Member *m, int64_t ms) noexcept nogil:
    publish(&m.gate.shared.hold_timeout, ms)
    if m.gate.runs:
        poke(m)     # it may sleep for as long as the former timeout allowed


cdef bint close_clients_with_output(Member *m) noexcept nogil:
    """Name to the gate the clients for which the server has replies that are not even in their sockets. Returns False
    if the gate takes no more names.
    """
    cdef ClientList list
    cdef ServerClient client
    cdef bint good = True
    list_begin(&list, m.ctx)
    while good and list_next(&list, &client):
        if client.has_output:
            good = message_send(m.gate.control, CLIENT_CLOSE, client.id, -1, -1, PATIENCE_MS)
    list_end(&list)
    return good


cdef void begin_next_era(Member *m, bint closes_all) noexcept nogil:
    if closes_all:
        publish(&m.gate.shared.closing_era, m.gate.shared.era + 1)
    publish(&m.gate.shared.era, m.gate.shared.era + 1)
    if m.gate.runs:
        poke(m)


cdef void gate_era(Member *m) noexcept nogil:
    """From now on no reply that was written before is sent: a client for which there is one is closed. Called before
    `committed` moves to what the new era has.
    """
    begin_next_era(m, m.gate.runs and not close_clients_with_output(m))


cdef void gate_close_clients(Member *m) noexcept nogil:
    """This member is the head no more: close its clients, which find the new one when they connect again.

    Clients of Sentinels wait for that, since Redis's own Sentinel does it when it makes a master a replica.
    """
    begin_next_era(m, True)


cdef void gate_stop(Member *m) noexcept nogil:
    """The server ends: send clients what may go. The call returns when that is done, and waits for no client."""
    if not m.gate.runs:
        return
    m.gate.runs = False
    RedisModule_EventLoopDel(m.gate.control, REDISMODULE_EVENTLOOP_READABLE)
    if message_send(m.gate.control, GATE_STOP, 0, -1, -1, PATIENCE_MS):
        pthread_join(m.gate.thread, NULL)


cdef void gate_leave(Member *m) noexcept nogil:
    """In a forked child, which has no gate: close its copies of what belongs to the gate."""
    if m.gate.runs:
        close(m.gate.control)
        close(m.gate.wake_fd)
