# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# The main thread's part of opening and emptying the database. The writer thread does it; a job tells the result.

from libc.stdint cimport uint8_t
from libc.stdio cimport snprintf
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, strcmp, strlen

from modules.bindings.libc cimport F_OK, access, getcwd
from modules.bindings.redismodule cimport RedisModule_Log, RedisModule_StringPtrLen
from modules.core.checkpoint.record_format cimport NOTHING
from modules.core.view cimport HISTORY_BYTES
from modules.member.state.checkpoint cimport (
    Checkpoint, Database, FOLDER_BYTES, Job, STORE_FAILED, STORE_OPEN, STORE_OPENING, TEXT_BYTES,
)
from modules.member.state.member cimport Member, the_member
from modules.server.redis_calls cimport info_field


cdef enum:
    # of the writer and the thread that LevelDB starts from it, so that the event loop has priority
    WRITER_NICE = 5


cdef struct OpenJob:
    Job job
    Database *database
    bint clear
    bint good
    char error[TEXT_BYTES]


cdef void run_open(Job *job) noexcept nogil:
    cdef OpenJob *opening = <OpenJob *>job
    if opening.clear:
        opening.good = database_clear(opening.database, opening.error)
    else:
        opening.good = database_open(opening.database, opening.error)


cdef void store_failed(Member *m, const char *why) noexcept nogil:
    """Note that the database cannot be used. The same reason is logged once, not at each attempt."""
    cdef Checkpoint *c = &m.checkpoint
    c.store = STORE_FAILED
    c.failures += 1
    c.asked = NOTHING
    if strcmp(c.error, why) != 0:
        snprintf(c.error, TEXT_BYTES, "%s", why)
        RedisModule_Log(m.ctx, "warning", "the checkpoint in %s cannot be used: %s", &c.database.folder[0], why)


cdef void done_open(Job *job) noexcept nogil:
    cdef OpenJob *opening = <OpenJob *>job
    cdef Checkpoint *c = &the_member().checkpoint
    if opening.good:
        c.store = STORE_OPEN
        c.error[0] = 0
    else:
        store_failed(the_member(), opening.error)
    free(opening)


cdef void store_job(Checkpoint *c, bint clear) noexcept nogil:
    cdef OpenJob *opening = <OpenJob *>calloc(1, sizeof(OpenJob))
    if opening == NULL:
        store_failed(the_member(), "out of memory")
        return
    opening.job.run = run_open
    opening.job.done = done_open
    opening.database = &c.database
    opening.clear = clear
    c.store = STORE_OPENING
    worker_put(&c.writer, &opening.job)


cdef void store_clear(Checkpoint *c) noexcept nogil:
    store_job(c, True)


# ---------------------------------------------------------------------------------------- another history's name

cdef struct RenameJob:
    Job job
    Database *database
    uint8_t history[HISTORY_BYTES]


cdef void run_rename(Job *job) noexcept nogil:
    """Rename the database. The next write shows a failure, too. Until the rename succeeds, the identity file maps the
    old history.
    """
    cdef RenameJob *rename = <RenameJob *>job
    cdef char error[TEXT_BYTES]
    if rename.database.db != NULL and rename.database.meta.found:
        database_rename(rename.database, rename.history, error)


cdef void done_rename(Job *job) noexcept nogil:
    free(job)


cdef void store_rename(Checkpoint *c, const uint8_t *history) noexcept nogil:
    """Make the checkpoint one of another history, here and for members that will copy it."""
    cdef RenameJob *rename = <RenameJob *>calloc(1, sizeof(RenameJob))
    memcpy(c.history, history, HISTORY_BYTES)
    if rename == NULL:
        return
    rename.job.run = run_rename
    rename.job.done = done_rename
    rename.database = &c.database
    memcpy(rename.history, history, HISTORY_BYTES)
    worker_put(&c.writer, &rename.job)


# ------------------------------------------------------------------------------------------------- the folder

cdef bint name_folder(Member *m) noexcept nogil:
    """Set the absolute path of the database's folder, so that `CONFIG SET dir` does not move it. Returns False if it is
    too long.
    """
    cdef Database *d = &m.checkpoint.database
    cdef const char *chosen = RedisModule_StringPtrLen(m.settings.checkpoint_dir, NULL)
    cdef char port[16]
    cdef size_t length = 0
    cdef int more
    if chosen[0] != c"/":
        if getcwd(d.folder, FOLDER_BYTES) == NULL:
            return False
        length = strlen(d.folder)
        d.folder[length] = c"/"
        length += 1
    if chosen[0]:
        more = snprintf(&d.folder[length], FOLDER_BYTES - length, "%s", chosen)
    else:
        port[0] = 0
        info_field(m.ctx, "server", "tcp_port", port, sizeof(port))
        more = snprintf(&d.folder[length], FOLDER_BYTES - length, "checkpoint-%s", &port[0])
    return length + more < FOLDER_BYTES


cdef bint store_exists(Member *m) noexcept nogil:
    """Returns whether the folder had a database when the server was started."""
    cdef char current[FOLDER_BYTES + 16]
    if not name_folder(m):
        return False
    snprintf(current, sizeof(current), "%s/CURRENT", &m.checkpoint.database.folder[0])
    return access(current, F_OK) == 0


cdef bint store_start(Member *m) noexcept nogil:
    """Start both threads, unless they run. Returns False if that fails, or if the folder's path is too long."""
    cdef Checkpoint *c = &m.checkpoint
    if not c.prepared:
        if not name_folder(m):
            return damaged(c.error, "the name of its folder is too long")
        database_init(&c.database)
        c.prepared = True
    return (finished_init(&c.finished) and worker_start(&c.writer, &c.finished, WRITER_NICE)
            and worker_start(&c.reader, &c.finished, 0))


cdef void store_stop(Checkpoint *c) noexcept nogil:
    """Stop the threads when the server ends: a running checkpoint is abandoned, and the database is closed."""
    c.database.stopping = True
    worker_stop(&c.reader)
    if c.writer.running:
        worker_stop(&c.writer)
        database_close(&c.database)


cdef void store_open(Member *m, bint clear) noexcept nogil:
    """Let the writer open the database, emptied if `clear`. The result is in `store` when the writer is done."""
    if store_start(m):
        store_job(&m.checkpoint, clear)
    else:
        store_failed(m, "its threads cannot be started")


cdef void store_retry(Member *m) noexcept nogil:
    """Open the database if this member's data needs it. If not, what is in the folder is deleted."""
    store_open(m, not m.checkpoint.tracking and not m.checkpoint.incomplete)
