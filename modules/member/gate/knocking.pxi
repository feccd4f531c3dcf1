# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# Clients that speak TLS and may ask not to be held.
#
# The gate cannot read what they ask for, and members and masters must get in when requests are held or are not read:
# the chain is repaired through their connections. So the first bytes of such a client are read in any case, and are
# held for a moment only. If they are MEMBER.UNHELD, the main thread says so before it replies. If there is a reply and
# the main thread has not said so, the reply may be from before an acknowledged write, and the client is closed. A
# client gains nothing by beginning with the first byte of TLS.
#
# Who was let in leaves the gate, so that links with TLS cost no more than others: what was encrypted belongs to the
# server, whichever socket it comes through.

from modules.core.held_output cimport stream_release

cdef enum:
    KNOCK_MS = 100      # the server of a member that is well has executed within that what the member has received


cdef void knock(Relay *r, Client *c) noexcept nogil:
    """The first bytes of the client are held."""
    c.knocking = KNOCKING
    r.knocking += 1


cdef void knock_no_more(Relay *r, Client *c) noexcept nogil:
    """What was held of the client may go."""
    if c.knocking == KNOCKING:
        r.knocking -= 1
        c.knocking = NOT_KNOCKING


cdef void let_in(Relay *r) noexcept nogil:
    """Pass on first bytes that have been held for long enough."""
    cdef int64_t long_ago_ms
    cdef Client *c
    if not r.knocking:
        return
    long_ago_ms = boot_ms() - KNOCK_MS
    c = r.clients
    while c != NULL:
        if c.knocking == KNOCKING and c.requests.held != NULL and c.requests.held.read_ms <= long_ago_ms:
            knock_no_more(r, c)
            c.knocking = ON_PROBATION
            stream_release(&r.requests, &c.requests)
            send_requests(r, c)
        c = c.next


cdef bint passes_probation(Relay *r, Client *c) noexcept nogil:
    """Returns whether the server's next bytes for the client may be looked at. Closes the client if they may not.

    The main thread has sent its message before the bytes were written, so the message is read after they were seen.
    """
    cdef char next
    if recv(c.back.fd, &next, 1, MSG_PEEK | MSG_DONTWAIT) > 0:
        read_messages(r)
        if not c.dead and not c.unheld:
            client_drop(r, c)
    return not c.dead


cdef void leave(Relay *r, Client *c) noexcept nogil:
    """The client is unheld. Let the server have its socket again, if nothing of the client is here."""
    if c.requests.first != NULL or c.replies.first != NULL or c.front_ended or c.back_ended:
        return
    if message_send(r.control, CLIENT_LEFT, c.id, c.front.fd, c.back.fd, 0):
        client_close(r, c)      # the message keeps the sockets open
