# cython: language_level=3
"""What the other rooms use of modules/member/checkpoint: the functions are defined in the files named here."""

from libc.stdint cimport uint64_t, uint8_t

from modules.bindings.redismodule cimport RedisModuleString
from modules.core.checkpoint.record_format cimport Meta
from modules.core.view cimport Node
from modules.member.state.checkpoint cimport Checkpoint, Database, Finished, Job, TEXT_BYTES
from modules.member.state.member cimport Member
from modules.member.state.waiter cimport Waiter
from modules.server.proofs cimport NONCE_BYTES, SECRET_BYTES

cdef struct Buffer:
    char *bytes
    size_t length
    size_t room


cdef struct Page:
    Job job
    Waiter *waiter
    Database *database
    unsigned long long session  # the learner's connection; 0: the database as it is now
    uint64_t most               # records
    Buffer cursor               # the record key to begin with, then the next page's; empty: the beginning, the end
    Buffer records
    Buffer newest               # the key of the record that was its key's newest
    uint64_t count
    bint good
    char error[TEXT_BYTES]


cdef struct Lookup:
    Job job
    Waiter *waiter
    Database *database
    uint64_t incarnation        # of the data that the READ is of
    size_t prefix_bytes         # of what all records of the key begin with
    char *prefix
    void *answer                # what was found; NULL: `error` says why nothing was
    char error[TEXT_BYTES]


cdef struct Fetch:
    Job job
    Database *database
    Node tail
    long long epoch
    unsigned char secret[SECRET_BYTES]
    char run_id[41]             # our own
    char nonce[NONCE_BYTES]
    char *user
    char *password
    int off_fd                  # to be read from when the join is off
    uint64_t bytes              # that have come: read by the main thread, for people
    Meta meta                   # the last page's
    bint good
    char error[TEXT_BYTES]


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
cdef extern Lookup *lookup_new(Checkpoint *c, const RedisModuleString *key) noexcept nogil
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
