# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""The kind of chain that this server can be in (docs/configuration.md, `member.commands`)."""

from modules.bindings.libc cimport F_OK, access
from modules.bindings.redismodule cimport RedisModuleCtx
from modules.core.view cimport KIND_ALL, KIND_PUT, is_no_history
from modules.member.state.checkpoint cimport MODE_NORMAL
from modules.member.state.member cimport Member
from modules.member.state.persistence cimport Marker
from modules.member.state.settings cimport COMMANDS_ALL, COMMANDS_AUTO
from modules.server.redis_calls cimport redis_setting


cdef inline bint has_snapshot(RedisModuleCtx *ctx) noexcept nogil:
    """Returns whether Redis will load an RDB when it starts, which may be a chain's although no identity file says so.
    """
    cdef char name[256]
    return redis_setting(ctx, "dbfilename", name, sizeof(name)) and access(name, F_OK) == 0


cdef inline bint names_kind(const Marker *marker) noexcept nogil:
    """Returns whether there is an identity file, and it could be read."""
    return marker.found and not is_no_history(marker.history)


cdef inline int own_kind(const Member *m) noexcept nogil:
    """The kind of the chain that this server is in or has data of; if there is none, of the one that it would begin or
    join.
    """
    if m.settings.commands != COMMANDS_AUTO:
        return KIND_ALL if m.settings.commands == COMMANDS_ALL else KIND_PUT
    if names_kind(&m.disk.marker):
        return m.disk.marker.kind
    return KIND_ALL if m.settings.gcs_mode == MODE_NORMAL and not m.gate.absent else KIND_PUT


cdef inline bint is_bound_to_all(const Member *m) noexcept nogil:
    """Returns whether only a chain of kind `all` is possible here, whatever member.gcs-mode says."""
    return own_kind(m) == KIND_ALL and (m.settings.commands == COMMANDS_ALL or names_kind(&m.disk.marker))
