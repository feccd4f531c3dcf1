# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""The part of POSIX threads that is used here. Extern only."""

cdef extern from "pthread.h" nogil:
    ctypedef struct pthread_t:
        pass
    ctypedef struct pthread_attr_t:
        pass
    ctypedef struct pthread_mutex_t:
        pass
    ctypedef struct pthread_cond_t:
        pass
    enum:
        PTHREAD_CREATE_DETACHED
        PTHREAD_CREATE_JOINABLE
    int pthread_attr_init(pthread_attr_t *)
    int pthread_attr_destroy(pthread_attr_t *)
    int pthread_attr_setdetachstate(pthread_attr_t *, int)
    int pthread_create(pthread_t *, const pthread_attr_t *, void *(*)(void *) noexcept nogil, void *)
    int pthread_join(pthread_t, void **)
    int pthread_mutex_init(pthread_mutex_t *, void *)
    int pthread_mutex_lock(pthread_mutex_t *)
    int pthread_mutex_trylock(pthread_mutex_t *)
    int pthread_mutex_unlock(pthread_mutex_t *)
    int pthread_cond_init(pthread_cond_t *, void *)
    int pthread_cond_wait(pthread_cond_t *, pthread_mutex_t *)
    int pthread_cond_signal(pthread_cond_t *)

cdef extern from "signal.h" nogil:
    ctypedef struct sigset_t:
        pass
    enum:
        SIG_SETMASK
        SIGABRT
        SIGBUS
        SIGFPE
        SIGILL
        SIGSEGV
    int sigfillset(sigset_t *)
    int sigdelset(sigset_t *, int)
    int pthread_sigmask(int how, const sigset_t *, sigset_t *before)
