# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""The part of epoll that is used here. Extern only."""

from libc.stdint cimport uint32_t, uint64_t

cdef extern from "sys/epoll.h" nogil:
    enum:
        EPOLLERR
        EPOLLET
        EPOLLHUP
        EPOLLIN
        EPOLLOUT
        EPOLLRDHUP
        EPOLL_CLOEXEC
        EPOLL_CTL_ADD
        EPOLL_CTL_DEL
        EPOLL_CTL_MOD
    ctypedef union epoll_data_t:
        void *ptr
        uint64_t u64
    struct epoll_event:
        uint32_t events
        epoll_data_t data
    int epoll_create1(int flags)
    int epoll_ctl(int epoll, int operation, int fd, epoll_event *event)
    int epoll_wait(int epoll, epoll_event *events, int room, int timeout_ms)
