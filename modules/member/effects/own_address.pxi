# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# Where this server's own module reaches it: on the loopback interface, else at an address that it binds, else at its
# unix socket, and without any of these at its port of TLS.

from libc.stdint cimport int64_t
from libc.stdio cimport snprintf
from libc.string cimport memcpy, memset, strcmp, strlen, strncmp

from modules.bindings.descriptors cimport AF_UNIX
from modules.bindings.libc cimport strtok_r
from modules.bindings.socket cimport (
    SOCK_STREAM, addrinfo, freeaddrinfo, getaddrinfo, sockaddr_storage, sockaddr_un, socklen_t,
)
from modules.member.keyspace cimport redis_number
from modules.member.state.member cimport Member
from modules.server.redis_calls cimport redis_setting

cdef enum:
    BIND_BYTES = 4096           # Redis binds 16 addresses at the most


cdef struct OwnAddress:
    sockaddr_storage storage
    socklen_t length
    bint encrypted


cdef bint resolve_own(const char *host, int64_t port, OwnAddress *out) noexcept nogil:
    cdef addrinfo hints
    cdef addrinfo *found = NULL
    cdef char service[24]
    memset(&hints, 0, sizeof(hints))
    hints.ai_socktype = SOCK_STREAM
    snprintf(service, sizeof(service), "%lld", <long long>port)
    if getaddrinfo(host, service, &hints, &found) != 0:
        return False
    memcpy(&out.storage, found.ai_addr, found.ai_addrlen)
    out.length = found.ai_addrlen
    freeaddrinfo(found)
    return True


cdef int loopback_rank(const char *host) noexcept nogil:
    """How good an address of the setting `bind` is: best are those of the loopback interface. One with a minus, which
    may be missing on this machine, is the last choice.
    """
    if host[0] == c"-":
        return 1
    return 3 if strcmp(host, "*") == 0 or strcmp(host, "0.0.0.0") == 0 or strncmp(host, "127.", 4) == 0 else 2


cdef bint own_port_address(Member *m, const char *setting, OwnAddress *out) noexcept nogil:
    """Returns False if the server has no such port, or binds no address."""
    cdef int64_t port = redis_number(m, setting)
    cdef char hosts[BIND_BYTES]
    cdef char *rest = NULL
    cdef char *host
    cdef const char *best = NULL
    if port <= 0 or not redis_setting(m.ctx, "bind", hosts, sizeof(hosts)):
        return False
    host = strtok_r(hosts, " ", &rest)
    while host != NULL:
        if best == NULL or loopback_rank(host) > loopback_rank(best):
            best = host
        host = strtok_r(NULL, " ", &rest)
    if best == NULL:
        return False
    best = best + 1 if best[0] == c"-" else best
    if strcmp(best, "*") == 0 or strcmp(best, "0.0.0.0") == 0:
        best = "127.0.0.1"
    elif strcmp(best, "::*") == 0 or strcmp(best, "::") == 0:
        best = "::1"
    return resolve_own(best, port, out)


cdef bint own_socket_address(Member *m, OwnAddress *out) noexcept nogil:
    cdef sockaddr_un *address = <sockaddr_un *>&out.storage
    memset(&out.storage, 0, sizeof(out.storage))
    address.sun_family = AF_UNIX
    out.length = sizeof(sockaddr_un)
    return redis_setting(m.ctx, "unixsocket", address.sun_path, sizeof(address.sun_path)) and strlen(address.sun_path)


cdef bint own_address(Member *m, OwnAddress *out) noexcept nogil:
    """Returns False if this server's module cannot reach it."""
    out.encrypted = False
    if own_port_address(m, "port", out) or own_socket_address(m, out):
        return True
    out.encrypted = True
    return own_port_address(m, "tls-port", out)
