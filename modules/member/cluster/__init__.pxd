# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""What other rooms call of modules/member/cluster. The functions are defined, and documented, in the files named here.
"""

from modules.bindings.redismodule cimport RedisModuleCtx, RedisModuleString

# commands.pxi
cdef extern int on_cluster(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil
cdef extern int on_cluster_any(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil
