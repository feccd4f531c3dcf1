# cython: language_level=3
"""What a member keeps of its checkpoint: the database's own part, for the worker threads, and the main thread's."""

from libc.stdint cimport int64_t, uint8_t, uint64_t

from modules.bindings.leveldb cimport leveldb_options_t, leveldb_snapshot_t, leveldb_t, leveldb_writeoptions_t
from modules.bindings.pthread cimport pthread_cond_t, pthread_mutex_t, pthread_t
from modules.bindings.redismodule cimport RedisModuleScanCursor
from modules.core.checkpoint.memtable cimport Memtable
from modules.core.checkpoint.record_format cimport Meta
from modules.core.view cimport HISTORY_BYTES
from modules.member.state.waiter cimport Waiter

cdef enum:
    FOLDER_BYTES = 4096
    TEXT_BYTES = 256            # of an error
    MAX_SESSIONS = 4            # learners that copy at the same time; a chain adds one at a time


cdef enum Mode:
    # member.gcs-mode, by its numbers.
    MODE_NORMAL
    MODE_CHECKPOINT
    MODE_CHECKPOINT_FLUSH
    MODE_FLUSH_UNSAFE


# -------------------------------------------------------------------------------------------- on worker threads

cdef struct Job:
    # The first field of whatever a worker is to do. A job belongs to the thread that runs or queues it, nobody else.
    Job *next
    void (*run)(Job *) noexcept nogil       # on a worker
    void (*done)(Job *) noexcept nogil      # then on the main thread, before it sleeps; it frees the job


cdef struct Jobs:
    # A queue between two threads.
    pthread_mutex_t mutex
    pthread_cond_t filled
    Job *first
    Job *last
    bint closed                 # nobody waits for a job any more, and none is taken


cdef struct Finished:
    # Jobs on their way back to the main thread.
    Jobs jobs
    int wake_fd                 # which the main thread's event loop watches
    bint watched


cdef struct Worker:
    pthread_t thread
    bint running
    int nice                    # how much it stands back for others
    Jobs jobs
    Finished *finished


cdef struct Session:
    # A learner's view of the database, which stays as it was while it copies.
    unsigned long long client   # its connection; 0: a free place
    const leveldb_snapshot_t *snapshot


cdef struct Database:
    # The writer changes it; the reader uses `db`, `sessions` and `watermark`, and holds the mutex meanwhile.
    char folder[FOLDER_BYTES]
    leveldb_options_t *options
    leveldb_writeoptions_t *durably
    pthread_mutex_t mutex
    leveldb_t *db               # NULL: it is not open
    int64_t watermark
    Session sessions[MAX_SESSIONS]
    # the writer's own
    bint spoilt                 # a write has failed, and LevelDB takes no more until it is opened again
    Meta meta
    bint stopping               # the server is ending: set once, by the main thread


# ------------------------------------------------------------------------------------------ on the main thread

cdef enum Store:
    STORE_NONE                  # no checkpoint: never wanted since the server was started
    STORE_OPENING               # the writer opens or replaces it
    STORE_OPEN
    STORE_FAILED                # it cannot be opened: `error` says why


cdef struct Flush:
    # An eviction under way: a scan of the keyspace, a slice a pass.
    RedisModuleScanCursor *cursor       # NULL: none
    uint64_t evicted
    uint64_t most                       # keys
    uint64_t bytes                      # roughly, that have left
    uint64_t goal                       # bytes; 0: whatever may go
    Waiter *waiter                      # HEAD.FLUSH; NULL: an order, our own doing, or the client has left


cdef struct Checkpoint:
    bint prepared               # `database` has been made ready
    Worker writer
    Worker reader
    Finished finished
    Database database
    Store store
    char error[TEXT_BYTES]      # what is wrong with it; empty: nothing
    # ---- what is newer than it. Nothing leaves memory while `tracking` is False, but in flush-unsafe.
    bint tracking               # every update goes into `memtable`
    uint8_t history[HISTORY_BYTES]      # whose updates
    bint loading                # the snapshot that is being loaded is this member's data
    bint others                 # memory has keys that are no strings, or had
    bint incomplete             # a key may be in the checkpoint alone
    int64_t watermark           # NOTHING: there is no checkpoint of this data yet
    int64_t since               # the tables have all that is newer than a checkpoint of this watermark, or a higher one
    Memtable *memtable
    Memtable *frozen               # being written, or to be written once committed; NULL: none
    int64_t frozen_to           # it has the updates up to there, and no newer ones
    bint writing
    Memtable *spent                # written; handles to be given back
    uint64_t spent_to           # how far that is done
    RedisModuleScanCursor *base         # the keys from before `tracking` are still being listed
    uint64_t lacking_from       # where to look for values that are still to be shared
    uint64_t seed
    uint64_t incarnation        # of this member's data: another one whenever that goes
    # ---- what is wanted
    int64_t asked               # a watermark; NOTHING: none
    bint order_up               # our predecessor is to be told to follow
    bint order_down             # and our successor to flush ...
    int64_t order_most          # ... at most so many keys
    int64_t flush_asked         # our predecessor has told us to: keys; 0: it has not
    Flush flush
    bint full                   # memory is above its limit, and less is under way: writers are held
    int64_t flushed_at          # the watermark when everything that could leave memory had
    int64_t tried_ms            # when a checkpoint was last begun by the clock
    # ---- counters for INFO
    bint sweeping
    uint64_t checkpoints
    uint64_t sweeps
    uint64_t failures
    uint64_t flushed_keys
    uint64_t lookups
    uint64_t records            # in the database, superseded ones included
