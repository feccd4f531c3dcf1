# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""The part of the socket API that is used here: listening sockets and their connections. Extern only."""

cdef extern from "sys/types.h" nogil:
    ctypedef long ssize_t

cdef extern from "sys/socket.h" nogil:
    enum:
        AF_INET
        AF_INET6
        MSG_NOSIGNAL
        SO_KEEPALIVE
        SO_REUSEADDR
        SOCK_CLOEXEC
        SOCK_NONBLOCK
        SOCK_STREAM
        SOL_SOCKET
    ctypedef unsigned int socklen_t
    ctypedef unsigned short sa_family_t
    struct sockaddr:
        sa_family_t sa_family
    struct sockaddr_storage:
        sa_family_t ss_family
    int socket(int family, int kind, int protocol)
    int bind(int fd, const sockaddr *address, socklen_t length)
    int connect(int fd, const sockaddr *address, socklen_t length)
    int listen(int fd, int backlog)
    int getsockname(int fd, sockaddr *address, socklen_t *length)
    int getpeername(int fd, sockaddr *address, socklen_t *length)
    int setsockopt(int fd, int level, int name, const void *value, socklen_t length)
    ssize_t recv(int fd, void *bytes, size_t count, int flags)
    ssize_t send(int fd, const void *bytes, size_t count, int flags)

cdef extern from * nogil:
    """
    #include <asm/socket.h>
    #include <linux/sock_diag.h>
    """
    enum:
        SO_MEMINFO
        SK_MEMINFO_RMEM_ALLOC
        SK_MEMINFO_RCVBUF
        SK_MEMINFO_SNDBUF
        SK_MEMINFO_VARS
        SK_MEMINFO_WMEM_QUEUED

cdef extern from * nogil:
    """
    /* The C library declares it to GNU sources only. */
    int accept4(int fd, struct sockaddr *address, socklen_t *length, int flags);
    """
    int accept4(int fd, sockaddr *address, socklen_t *length, int flags)

cdef extern from "netdb.h" nogil:
    enum:
        AI_PASSIVE
    struct addrinfo:
        int ai_flags
        int ai_family
        int ai_socktype
        socklen_t ai_addrlen
        sockaddr *ai_addr
        addrinfo *ai_next
    int getaddrinfo(const char *host, const char *service, const addrinfo *hints, addrinfo **found)
    void freeaddrinfo(addrinfo *found)
    const char *gai_strerror(int error)

cdef extern from "netinet/in.h" nogil:
    enum:
        IPPROTO_IPV6
        IPPROTO_TCP
        IPV6_V6ONLY
        INADDR_LOOPBACK
    struct in_addr:
        unsigned int s_addr
    struct sockaddr_in:
        sa_family_t sin_family
        unsigned short sin_port
        in_addr sin_addr
    struct in6_addr:
        pass
    struct sockaddr_in6:
        unsigned short sin6_port
        in6_addr sin6_addr
    unsigned int htonl(unsigned int)
    unsigned short htons(unsigned short)
    unsigned short ntohs(unsigned short)

cdef extern from "sys/un.h" nogil:
    struct sockaddr_un:
        sa_family_t sun_family
        char sun_path[108]

cdef extern from "arpa/inet.h" nogil:
    enum:
        INET6_ADDRSTRLEN
    const char *inet_ntop(int family, const void *address, char *out, socklen_t room)

cdef extern from "netinet/tcp.h" nogil:
    enum:
        TCP_KEEPCNT
        TCP_KEEPIDLE
        TCP_KEEPINTVL

cdef extern from "errno.h" nogil:
    enum:
        EAGAIN
        EINPROGRESS
        EADDRINUSE
        EADDRNOTAVAIL
        ECONNABORTED
        EINTR
