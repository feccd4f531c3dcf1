# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# The loss of all data: by this module, or by another module that knows nothing of chains.

from modules.bindings.libc cimport _exit
from modules.bindings.redismodule cimport RedisModule_Log, RedisModule_ResetDataset
from modules.core.once_table cimport once_clear
from modules.member.state.member cimport Member


cdef void drop_data(Member *m) noexcept nogil:
    """Delete all keys, and the replies that MEMBER.ONCE has kept. `own_call` marks it as intended, so that
    `end_before_loss` is not called.
    """
    m.keyspace.own_call = True
    RedisModule_ResetDataset(0, 0)
    once_clear(&m.clients.once)
    m.keyspace.own_call = False


cdef void end_before_loss(Member *m) noexcept nogil:
    """End the process, because something else is about to delete all data of a chained member.

    Another module can do so without passing the command filter. A member without its data must neither serve nor record
    that it has the data. When the process ends at once, its files keep the data.
    """
    RedisModule_Log(m.ctx, "warning", "something else than its chain is about to drop all data of this member: it "
                    "ends, and what is on its disk stays. The chain goes on without it")
    _exit(1)
