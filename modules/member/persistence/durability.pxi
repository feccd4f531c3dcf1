# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# What waits for this member's disk, and what its records may claim afterwards (design.md, "Restart").
#
# With `appendonly yes` and `appendfsync always`, no update is committed before it is on the disk: this member vouches
# for none that its disk lacks. It forwards them at once.
# Updates are recorded in the before-sleep event, and Redis writes the file between that event and its sleep. So when
# Redis wakes, all that was recorded up to the end of the event is on the disk.
#
# The record of a place in a view claims to be durable if this holds throughout the view. Before it stops to hold, the
# claim is made void.

from libc.stdint cimport int64_t
from libc.string cimport memcpy, memset, strcmp

from modules.bindings.redismodule cimport (
    REDISMODULE_CTX_FLAGS_ACTIVE_CHILD, RedisModuleConfigChange, RedisModuleServerInfoData,
    RedisModule_FreeServerInfo, RedisModule_GetContextFlags, RedisModule_GetServerInfo, RedisModule_Log,
    RedisModule_Replicate, RedisModule_ServerInfoGetFieldC, RedisModule_ServerInfoGetFieldUnsigned,
)
from modules.core.chain cimport NO_LIMIT
from modules.core.durability cimport durability_note_saved, durability_set_recording
from modules.core.view cimport RUN_ID_BYTES
from modules.member.state.member cimport Member
from modules.member.state.membership cimport JOIN_COPIED, JOIN_NONE
from modules.server.position cimport Record
from modules.server.redis_calls cimport is_configured

cdef enum:
    MAX_COUNTED = 128           # changes counted in one tick; more would cost time, and no save point needs them


cdef bint is_claimed(const Member *m) noexcept nogil:
    """Returns whether, after an end of the process, the disk would claim to have all that is committed."""
    return m.chain.me >= 0 and m.disk.claimed > m.disk.marker.void_epoch


cdef void disk_weigh(Member *m) noexcept nogil:
    """Decide what waits for the disk, after a change of a setting, the view or the file.

    A claim that is no longer true and cannot be made void yet keeps everything from being committed.
    """
    cdef bint waits = m.disk.always and m.disk.whole and m.chain.has_history
    m.disk.void_due = is_claimed(m) and not waits and not marker_void(m, m.disk.claimed)
    if m.disk.void_due:
        durability_note_saved(&m.chain, min(m.chain.on_disk, m.chain.applied))
        return
    if m.chain.me >= 0 and m.disk.record.durable and not waits:
        m.disk.record.durable = False
        m.disk.record_due = True
    m.disk.waits = waits
    # Redis itself writes the effects of a chain of all commands into the file.
    if (m.disk.recording and not m.chain.log.streams) != (m.chain.recorded != NO_LIMIT):
        durability_set_recording(&m.chain, m.disk.recording and not m.chain.log.streams)
    if waits:
        durability_note_saved(&m.chain, m.disk.flushed)
    elif m.disk.stuck:
        durability_note_saved(&m.chain, min(m.chain.on_disk, m.chain.applied))
    else:
        durability_note_saved(&m.chain, NO_LIMIT)


# ------------------------------------------------------------------------------------------------ the place

cdef void disk_take_place(Member *m) noexcept nogil:
    """Note that a view was adopted: the place of this member is to be recorded."""
    disk_weigh(m)
    memset(&m.disk.record, 0, sizeof(Record))
    if m.chain.me >= 0:
        m.disk.record.epoch = m.chain.view.epoch
        memcpy(m.disk.record.run_id, m.self.run_id, RUN_ID_BYTES)
        m.disk.record.durable = m.disk.waits
        if m.disk.waits:
            m.disk.claimed = m.chain.view.epoch
        m.disk.missing = False
    m.disk.record_due = True


cdef void disk_leave_place(Member *m) noexcept nogil:
    """Note that this server is about to join another chain, or to take another place: its old place is void."""
    disk_weigh(m)           # a server that joins by log knows only now that its log streams
    memset(&m.disk.record, 0, sizeof(Record))
    m.disk.record_due = m.chain.has_history and not is_unknown_chains(m)


# ---------------------------------------------------------------------------------------- the append-only file


cdef unsigned long long info_number(RedisModuleServerInfoData *info, const char *field) noexcept nogil:
    return RedisModule_ServerInfoGetFieldUnsigned(info, field, NULL)


cdef Rewrite first_rewrite(Member *m) noexcept nogil:
    """Returns the progress of the file's first rewrite. Before its end, a file that was begun anew holds nothing."""
    cdef RedisModuleServerInfoData *info = RedisModule_GetServerInfo(m.ctx, "persistence")
    cdef const char *status = RedisModule_ServerInfoGetFieldC(info, "aof_last_bgrewrite_status")
    cdef Rewrite progress = REWRITE_AWAITED
    if info_number(info, "aof_rewrites_consecutive_failures") > m.disk.failures:
        progress = REWRITE_FAILED
    elif (info_number(info, "aof_enabled") and not info_number(info, "aof_rewrite_in_progress")
            and not info_number(info, "aof_rewrite_scheduled") and status != NULL and strcmp(status, "ok") == 0):
        progress = REWRITE_DONE
    RedisModule_FreeServerInfo(m.ctx, info)
    return progress


cdef void disk_begin_anew(Member *m) noexcept nogil:
    """Note that the append-only file no longer holds what memory holds, until its next rewrite ends."""
    cdef RedisModuleServerInfoData *info = RedisModule_GetServerInfo(m.ctx, "persistence")
    m.disk.failures = info_number(info, "aof_rewrites_consecutive_failures")
    RedisModule_FreeServerInfo(m.ctx, info)
    m.disk.whole = False
    disk_weigh(m)


cdef Rewrite disk_rewritten(Member *m) noexcept nogil:
    """Check whether the append-only file is complete. Returns REWRITE_DONE also if there is no such file."""
    cdef Rewrite progress = REWRITE_DONE if m.disk.whole or not m.disk.recording else first_rewrite(m)
    if progress == REWRITE_DONE and m.disk.recording and not m.disk.whole:
        m.disk.whole = True
        disk_weigh(m)
    return progress


cdef bint file_takes_more(Member *m) noexcept nogil:
    """Returns whether the file can be written. Notes also that a rewrite has begun another file, which is to have the
    position, too.
    """
    cdef RedisModuleServerInfoData *info = RedisModule_GetServerInfo(m.ctx, "persistence")
    cdef const char *status = RedisModule_ServerInfoGetFieldC(info, "aof_last_write_status")
    cdef bint takes = status == NULL or strcmp(status, "ok") == 0
    if info_number(info, "aof_rewrites") != m.disk.rewrites:
        m.disk.rewrites = info_number(info, "aof_rewrites")
        m.disk.position_due = True
    RedisModule_FreeServerInfo(m.ctx, info)
    return takes


cdef void disk_watch(Member *m) noexcept nogil:
    """Hold back what is unrecorded while the append-only file cannot be written (rule 9).

    On a full disk Redis keeps the unwritten part of the file in memory, without a limit. Redis on a head then refuses
    writes by itself; a Redis with `appendfsync always` ends.
    """
    cdef bint stuck = m.disk.recording and not file_takes_more(m)
    if stuck == m.disk.stuck:
        return
    m.disk.stuck = stuck
    disk_weigh(m)
    if stuck:
        RedisModule_Log(m.ctx, "warning", "the append-only file cannot be written: nothing more is committed until it "
                        "can be, or MASTER.REMOVE takes this member out of the chain")


cdef void disk_woken(Member *m) noexcept nogil:
    """Note that Redis has slept: the file on the disk has all that was recorded before `note_asleep`.

    It may lack what commands recorded after that. They may also have begun other data, with fewer records.
    """
    if not m.disk.void_due:
        m.disk.flushed = min(m.disk.recorded_asleep, recorded_up_to(m))


cdef void count_changes(Member *m) noexcept nogil:
    """Let Redis's save points (`save 60 100`) count updates. Redis counts propagated commands, and updates need none,
    so a record without arguments is propagated to nobody for each update.
    """
    cdef int64_t changes = min(m.chain.applied - m.disk.counted, <int64_t>MAX_COUNTED)
    m.disk.counted = m.chain.applied
    if m.chain.log.streams:
        return
    while changes > 0:
        RedisModule_Replicate(m.ctx, "CHAIN.RECORD", "AR")
        changes -= 1


cdef void disk_tick(Member *m, bint rare) noexcept nogil:
    """Do in each tick what no event reports: retry to make a claim void, and look at the state of the file.

    A file to which nothing was written is looked at in rare ticks only, unless a child may have written another one:
    that lacks the position until it is recorded there.
    """
    cdef bint child = RedisModule_GetContextFlags(m.ctx) & REDISMODULE_CTX_FLAGS_ACTIVE_CHILD != 0
    if m.disk.void_due:
        disk_weigh(m)
    if rare or m.disk.stuck or m.disk.had_child or m.disk.counted != m.chain.applied:
        disk_watch(m)
    m.disk.had_child = child
    if m.membership.join == JOIN_NONE or m.membership.join == JOIN_COPIED:
        disk_rewritten(m)
    note_database(m)
    count_changes(m)


# ----------------------------------------------------------------------------------------- Redis's settings

cdef bint disk_cares(const RedisModuleConfigChange *change) noexcept nogil:
    """Returns whether a setting that `disk_configure` reads has changed."""
    cdef unsigned int i
    for i in range(change.num_changes):
        if (strcmp(change.config_names[i], "appendonly") == 0 or strcmp(change.config_names[i], "appendfsync") == 0
                or strcmp(change.config_names[i], "no-appendfsync-on-rewrite") == 0):
            return True
    return False


cdef void disk_configure(Member *m) noexcept nogil:
    """Read Redis's settings, when the module is loaded and in the event of each change."""
    cdef bint recorded = m.disk.recording
    m.disk.recording = is_configured(m.ctx, "appendonly", "yes")
    # With no-appendfsync-on-rewrite, Redis does not fsync while a child process writes: `always` does not hold then.
    m.disk.always = (m.disk.recording and is_configured(m.ctx, "appendfsync", "always")
                     and is_configured(m.ctx, "no-appendfsync-on-rewrite", "no"))
    if m.disk.recording and not recorded:
        disk_begin_anew(m)
    disk_weigh(m)
