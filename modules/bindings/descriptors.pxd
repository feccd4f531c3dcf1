# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""What is used of tables of file descriptors, and of passing descriptors from one table to another. Extern only."""

cdef extern from "sys/socket.h" nogil:
    enum:
        AF_UNIX
        MSG_CTRUNC
        MSG_DONTWAIT
        MSG_PEEK
        MSG_TRUNC
        SCM_RIGHTS
        SHUT_RDWR
        SHUT_WR
        SOCK_SEQPACKET
    struct iovec:
        void *iov_base
        size_t iov_len
    struct msghdr:
        iovec *msg_iov
        size_t msg_iovlen
        void *msg_control
        size_t msg_controllen
        int msg_flags
    struct cmsghdr:
        size_t cmsg_len
        int cmsg_level
        int cmsg_type
    cmsghdr *CMSG_FIRSTHDR(msghdr *)
    unsigned char *CMSG_DATA(cmsghdr *)
    size_t CMSG_LEN(size_t)
    size_t CMSG_SPACE(size_t)
    long sendmsg(int fd, const msghdr *message, int flags)
    long recvmsg(int fd, msghdr *message, int flags)
    int shutdown(int fd, int how)
    int socketpair(int family, int kind, int protocol, int *pair)

cdef extern from "dirent.h" nogil:
    ctypedef struct DIR:
        pass
    struct dirent:
        char *d_name
    DIR *opendir(const char *path)
    dirent *readdir(DIR *folder)
    int closedir(DIR *folder)

cdef extern from "sys/resource.h" nogil:
    enum:
        RLIMIT_NOFILE
    struct rlimit:
        unsigned long rlim_cur
        unsigned long rlim_max
    int getrlimit(int what, rlimit *out)
    int setrlimit(int what, const rlimit *limit)

cdef extern from "unistd.h" nogil:
    long readlink(const char *path, char *out, size_t room)

cdef extern from * nogil:
    """
    /* The C library declares these to GNU sources only. */
    #ifndef CLONE_FILES
    #define CLONE_FILES 0x400
    #endif
    #ifndef MSG_CMSG_CLOEXEC
    #define MSG_CMSG_CLOEXEC 0x40000000
    #endif
    int unshare(int flags);
    int dup3(int from, int to, int flags);
    int close_range(unsigned int first, unsigned int last, int flags);
    """
    enum:
        CLONE_FILES
        MSG_CMSG_CLOEXEC
    int unshare(int flags)
    int dup3(int fd, int wanted, int flags)
    int close_range(unsigned int first, unsigned int last, int flags)
