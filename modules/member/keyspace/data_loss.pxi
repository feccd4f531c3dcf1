# cython: language_level=3
# When all data is dropped: by ourselves, or by what knows nothing of a chain.

from modules.bindings.libc cimport _exit
from modules.bindings.redismodule cimport RedisModule_Log, RedisModule_ResetDataset
from modules.member.state.member cimport Member


cdef void drop_data(Member *m) noexcept nogil:
    """As our own doing."""
    m.keyspace.own_call = True
    RedisModule_ResetDataset(0, 0)
    m.keyspace.own_call = False


cdef void end_before_loss(Member *m) noexcept nogil:
    """What is about to drop a chained member's data, such as another module, is past the command filter. A member
    without its data must neither serve nor say on its disk that it has it: the process ends, and its disk is as it was.
    """
    RedisModule_Log(m.ctx, "warning", "something else than its chain is about to drop all data of this member: it "
                    "ends, and what is on its disk stays. The chain goes on without it")
    _exit(1)
