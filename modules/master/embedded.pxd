# cython: language_level=3
"""What modules/master offers to the modules that it is linked into."""

from modules.bindings.redismodule cimport RedisModuleCtx, RedisModuleString
from modules.master.state cimport Kind

cdef extern int master_load(
    RedisModuleCtx *ctx, RedisModuleString **argv, int argc, const Kind *kind) noexcept nogil
cdef extern int master_unload(RedisModuleCtx *ctx) noexcept nogil
