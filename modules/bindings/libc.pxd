# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""The functions of the C library that are used here and that Cython does not declare. Extern only."""

from libc.stdio cimport FILE

cdef extern from "sys/socket.h" nogil:
    enum:
        SOL_SOCKET
        SO_ERROR
        SO_PEERCRED
    ctypedef unsigned int socklen_t
    int getsockopt(int fd, int level, int name, void *value, socklen_t *length)
    int setsockopt(int fd, int level, int name, const void *value, socklen_t length)

cdef extern from "netinet/tcp.h" nogil:
    enum:
        TCP_NODELAY
        TCP_QUICKACK
        TCP_USER_TIMEOUT

cdef extern from "netinet/in.h" nogil:
    enum:
        IPPROTO_TCP

cdef extern from "time.h" nogil:
    enum:
        CLOCK_BOOTTIME
        CLOCK_MONOTONIC
    struct timespec:
        long tv_sec
        long tv_nsec
    int clock_gettime(int, timespec *)

cdef extern from "unistd.h" nogil:
    ctypedef int pid_t
    pid_t getpid()
    pid_t getppid()
    int fsync(int fd)
    int ftruncate(int fd, long length)
    int close(int fd)
    void _exit(int status)
    long read(int fd, void *bytes, size_t count)
    long write(int fd, const void *bytes, size_t count)
    enum:
        F_OK
    int access(const char *path, int mode)
    char *getcwd(char *out, size_t room)

cdef extern from "poll.h" nogil:
    enum:
        POLLIN
        POLLOUT
    struct pollfd:
        int fd
        short events
        short revents
    int poll(pollfd *, unsigned long count, int timeout_ms)

cdef extern from "sys/resource.h" nogil:
    enum:
        PRIO_PROCESS
    int setpriority(int which, int who, int nice)

cdef extern from "sys/eventfd.h" nogil:
    enum:
        EFD_CLOEXEC
        EFD_NONBLOCK
    int eventfd(unsigned int count, int flags)

cdef extern from "stdio.h" nogil:
    int fileno(FILE *)

cdef extern from "limits.h" nogil:
    enum:
        PATH_MAX

cdef extern from "stdlib.h" nogil:
    char *realpath(const char *path, char *resolved)    # `resolved` must have room for PATH_MAX bytes

cdef extern from "string.h" nogil:
    void *memrchr(const void *, int, size_t)
    void *memmem(const void *where, size_t, const void *what, size_t)
    char *strtok_r(char *text, const char *delimiters, char **rest)

cdef extern from "dlfcn.h" nogil:
    ctypedef struct Dl_info:
        const char *dli_fname
    int dladdr(const void *, Dl_info *)

cdef extern from "fcntl.h" nogil:
    enum:
        O_CLOEXEC
        O_RDONLY
        O_DIRECTORY
        F_DUPFD_CLOEXEC
    int open(const char *path, int flags, ...)
    int fcntl(int fd, int command, ...)

cdef extern from "signal.h" nogil:
    enum:
        SIGKILL
    int kill(pid_t process, int number)

cdef extern from *:
    """
    #include <sched.h>
    #include <sys/syscall.h>
    #include <unistd.h>
    #ifndef SYS_close_range
    #define SYS_close_range 436
    #endif
    """
    enum:
        CLONE_VM
        SYS_close
        SYS_close_range
        SYS_exit
        SYS_nanosleep
        SYS_prctl
        SYS_read
        SYS_write
    int clone(int (*function)(void *) noexcept nogil, void *stack, int flags, void *argument, ...) nogil
    int pipe2(int *ends, int flags) nogil
    long syscall(long number, ...) nogil

cdef extern from "sys/prctl.h" nogil:
    enum:
        PR_SET_NAME
        PR_SET_PDEATHSIG
    int prctl(int option, ...)

cdef extern from "pthread.h" nogil:
    int pthread_atfork(void (*before)() noexcept nogil, void (*parent)() noexcept nogil, void (*child)() noexcept nogil)

cdef extern from "errno.h" nogil:
    enum:
        EACCES
        EBUSY
        ECONNRESET
        EINVAL
        ENOENT
        ENOTSUP
        EPIPE
        ESPIPE
    int errno

cdef extern from *:
    """
    #include <errno.h>
    static inline void chain_clear_errno(void) { errno = 0; }
    """
    void clear_errno "chain_clear_errno"() noexcept nogil
