# cython: language_level=3
"""What the other rooms use of modules/member/etcd_heartbeat: the functions are defined in the files named here."""

from modules.bindings.redismodule cimport RedisModuleCtx, RedisModuleString
from modules.member.state.member cimport Member

# command.pxi
cdef extern bint heartbeat_init(Member *m) noexcept nogil
cdef extern void heartbeat_resume(Member *m) noexcept nogil
cdef extern int connect_command(Member *m, RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil
