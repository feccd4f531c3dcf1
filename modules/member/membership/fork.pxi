# cython: language_level=3
# A child forked to save data holds the server's connections open: when the server is killed, it must die too.
#
# Else the neighbours and clients of a killed member see their connections end only when its child notices by itself.
# The lifelines, whose end says that the server has ended, the child gives up at once.

from modules.bindings.libc cimport PR_SET_PDEATHSIG, SIGKILL, getpid, getppid, kill, pid_t, prctl, pthread_atfork

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
    """Asked too late of a parent that has died since, the kernel sends nothing: so look."""
    prctl(PR_SET_PDEATHSIG, SIGKILL)
    if getppid() != chain_forking_process:
        kill(getpid(), SIGKILL)
    lifelines_leave(the_member())


cdef bint fork_register() noexcept nogil:
    return pthread_atfork(before_fork, NULL, in_child) == 0
