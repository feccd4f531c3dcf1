# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""The position in a member's RDB: the history of its data, how far it goes, the view that it was a member in, and which
keys are newer than the checkpoint.

The position is auxiliary data of a module's data type, before the keys. A server without this data type cannot load
such an RDB. So the master's module registers the type, too: in the README's walk-through all servers run in one folder,
and the master loads what a member saved there. If a server runs both modules, the second finds the type registered,
gets the handlers through a shared API, and the member sets its own.

The secret is not in the RDB, since everybody who reads the file could then pose as a member.
"""

from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy, memset, strlen

from modules.bindings.redismodule cimport (
    REDISMODULE_AUX_BEFORE_RDB, REDISMODULE_ERR, REDISMODULE_OK, REDISMODULE_TYPE_METHOD_VERSION, RedisModuleCtx,
    RedisModuleIO, RedisModuleTypeMethods, RedisModule_Alloc, RedisModule_CreateDataType, RedisModule_ExportSharedAPI,
    RedisModule_Free, RedisModule_GetSharedAPI, RedisModule_IsIOError, RedisModule_LoadSigned,
    RedisModule_LoadStringBuffer, RedisModule_LoadUnsigned, RedisModule_SaveSigned, RedisModule_SaveStringBuffer,
    RedisModule_SaveUnsigned,
)
from modules.core.checkpoint.record_format cimport NOTHING
from modules.core.checkpoint.recovery cimport Loaded
from modules.core.log cimport Boundary, MAX_BOUNDARIES
from modules.core.view cimport HISTORY_BYTES, RUN_ID_BYTES

cdef enum:
    # version 1 has no record; 1 and 2 have no checkpoint; 1 to 3 have no `numbered`; 1 to 4 have no kept replies
    POSITION_VERSION = 5


cdef struct Record:
    # The place in the chain that the data is from. A master forms a chain again by it (design.md, "Restart").
    int64_t epoch               # of the last view that this member adopted and was in; 0: none
    char run_id[RUN_ID_BYTES]   # of the process that was the member
    bint durable                # throughout that view, nothing was sent that was not on the disk


cdef struct Position:
    bint has_history            # False: the other fields are unused
    unsigned char history[HISTORY_BYTES]
    int64_t applied
    int boundary_count
    Boundary boundaries[MAX_BOUNDARIES]
    Record record
    int64_t numbered            # in a chain of all commands: the number of the newest MEMBER.PUT or DEL; -1: none
    uint64_t keys               # number of keys that follow in the RDB, for the progress of a copy
    Loaded checkpoint
    uint64_t newer              # number of keys that follow with updates that the checkpoint lacks
    uint64_t kept               # number of replies of MEMBER.ONCE that follow


cdef struct Newer:
    # A key whose newest update the checkpoint lacks, and the position of the iteration over these keys.
    const char *key
    size_t length
    int64_t sn
    bint deleted
    uint64_t index


cdef struct Kept:
    # The reply to a client's newest MEMBER.ONCE. They come in the order in which they are to be forgotten.
    const char *id
    size_t id_length
    int64_t sequence
    uint64_t digest
    const char *reply
    size_t reply_length
    const void *next            # where the iteration goes on; NULL: at the first


ctypedef void (*PositionSave)(Position *out) noexcept nogil
ctypedef bint (*PositionLoad)(const Position *position) noexcept nogil
ctypedef bint (*PositionNext)(Newer *newer) noexcept nogil
ctypedef void (*PositionTake)(const Newer *newer) noexcept nogil
ctypedef void (*PositionNextKept)(Kept *kept) noexcept nogil
ctypedef bint (*PositionTakeKept)(const Kept *kept) noexcept nogil

cdef struct PositionHandlers:
    PositionSave save           # fills in the position to be saved; NULL: nothing is saved
    # returns False if the position is impossible, and loading fails; NULL: positions are ignored
    PositionLoad load
    # the next key that is newer than the checkpoint, beginning with a zeroed Newer; returns False at the end
    PositionNext next
    PositionTake take           # gets each of these keys as it is loaded, after `load`
    PositionNextKept next_kept  # the next kept reply; there are as many as `save` has said
    PositionTakeKept take_kept  # gets each of these, after the keys; returns False if it is impossible


cdef extern from *:
    """
    __attribute__((weak, visibility("hidden"))) void *chain_position_handlers;
    """
    void *chain_position_handlers


cdef inline PositionHandlers *position_handlers() noexcept nogil:
    return <PositionHandlers *>chain_position_handlers


# ------------------------------------------------------------------------------------------------ reading, writing

cdef inline void position_write(RedisModuleIO *io, const Position *position) noexcept nogil:
    cdef int i
    RedisModule_SaveUnsigned(io, 1 if position.has_history else 0)
    if not position.has_history:
        return
    RedisModule_SaveStringBuffer(io, <const char *>&position.history[0], HISTORY_BYTES)
    RedisModule_SaveSigned(io, position.applied)
    RedisModule_SaveUnsigned(io, <uint64_t>position.boundary_count)
    for i in range(position.boundary_count):
        RedisModule_SaveSigned(io, position.boundaries[i].first_sn)
        RedisModule_SaveSigned(io, position.boundaries[i].epoch)
    RedisModule_SaveSigned(io, position.record.epoch)
    RedisModule_SaveStringBuffer(io, position.record.run_id, strlen(position.record.run_id))
    RedisModule_SaveUnsigned(io, 1 if position.record.durable else 0)
    RedisModule_SaveUnsigned(io, position.keys)
    RedisModule_SaveSigned(io, position.numbered)
    write_checkpoint(io, position)
    write_kept(io, position.kept)


cdef inline void write_kept(RedisModuleIO *io, uint64_t count) noexcept nogil:
    cdef Kept kept
    memset(&kept, 0, sizeof(Kept))
    RedisModule_SaveUnsigned(io, count)
    while count:
        position_handlers().next_kept(&kept)
        RedisModule_SaveStringBuffer(io, kept.id, kept.id_length)
        RedisModule_SaveSigned(io, kept.sequence)
        RedisModule_SaveUnsigned(io, kept.digest)
        RedisModule_SaveStringBuffer(io, kept.reply, kept.reply_length)
        count -= 1


cdef inline void write_checkpoint(RedisModuleIO *io, const Position *position) noexcept nogil:
    cdef Newer newer
    RedisModule_SaveUnsigned(io, 1 if position.checkpoint.tracked else 0)
    if not position.checkpoint.tracked:
        return
    RedisModule_SaveSigned(io, position.checkpoint.watermark)
    RedisModule_SaveUnsigned(io, 1 if position.checkpoint.incomplete else 0)
    RedisModule_SaveUnsigned(io, 1 if position.checkpoint.others else 0)
    RedisModule_SaveUnsigned(io, position.newer)
    memset(&newer, 0, sizeof(Newer))
    while position_handlers().next(&newer):
        RedisModule_SaveStringBuffer(io, newer.key, newer.length)
        RedisModule_SaveSigned(io, newer.sn)
        RedisModule_SaveUnsigned(io, 1 if newer.deleted else 0)


cdef inline bint read_bytes(RedisModuleIO *io, void *out, size_t wanted) noexcept nogil:
    """Read a string of exactly `wanted` bytes. Returns False for anything else."""
    cdef size_t length = 0
    cdef char *bytes = RedisModule_LoadStringBuffer(io, &length)
    cdef bint good = bytes != NULL and length == wanted
    if good:
        memcpy(out, bytes, wanted)
    if bytes != NULL:
        RedisModule_Free(bytes)
    return good


cdef inline bint read_record(RedisModuleIO *io, Record *out) noexcept nogil:
    out.epoch = RedisModule_LoadSigned(io)
    if RedisModule_IsIOError(io) or out.epoch < 0:
        return False
    if not read_bytes(io, out.run_id, RUN_ID_BYTES - 1 if out.epoch else 0):
        return False
    out.durable = RedisModule_LoadUnsigned(io) != 0
    return not RedisModule_IsIOError(io)


cdef inline bint position_read(RedisModuleIO *io, int version, Position *out) noexcept nogil:
    """Read a position. Returns False if it is not complete and valid (rule 7)."""
    cdef uint64_t count
    cdef int i
    out.has_history = RedisModule_LoadUnsigned(io) != 0
    if RedisModule_IsIOError(io) or not out.has_history:
        return not RedisModule_IsIOError(io)
    if not read_bytes(io, out.history, HISTORY_BYTES):
        return False
    out.applied = RedisModule_LoadSigned(io)
    count = RedisModule_LoadUnsigned(io)
    if RedisModule_IsIOError(io) or count > MAX_BOUNDARIES:
        return False
    out.boundary_count = <int>count
    for i in range(out.boundary_count):
        out.boundaries[i].first_sn = RedisModule_LoadSigned(io)
        out.boundaries[i].epoch = RedisModule_LoadSigned(io)
    if RedisModule_IsIOError(io) or (version > 1 and not read_record(io, &out.record)):
        return False
    out.keys = RedisModule_LoadUnsigned(io) if version > 1 else 0
    out.numbered = RedisModule_LoadSigned(io) if version > 3 else -1
    return not RedisModule_IsIOError(io) and (version < 3 or read_checkpoint(io, out))


cdef inline bint read_checkpoint(RedisModuleIO *io, Position *out) noexcept nogil:
    out.checkpoint.tracked = RedisModule_LoadUnsigned(io) != 0
    if RedisModule_IsIOError(io) or not out.checkpoint.tracked:
        return not RedisModule_IsIOError(io)
    out.checkpoint.watermark = RedisModule_LoadSigned(io)
    out.checkpoint.incomplete = RedisModule_LoadUnsigned(io) != 0
    out.checkpoint.others = RedisModule_LoadUnsigned(io) != 0
    out.newer = RedisModule_LoadUnsigned(io)
    # The watermark may exceed `applied`: a learner copies a checkpoint that is newer than its memory.
    return not RedisModule_IsIOError(io) and out.checkpoint.watermark >= NOTHING


cdef inline bint read_newer(RedisModuleIO *io, int64_t applied) noexcept nogil:
    """Read one key that is newer than the checkpoint. Returns False if it is not valid."""
    cdef Newer newer
    cdef char *key = RedisModule_LoadStringBuffer(io, &newer.length)
    cdef bint good
    if key == NULL:
        return False
    newer.key = key
    newer.sn = RedisModule_LoadSigned(io)
    newer.deleted = RedisModule_LoadUnsigned(io) != 0
    good = not RedisModule_IsIOError(io) and -1 <= newer.sn <= applied
    if good and position_handlers().take != NULL:
        position_handlers().take(&newer)
    RedisModule_Free(key)
    return good


cdef inline bint take_kept_reply(RedisModuleIO *io, Kept *kept) noexcept nogil:
    if RedisModule_IsIOError(io):
        return False
    return position_handlers().take_kept == NULL or position_handlers().take_kept(kept)


cdef inline bint read_kept(RedisModuleIO *io) noexcept nogil:
    """Read all kept replies. Returns False if they are not valid."""
    cdef uint64_t count = RedisModule_LoadUnsigned(io)
    cdef Kept kept
    cdef bint good = True
    memset(&kept, 0, sizeof(Kept))
    while good and count and not RedisModule_IsIOError(io):
        kept.id = RedisModule_LoadStringBuffer(io, &kept.id_length)
        kept.sequence = RedisModule_LoadSigned(io)
        kept.digest = RedisModule_LoadUnsigned(io)
        kept.reply = RedisModule_LoadStringBuffer(io, &kept.reply_length)
        good = take_kept_reply(io, &kept)
        RedisModule_Free(<void *>kept.id)
        RedisModule_Free(<void *>kept.reply)
        count -= 1
    return good and not RedisModule_IsIOError(io)


# ---------------------------------------------------------------------------------------------------- the data type

cdef inline void position_aux_save(RedisModuleIO *io, int when) noexcept nogil:
    """Write the position. Usually this runs in a forked child, whose memory is that of the moment of the fork."""
    cdef Position position
    memset(&position, 0, sizeof(Position))
    if position_handlers().save != NULL:
        position_handlers().save(&position)
    position_write(io, &position)


cdef inline int position_aux_load(RedisModuleIO *io, int version, int when) noexcept nogil:
    cdef Position position
    memset(&position, 0, sizeof(Position))
    if version < 1 or version > POSITION_VERSION or not position_read(io, version, &position):
        return REDISMODULE_ERR
    if position.has_history and position_handlers().load != NULL and not position_handlers().load(&position):
        return REDISMODULE_ERR
    while position.newer:
        if not read_newer(io, position.applied):
            return REDISMODULE_ERR
        position.newer -= 1
    if version > 4 and position.has_history and not read_kept(io):
        return REDISMODULE_ERR
    return REDISMODULE_OK


cdef inline bint position_register(RedisModuleCtx *ctx, const PositionHandlers *handlers) noexcept nogil:
    """Register the data type. If `handlers` is not NULL, they are used from now on. Returns False if Redis refuses.

    Redis never unloads a module with a data type.
    """
    global chain_position_handlers
    cdef RedisModuleTypeMethods methods
    chain_position_handlers = RedisModule_GetSharedAPI(ctx, "chain-position")
    if chain_position_handlers == NULL:
        chain_position_handlers = RedisModule_Alloc(sizeof(PositionHandlers))
        memset(chain_position_handlers, 0, sizeof(PositionHandlers))
        memset(&methods, 0, sizeof(methods))
        methods.version = REDISMODULE_TYPE_METHOD_VERSION
        methods.aux_load = position_aux_load
        methods.aux_save = position_aux_save
        methods.aux_save_triggers = REDISMODULE_AUX_BEFORE_RDB
        if RedisModule_CreateDataType(ctx, "chain-pos", POSITION_VERSION, &methods) == NULL:
            return False
        RedisModule_ExportSharedAPI(ctx, "chain-position", chain_position_handlers)
    if handlers != NULL:
        position_handlers()[0] = handlers[0]
    return True
