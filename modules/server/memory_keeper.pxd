# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""A process that shares the server's memory, and does nothing until the server has ended.

The kernel frees the memory of a killed process before it closes the process's sockets: with a gigabyte, nobody knows of
the death for a tenth of a second. Memory that another process shares is not freed. So the sockets close at once, which
the keeper notices by a pipe. It frees the memory by its own end, a moment later: to free it is work for a processor,
which the repair of the chain may want first.

The keeper shares `errno` and all else of the thread that made it. So it makes system calls only, and none that fails
when that thread has gone on.
"""

from libc.stdlib cimport calloc, getenv
from libc.string cimport strstr

from modules.bindings.libc cimport (
    CLONE_VM, O_CLOEXEC, PR_SET_NAME, SYS_close, SYS_close_range, SYS_exit, SYS_nanosleep, SYS_prctl, SYS_read,
    SYS_write, clone, close, pipe2, read, syscall, timespec,
)
from modules.bindings.pthread cimport SIG_SETMASK, pthread_sigmask, sigfillset, sigset_t
from modules.bindings.redismodule cimport RedisModuleCtx, RedisModule_Log

cdef enum:
    KEEPER_STACK_BYTES = 64 * 1024
    KEEPER_PAUSE_MS = 100       # between the server's end and the keeper's: a repair takes less, mostly


cdef struct MemoryKeeper:
    # Lives as long as the keeper. The server holds the second end of the first pipe, and writes nothing.
    int server_lives[2]
    int is_ready[2]
    char stack[KEEPER_STACK_BYTES]


cdef inline bint keeper_closes_others(const MemoryKeeper *keeper) noexcept nogil:
    """Close the copies of all descriptors but two. Returns False if the kernel cannot (before Linux 5.9)."""
    cdef long low = min(keeper.server_lives[0], keeper.is_ready[1])
    cdef long high = max(keeper.server_lives[0], keeper.is_ready[1])
    if low > 0 and syscall(SYS_close_range, 0L, low - 1, 0L) != 0:
        return False
    if high - low > 1 and syscall(SYS_close_range, low + 1, high - 1, 0L) != 0:
        return False
    return syscall(SYS_close_range, high + 1, 0xFFFFFFFFL, 0L) == 0


cdef inline int keeper_run(void *argument) noexcept nogil:
    cdef MemoryKeeper *keeper = <MemoryKeeper *>argument
    cdef char byte = 0
    cdef timespec pause
    pause.tv_sec, pause.tv_nsec = 0, KEEPER_PAUSE_MS * 1000000
    if keeper_closes_others(keeper):
        syscall(SYS_prctl, <long>PR_SET_NAME, b"memory-keeper", 0L, 0L, 0L)
        syscall(SYS_write, <long>keeper.is_ready[1], &byte, 1L)
        syscall(SYS_close, <long>keeper.is_ready[1])
        syscall(SYS_read, <long>keeper.server_lives[0], &byte, 1L)      # until the server has ended
        syscall(SYS_nanosleep, &pause, NULL)
    syscall(SYS_exit, 0L)
    return 0


cdef inline bint keeper_start(MemoryKeeper *keeper) noexcept nogil:
    """Returns whether the keeper is ready. No signal reaches it, except for SIGKILL."""
    cdef sigset_t blocked
    cdef sigset_t before
    cdef char byte
    cdef bint is_ready
    if pipe2(keeper.server_lives, O_CLOEXEC) != 0:
        return False
    if pipe2(keeper.is_ready, O_CLOEXEC) != 0:
        close(keeper.server_lives[0])
        close(keeper.server_lives[1])
        return False
    sigfillset(&blocked)
    pthread_sigmask(SIG_SETMASK, &blocked, &before)
    is_ready = clone(keeper_run, &keeper.stack[KEEPER_STACK_BYTES], CLONE_VM, keeper) > 0
    pthread_sigmask(SIG_SETMASK, &before, NULL)
    close(keeper.is_ready[1])
    is_ready = is_ready and read(keeper.is_ready[0], &byte, 1) == 1
    close(keeper.is_ready[0])
    close(keeper.server_lives[0])
    if not is_ready:
        close(keeper.server_lives[1])
    return is_ready


cdef inline void keep_memory(RedisModuleCtx *ctx) noexcept nogil:
    """Called once, on the main thread. Without a keeper a death is noticed later, and nothing else is different.

    valgrind knows no such processes, and would end.
    """
    cdef const char *preloaded = getenv("LD_PRELOAD")
    cdef MemoryKeeper *keeper
    if preloaded != NULL and strstr(preloaded, "vgpreload") != NULL:
        return
    keeper = <MemoryKeeper *>calloc(1, sizeof(MemoryKeeper))
    if keeper == NULL or not keeper_start(keeper):
        RedisModule_Log(ctx, "notice", "no process keeps this server's memory: if the server is killed, that is "
                        "noticed only when the kernel has freed all of it")
