# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""Threads of the members and masters.

The threads, and the threads that they start, block all signals: a signal must reach the main thread, whose event loop
it wakes. Only signals of faults are not blocked, since the server writes its crash report on the thread with the fault.
"""

from modules.bindings.pthread cimport (
    PTHREAD_CREATE_DETACHED, PTHREAD_CREATE_JOINABLE, SIG_SETMASK, SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV,
    pthread_attr_destroy, pthread_attr_init, pthread_attr_setdetachstate, pthread_attr_t, pthread_create,
    pthread_sigmask, pthread_t, sigdelset, sigfillset, sigset_t,
)


cdef inline void all_but_faults(sigset_t *out) noexcept nogil:
    sigfillset(out)
    sigdelset(out, SIGSEGV)
    sigdelset(out, SIGBUS)
    sigdelset(out, SIGFPE)
    sigdelset(out, SIGILL)
    sigdelset(out, SIGABRT)


cdef inline bint thread_start(
    pthread_t *thread, void *(*main)(void *) noexcept nogil, void *argument, bint detached,
) noexcept nogil:
    """Start a thread. Returns False if that fails."""
    cdef pthread_attr_t attributes
    cdef sigset_t blocked
    cdef sigset_t before
    cdef bint good
    all_but_faults(&blocked)
    pthread_attr_init(&attributes)
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED if detached else PTHREAD_CREATE_JOINABLE)
    pthread_sigmask(SIG_SETMASK, &blocked, &before)
    good = pthread_create(thread, &attributes, main, argument) == 0
    pthread_sigmask(SIG_SETMASK, &before, NULL)
    pthread_attr_destroy(&attributes)
    return good
