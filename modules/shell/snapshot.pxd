# cython: language_level=3
"""A member's position inside its RDB: to a learner over Redis's full synchronisation, and to itself on disk.

Module auxiliary data, before the keys. The secret is not in it: whoever reads a snapshot could pose as a member.
"""

from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy, memset

from modules.core.chain cimport ACCEPTED, ROLE_ALONE, ROLE_LEARNER, chain_restore, chain_role
from modules.core.log cimport Boundary, MAX_BOUNDARIES
from modules.core.view cimport HISTORY_BYTES
from modules.redismodule cimport (
    REDISMODULE_AUX_BEFORE_RDB, REDISMODULE_ERR, REDISMODULE_OK, REDISMODULE_TYPE_METHOD_VERSION,
    RedisModule_CreateDataType, RedisModule_Free, RedisModule_IsIOError, RedisModule_LoadSigned,
    RedisModule_LoadStringBuffer, RedisModule_LoadUnsigned, RedisModule_Log, RedisModule_SaveSigned,
    RedisModule_SaveStringBuffer, RedisModule_SaveUnsigned, RedisModuleCtx, RedisModuleIO, RedisModuleTypeMethods,
)
from modules.shell.state cimport JOIN_COPYING, Member, the_member

cdef enum:
    SNAPSHOT_VERSION = 1


cdef inline void snapshot_save(RedisModuleIO *io, int when) noexcept nogil:
    """In the forked child mostly: the chain is as it was at the fork, and so are the keys."""
    cdef Member *m = the_member()
    cdef int i
    RedisModule_SaveUnsigned(io, 1 if m.chain.has_history else 0)
    if not m.chain.has_history:
        return
    RedisModule_SaveStringBuffer(io, <const char *>&m.chain.history[0], HISTORY_BYTES)
    RedisModule_SaveSigned(io, m.chain.applied)
    RedisModule_SaveUnsigned(io, <uint64_t>m.chain.log.boundary_count)
    for i in range(m.chain.log.boundary_count):
        RedisModule_SaveSigned(io, m.chain.log.boundaries[i].first_sn)
        RedisModule_SaveSigned(io, m.chain.log.boundaries[i].epoch)


cdef inline bint load_history(RedisModuleIO *io, unsigned char *out) noexcept nogil:
    cdef size_t length = 0
    cdef char *bytes = RedisModule_LoadStringBuffer(io, &length)
    cdef bint good = bytes != NULL and length == HISTORY_BYTES
    if good:
        memcpy(out, bytes, HISTORY_BYTES)
    if bytes != NULL:
        RedisModule_Free(bytes)
    return good


cdef inline int snapshot_load(RedisModuleIO *io, int version, int when) noexcept nogil:
    """Anything that is not a whole position fails the load (rule 7): data without a position is of no use."""
    cdef Member *m = the_member()
    cdef unsigned char history[HISTORY_BYTES]
    cdef Boundary boundaries[MAX_BOUNDARIES]
    cdef int64_t applied
    cdef uint64_t count
    cdef uint64_t i
    if version != SNAPSHOT_VERSION:
        return REDISMODULE_ERR
    if RedisModule_LoadUnsigned(io) == 0:
        return REDISMODULE_ERR if RedisModule_IsIOError(io) else REDISMODULE_OK
    if not load_history(io, history):
        return REDISMODULE_ERR
    applied = RedisModule_LoadSigned(io)
    count = RedisModule_LoadUnsigned(io)
    if RedisModule_IsIOError(io) or count > MAX_BOUNDARIES:
        return REDISMODULE_ERR
    for i in range(count):
        boundaries[i].first_sn = RedisModule_LoadSigned(io)
        boundaries[i].epoch = RedisModule_LoadSigned(io)
    if RedisModule_IsIOError(io):
        return REDISMODULE_ERR
    if chain_role(&m.chain) != ROLE_ALONE and not (chain_role(&m.chain) == ROLE_LEARNER and m.join == JOIN_COPYING):
        RedisModule_Log(m.ctx, "warning", "a snapshot was loaded into a member of a chain: its position is ignored")
        return REDISMODULE_OK
    if chain_restore(&m.chain, history, applied, boundaries, <int>count) != ACCEPTED:
        return REDISMODULE_ERR
    m.snapshot_loaded = True
    return REDISMODULE_OK


cdef inline bint snapshot_register(RedisModuleCtx *ctx) noexcept nogil:
    """Also why MODULE UNLOAD is refused: Redis does not let go of a module with a data type."""
    cdef RedisModuleTypeMethods methods
    memset(&methods, 0, sizeof(methods))
    methods.version = REDISMODULE_TYPE_METHOD_VERSION
    methods.aux_load = snapshot_load
    methods.aux_save = snapshot_save
    methods.aux_save_triggers = REDISMODULE_AUX_BEFORE_RDB
    return RedisModule_CreateDataType(ctx, "chain-pos", SNAPSHOT_VERSION, &methods) != NULL
