# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# The identity file, which says that this server's data belongs to a chain.
#
# A server that restarts without its data is recognised by the file, and not taken for a new server. The file also says
# up to which epoch the claims in this server's other files are void.
#
# If a server's data becomes the beginning of another chain, its other files stay as they are and name the old history.
# The identity file maps the old history to the new one.
#
# The file has no secret. It is always replaced as a whole, and it is on the disk before anybody is told what it says.

from libc.stdint cimport int64_t, uint8_t
from libc.stdio cimport FILE, fclose, fflush, fgets, fopen, fprintf, rename, snprintf
from libc.stdlib cimport strtoll
from libc.string cimport memcpy, memmove, memset, strcmp, strcspn, strerror, strncmp

from modules.bindings.libc cimport ENOENT, errno, fileno, fsync
from modules.bindings.redismodule cimport RedisModule_Log
from modules.core.checkpoint.record_format cimport NOTHING
from modules.core.hex cimport from_hex, to_hex
from modules.core.view cimport HISTORY_BYTES, KIND_ALL, KIND_PUT, is_no_history, same_history
from modules.member.keyspace.kind cimport own_kind
from modules.member.state.heartbeat_plugin cimport ORDER_TEXT_BYTES
from modules.member.state.member cimport Member
from modules.member.state.persistence cimport Branch, MAX_BRANCHES, Marker
from modules.server.files cimport sync_folder
from modules.server.redis_calls cimport info_field

cdef enum:
    LINE_BYTES = ORDER_TEXT_BYTES + 16
    NAME_BYTES = 48


# -------------------------------------------------------------------------------------------------- the file

cdef void marker_line(Marker *marker, const char *line) noexcept nogil:
    if strncmp(line, "history ", 8) == 0:
        from_hex(line + 8, strcspn(line + 8, "\r\n"), marker.history, HISTORY_BYTES)
    elif strncmp(line, "kind all", 8) == 0:
        marker.kind = KIND_ALL
    elif strncmp(line, "void ", 5) == 0:
        marker.void_epoch = strtoll(line + 5, NULL, 10)
    elif strncmp(line, "branch ", 7) == 0 and marker.branch_count < MAX_BRANCHES:
        marker_branch_line(&marker.branches[marker.branch_count], line + 7)
        marker.branch_count += 1
    elif strncmp(line, "master ", 7) == 0:
        snprintf(marker.master, ORDER_TEXT_BYTES, "%.*s", <int>strcspn(line + 7, "\r\n"), line + 7)


cdef void marker_branch_line(Branch *branch, const char *line) noexcept nogil:
    """Parse a history and the last sequence number that this server shares with it. An unreadable line shares nothing.
    """
    cdef size_t digits = strcspn(line, " \r\n")
    branch.applied = NOTHING
    if from_hex(line, digits, branch.history, HISTORY_BYTES):
        branch.applied = strtoll(line + digits, NULL, 10)


cdef void marker_read(Marker *marker) noexcept nogil:
    """Read the file into `marker`. A file without a history, or one that cannot be read, counts as found, with a
    history of zeros.
    """
    cdef char line[LINE_BYTES]
    cdef FILE *file = fopen(marker.name, "r")
    memset(marker.history, 0, HISTORY_BYTES)
    marker.kind = KIND_PUT
    marker.void_epoch = 0
    marker.branch_count = 0
    marker.master[0] = 0
    marker.found = file != NULL or errno != ENOENT
    if file == NULL:
        return
    while fgets(line, LINE_BYTES, file) != NULL:
        marker_line(marker, line)
    fclose(file)


cdef bint marker_print(const Marker *marker, const char *name) noexcept nogil:
    cdef char history[2 * HISTORY_BYTES + 1]
    cdef FILE *file = fopen(name, "w")
    cdef bint good
    cdef int i
    if file == NULL:
        return False
    to_hex(marker.history, HISTORY_BYTES, history)
    fprintf(file, "# The server of this port is a member of a chain. Started without its data it serves nothing,\n"
                  "# until its master takes it in again: by itself after a fault, or with MASTER.ADD. To use it for\n"
                  "# something else, end it, and delete this file and its data.\n"
                  "history %s\nvoid %lld\n", &history[0], <long long>marker.void_epoch)
    if marker.kind == KIND_ALL:
        fprintf(file, "kind all\n")
    for i in range(marker.branch_count):
        to_hex(marker.branches[i].history, HISTORY_BYTES, history)
        fprintf(file, "branch %s %lld\n", &history[0], <long long>marker.branches[i].applied)
    if marker.master[0]:
        fprintf(file, "master %s\n", &marker.master[0])
    good = fflush(file) == 0 and fsync(fileno(file)) == 0
    return fclose(file) == 0 and good


cdef bint marker_write(Member *m, const Marker *marker) noexcept nogil:
    """Replace the file by `marker`. Returns False if that fails: the old content remains in force. The error is logged
    once.
    """
    cdef char new[NAME_BYTES]
    snprintf(new, NAME_BYTES, "%s.new", &marker.name[0])
    if not marker_print(marker, new) or rename(new, marker.name) != 0 or not sync_folder("."):
        if m.disk.marker.error != errno:
            m.disk.marker.error = errno
            RedisModule_Log(m.ctx, "warning", "cannot write %s: %s", &marker.name[0], strerror(errno))
        return False
    m.disk.marker = marker[0]
    m.disk.marker.error = 0
    return True


cdef void marker_name(Member *m) noexcept nogil:
    """Set the name of the identity file, which has the port that the server listens on."""
    cdef char port[16]
    if info_field(m.ctx, "server", "tcp_port", port, sizeof(port)):
        snprintf(m.disk.marker.name, sizeof(m.disk.marker.name), "chain.member.%s", &port[0])


# ---------------------------------------------------------------------------------------------- what it says

cdef bint marker_take(Member *m, const uint8_t *history, int kind) noexcept nogil:
    """Make this server a member of the chain with this history and kind. Returns False if the file cannot be written:
    the caller must then accept nothing of the chain.
    """
    cdef Marker marker = m.disk.marker
    if marker.found and same_history(marker.history, history):
        return True
    marker.found = True
    marker.void_epoch = 0
    marker.branch_count = 0
    if not (m.chain.has_history and same_history(m.chain.history, history)):
        m.disk.claimed = 0      # the old claim was in an epoch of another history
    memcpy(marker.history, history, HISTORY_BYTES)
    marker.kind = kind
    snprintf(marker.master, ORDER_TEXT_BYTES, "%s", &m.heartbeat.etcd[0])
    return marker_write(m, &marker)


cdef bint marker_branch(Member *m, const uint8_t *history, int64_t applied) noexcept nogil:
    """Rename this server's data: its updates up to `applied` belong to `history` from now on, whatever its other files
    say. Returns False if the file cannot be written.
    """
    cdef Marker marker = m.disk.marker
    if marker.branch_count == MAX_BRANCHES:
        memmove(&marker.branches[0], &marker.branches[1], (MAX_BRANCHES - 1) * sizeof(Branch))
        marker.branch_count -= 1
    memcpy(marker.branches[marker.branch_count].history, m.chain.history, HISTORY_BYTES)
    marker.branches[marker.branch_count].applied = applied
    marker.branch_count += 1
    marker.kind = own_kind(m)
    marker.found = True
    marker.void_epoch = max(marker.void_epoch, m.disk.record.epoch)
    memcpy(marker.history, history, HISTORY_BYTES)
    return marker_write(m, &marker)


cdef bint marker_renames(const Member *m, uint8_t *history, int64_t applied) noexcept nogil:
    """Returns whether data of `history` up to `applied` was renamed. If so, sets `history` to the new history."""
    cdef const Marker *marker = &m.disk.marker
    cdef int i
    for i in range(marker.branch_count):
        if same_history(marker.branches[i].history, history) and applied <= marker.branches[i].applied:
            memcpy(history, marker.history, HISTORY_BYTES)
            return True
    return False


cdef void marker_note_master(Member *m) noexcept nogil:
    """Save the master to which heartbeats go, for the time after a restart."""
    cdef Marker marker = m.disk.marker
    if marker.found and strcmp(marker.master, m.heartbeat.etcd) != 0:
        snprintf(marker.master, ORDER_TEXT_BYTES, "%s", &m.heartbeat.etcd[0])
        marker_write(m, &marker)


cdef bint marker_void(Member *m, int64_t epoch) noexcept nogil:
    """Make the claims of all records up to `epoch` void. Returns False if the file cannot be written."""
    cdef Marker marker = m.disk.marker
    if marker.void_epoch >= epoch:
        return True
    marker.void_epoch = epoch
    return marker_write(m, &marker)


cdef bint is_unknown_chains(const Member *m) noexcept nogil:
    """Returns whether this server's data is of a history that no master has given it (`miss_data`)."""
    return m.chain.has_history and is_no_history(m.chain.history)


cdef bint marker_vouches(const Member *m) noexcept nogil:
    """Returns whether the record that was loaded may count as durable."""
    cdef const Marker *marker = &m.disk.marker
    return marker.found and same_history(marker.history, m.chain.history) and m.disk.record.epoch > marker.void_epoch
