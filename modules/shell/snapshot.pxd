# cython: language_level=3
"""A member's position inside its RDB: to a learner over Redis's full synchronisation, and to itself on disk."""

from libc.string cimport memcpy

from modules.core.chain cimport chain_role
from modules.core.disk cimport chain_restore
from modules.core.log cimport Boundary
from modules.core.messages cimport ACCEPTED, ROLE_ALONE, ROLE_LEARNER
from modules.core.view cimport HISTORY_BYTES
from modules.position cimport Position, Record
from modules.redismodule cimport RedisModule_DbSize, RedisModule_Log
from modules.shell.join cimport empty_log
from modules.shell.marker cimport is_unknown_chains
from modules.shell.state cimport JOIN_COPYING, Member, SOURCE_AOF, SOURCE_OTHERS, the_member


cdef inline void snapshot_save(Position *out) noexcept nogil:
    cdef Member *m = the_member()
    out.has_history = m.chain.has_history and not is_unknown_chains(m)
    memcpy(out.history, m.chain.history, HISTORY_BYTES)
    out.applied = m.chain.applied
    out.boundary_count = m.chain.log.boundary_count
    memcpy(out.boundaries, m.chain.log.boundaries, out.boundary_count * sizeof(Boundary))
    out.record = m.disk.record
    out.keys = RedisModule_DbSize(m.ctx)


cdef inline void take_record(Member *m, const Record *loaded) noexcept nogil:
    """From another server's data, whose record it is, comes none; an RDB says nothing of what came after it."""
    if m.disk.source == SOURCE_OTHERS:
        return
    m.disk.record = loaded[0]
    if m.disk.source != SOURCE_AOF:
        m.disk.record.durable = False


cdef inline bint snapshot_load(const Position *position) noexcept nogil:
    cdef Member *m = the_member()
    if chain_role(&m.chain) != ROLE_ALONE and not (chain_role(&m.chain) == ROLE_LEARNER and m.join == JOIN_COPYING):
        RedisModule_Log(m.ctx, "warning", "a snapshot was loaded into a member of a chain: its position is ignored")
        return True
    empty_log(m)
    if chain_restore(
        &m.chain, position.history, position.applied, position.boundaries, position.boundary_count,
    ) != ACCEPTED:
        return False
    take_record(m, &position.record)
    m.disk.missing = False
    m.copied_keys = position.keys
    m.snapshot_loaded = True
    return True
