# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# A child that Redis forks to save data inherits the server's connections. The child must die when the server is
# killed: otherwise the connections of neighbours and clients stay open until the child ends.
#
# The child closes the lifelines at once, because the end of a lifeline means the end of the server.

from modules.bindings.libc cimport PR_SET_PDEATHSIG, SIGKILL, getpid, getppid, kill, pid_t, prctl, pthread_atfork

from modules.member.gate cimport gate_leave
from modules.member.state.member cimport the_member


cdef extern from *:
    """
    __attribute__((weak, visibility("hidden"))) pid_t chain_forking_process;
    """
    pid_t chain_forking_process


cdef void before_fork() noexcept nogil:
    global chain_forking_process
    chain_forking_process = getpid()


cdef void in_child() noexcept nogil:
    """Let the kernel kill this child when the server dies. The kernel does not report a server that died before the
    request, so the parent's process id is compared as well.
    """
    prctl(PR_SET_PDEATHSIG, SIGKILL)
    if getppid() != chain_forking_process:
        kill(getpid(), SIGKILL)
    lifelines_leave(the_member())
    gate_leave(the_member())


cdef bint fork_register() noexcept nogil:
    """Returns False if the handlers of fork() could not be installed."""
    return pthread_atfork(before_fork, NULL, in_child) == 0
