# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# Messages between the main thread and the gate's thread. Their tables of descriptors are not the same, so a message
# carries sockets as it would to another process.

from libc.stdint cimport int64_t
from libc.string cimport memcpy, memset

from modules.bindings.descriptors cimport (
    CMSG_DATA, CMSG_FIRSTHDR, CMSG_LEN, CMSG_SPACE, MSG_CMSG_CLOEXEC, MSG_DONTWAIT, SCM_RIGHTS, iovec, msghdr, recvmsg,
    sendmsg,
)
from modules.bindings.libc cimport POLLOUT, close, errno, poll, pollfd
from modules.bindings.socket cimport EAGAIN, EINTR, MSG_NOSIGNAL, SOL_SOCKET

cdef enum:
    SOCKETS = 2                 # in a message: those of a client are the real one and an end of a pair
    CONTROL_WORDS = 8           # room for two descriptors and their header


cdef enum MessageKind:
    # From the main thread:
    CLIENT_NEW                  # with sockets: relay between them, unless the client begins with MEMBER.UNHELD
    CLIENT_RELAY                # with sockets: relay between them
    CLIENT_ASKS                 # likewise; its first request asks not to be held
    CLIENT_UNHELD               # hold nothing of this client from now on
    CLIENT_CLOSE                # close this client, if it is held: the server has replies for it that are too old
    CLIENT_GONE                 # the server has closed its socket, and a child of the server may have a copy of that
    GATE_STOP                   # send what may go, and end
    # From the gate's thread:
    GATE_READY
    CLIENT_BACK                 # with sockets: the server is to have the real one
    CLIENT_LEFT                 # the same for one that is unheld, and has said something before
    REPLY_WAITS                 # for a ticket that stays open: pass once more


cdef struct Message:
    int64_t kind
    int64_t client


cdef bint message_send(int control, int64_t kind, int64_t client, int real, int pair, int patience_ms) noexcept nogil:
    """Send a message, with sockets if `real` is not negative. Returns False if it could not be sent.

    patience_ms: for how long the call may wait until the receiver has read earlier messages.
    """
    cdef Message message
    cdef iovec part
    cdef msghdr header
    cdef size_t control_words[CONTROL_WORDS]
    cdef int sockets[SOCKETS]
    cdef pollfd room
    message.kind, message.client = kind, client
    part.iov_base, part.iov_len = &message, sizeof(message)
    memset(&header, 0, sizeof(header))
    header.msg_iov, header.msg_iovlen = &part, 1
    if real >= 0:
        sockets[0], sockets[1] = real, pair
        memset(control_words, 0, sizeof(control_words))
        header.msg_control, header.msg_controllen = control_words, CMSG_SPACE(sizeof(sockets))
        CMSG_FIRSTHDR(&header).cmsg_level = SOL_SOCKET
        CMSG_FIRSTHDR(&header).cmsg_type = SCM_RIGHTS
        CMSG_FIRSTHDR(&header).cmsg_len = CMSG_LEN(sizeof(sockets))
        memcpy(CMSG_DATA(CMSG_FIRSTHDR(&header)), sockets, sizeof(sockets))
    while sendmsg(control, &header, MSG_NOSIGNAL | MSG_DONTWAIT) < 0:
        room.fd, room.events, room.revents = control, POLLOUT, 0
        if errno != EINTR and (errno != EAGAIN or poll(&room, 1, patience_ms) <= 0):
            return False
    return True


cdef bint message_receive(int control, Message *message, int *sockets) noexcept nogil:
    """Returns False if there is no message. sockets: two, or -1 and -1 if the message came without or lost one."""
    cdef iovec part
    cdef msghdr header
    cdef size_t control_words[CONTROL_WORDS]
    part.iov_base, part.iov_len = message, sizeof(Message)
    memset(&header, 0, sizeof(header))
    header.msg_iov, header.msg_iovlen = &part, 1
    header.msg_control, header.msg_controllen = control_words, sizeof(control_words)
    sockets[0] = sockets[1] = -1
    if recvmsg(control, &header, MSG_CMSG_CLOEXEC | MSG_DONTWAIT) < <long>sizeof(Message):
        return False
    if CMSG_FIRSTHDR(&header) != NULL and CMSG_FIRSTHDR(&header).cmsg_type == SCM_RIGHTS:
        if CMSG_FIRSTHDR(&header).cmsg_len == CMSG_LEN(2 * sizeof(int)):
            memcpy(sockets, CMSG_DATA(CMSG_FIRSTHDR(&header)), 2 * sizeof(int))
        elif CMSG_FIRSTHDR(&header).cmsg_len == CMSG_LEN(sizeof(int)):      # no descriptor was free for the second
            memcpy(sockets, CMSG_DATA(CMSG_FIRSTHDR(&header)), sizeof(int))
            close(sockets[0])
            sockets[0] = -1
    return True
