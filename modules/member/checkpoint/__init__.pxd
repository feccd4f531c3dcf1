# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""What other rooms call of modules/member/checkpoint. The functions are documented in the files named here."""

from libc.stdint cimport int64_t, uint64_t, uint8_t

from modules.bindings.redismodule cimport RedisModuleString
from modules.core.checkpoint.record_format cimport Meta
from modules.member.state.checkpoint cimport Checkpoint, Database, Finished, Job, TEXT_BYTES
from modules.member.state.member cimport Member
from modules.member.state.waiter cimport Waiter
from modules.server.proven_connection cimport Caller

cdef struct Buffer:
    char *bytes
    size_t length
    size_t room


cdef struct Page:
    Job job
    Waiter *waiter
    Database *database
    unsigned long long session  # the learner's connection; 0: the page is of the present database
    uint64_t most               # limit, in records
    # record key at which this page begins, then that of the next page; empty: the beginning, or the end
    Buffer cursor
    Buffer records
    Buffer newest               # key of the last record that was the newest of its key
    uint64_t count
    bint good
    char error[TEXT_BYTES]


cdef struct Lookup:
    Job job
    Waiter *waiter
    Database *database
    RedisModuleString *key
    uint64_t incarnation        # of the data at the time of the READ
    int64_t watermark           # of the checkpoint, as the main thread knew it at that time
    size_t prefix_bytes         # length of `prefix`, with which all records of the key begin
    char *prefix
    void *answer                # the answer found; NULL: `error` says why none was found
    char error[TEXT_BYTES]


cdef struct Fetch:
    Job job
    Database *database
    Caller caller               # of the old tail
    long long epoch
    uint64_t bytes              # bytes received; the main thread reads it, for INFO and logs
    Meta meta                   # from the last page
    bint good


# batches.pxi
cdef extern bint buffer_room(Buffer *buffer, size_t more) noexcept nogil

# worker.pxi
cdef extern Job *finished_take(Finished *finished, bint wait) noexcept nogil

# pages.pxi
cdef extern void page_free(Page *page) noexcept nogil
cdef extern bint set_cursor(Page *page, const char *key, size_t key_bytes) noexcept nogil
cdef extern Page *page_new(Checkpoint *c, unsigned long long session, uint64_t most) noexcept nogil
cdef extern void page_start(Checkpoint *c, Page *page, Waiter *waiter) noexcept nogil
cdef extern void session_left(Checkpoint *c, unsigned long long client) noexcept nogil

# reader.pxi
cdef extern void lookup_free(Lookup *lookup) noexcept nogil
cdef extern Lookup *lookup_new(Checkpoint *c, RedisModuleString *key) noexcept nogil
cdef extern void lookup_start(Checkpoint *c, Lookup *lookup, Waiter *waiter) noexcept nogil

# store.pxi
cdef extern void store_rename(Checkpoint *c, const uint8_t *history) noexcept nogil
cdef extern bint store_exists(Member *m) noexcept nogil
cdef extern void store_stop(Checkpoint *c) noexcept nogil
cdef extern void store_open(Member *m, bint clear) noexcept nogil
cdef extern void store_retry(Member *m) noexcept nogil

# writer.pxi
cdef extern bint track_resume(Member *m) noexcept nogil
cdef extern void track_loaded_data(Member *m) noexcept nogil
cdef extern void track_end(Member *m) noexcept nogil

# scheduler.pxi
cdef extern bint keeps_checkpoint(const Member *m) noexcept nogil
cdef extern bint is_active(const Member *m) noexcept nogil
cdef extern void *trouble(const Member *m, const char *what) noexcept nogil
cdef extern void checkpoint_step(Member *m) noexcept nogil
cdef extern void checkpoint_tick(Member *m) noexcept nogil

# transfer.pxi
cdef extern void fetch_free(Fetch *fetch) noexcept nogil
cdef extern void fetch_cancel(Fetch *fetch) noexcept nogil
cdef extern Fetch *fetch_begin(Member *m, void (*done)(Job *) noexcept nogil) noexcept nogil
