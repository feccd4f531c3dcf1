# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""The state of a member's checkpoint: the part that worker threads share, and the part of the main thread."""

from libc.stdint cimport int64_t, uint32_t, uint64_t, uint8_t

from modules.bindings.descriptors cimport iovec
from modules.bindings.leveldb cimport leveldb_options_t, leveldb_snapshot_t, leveldb_t, leveldb_writeoptions_t
from modules.bindings.pthread cimport pthread_cond_t, pthread_mutex_t, pthread_t
from modules.bindings.redismodule cimport RedisModuleScanCursor
from modules.core.checkpoint.candidates cimport Candidates
from modules.core.checkpoint.distinct cimport Distinct
from modules.core.checkpoint.memtable cimport Memtable
from modules.core.checkpoint.record_format cimport Meta
from modules.core.view cimport HISTORY_BYTES
from modules.member.state.waiter cimport Waiter

cdef enum:
    FOLDER_BYTES = 4096
    TEXT_BYTES = 256            # length of an error text, with its zero byte
    VALUES_AT_ONCE = 1024       # that one call of the kernel writes
    OPEN_VALUE_FILES = 64       # a power of two
    MAX_SESSIONS = 4            # learners that copy the checkpoint at the same time; a chain adds one at a time


cdef enum Mode:
    # The values of the setting member.gcs-mode, in the order of its names.
    MODE_NORMAL
    MODE_CHECKPOINT
    MODE_CHECKPOINT_FLUSH
    MODE_FLUSH_UNSAFE


# -------------------------------------------------------------------------------------------- on worker threads

cdef struct Job:
    # The first field of each struct that describes work for a worker thread. One thread owns a job at any time: the
    # thread that runs it or has it in its queue.
    Job *next
    void (*run)(Job *) noexcept nogil       # runs on the worker thread
    void (*done)(Job *) noexcept nogil      # runs next, on the main thread in the before-sleep event; frees the job


cdef struct Jobs:
    # A queue of jobs from one thread to another.
    pthread_mutex_t mutex
    pthread_cond_t filled
    Job *first
    Job *last
    bint closed                 # the queue takes no more jobs, and nobody waits for one


cdef struct Finished:
    # The queue of jobs that are done, from the workers to the main thread.
    Jobs jobs
    int wake_fd                 # the eventfd that the main thread's event loop watches
    bint watched


cdef struct Worker:
    pthread_t thread
    bint running
    int nice                    # added to the nice value of the thread
    Jobs jobs
    Finished *finished


cdef struct ValueFiles:
    # Files of values that one thread has open to read: file n is at the lowest bits of n.
    uint32_t numbers[OPEN_VALUE_FILES]          # 0: none
    int fds[OPEN_VALUE_FILES]


cdef struct ValueWriter:
    # Where the writer thread appends values.
    uint32_t number             # of the file; 0: there was none yet
    uint32_t end                # of the file, with what is pending
    int fd                      # -1: it is not open
    uint32_t listed             # the database lists what the files below this one have
    uint32_t counted            # the last file that a batch has listed, be that batch on the disk or not, ...
    uint32_t counted_end        # ... and up to where
    bint grown                  # some file has more than the database lists
    bint unsynced
    int count                   # of values that are pending; whoever appended them keeps them until they are written
    iovec pending[VALUES_AT_ONCE]


cdef struct Session:
    # A LevelDB snapshot for one learner: the records stay the same while the learner copies them.
    unsigned long long client   # id of the learner's connection; 0: the place is free
    const leveldb_snapshot_t *snapshot


cdef struct Database:
    # The writer thread changes the database. The reader thread uses `db`, `sessions`, `watermark` and `read` with the
    # mutex held.
    char folder[FOLDER_BYTES]
    leveldb_options_t *options
    leveldb_writeoptions_t *durably
    pthread_mutex_t mutex
    leveldb_t *db               # NULL: the database is not open
    int64_t watermark
    Session sessions[MAX_SESSIONS]
    ValueFiles read
    # ---- used by the writer thread only
    bint spoilt                 # a write has failed; nothing is written until the database is opened again
    bint emptying               # it was to be emptied, and that has not succeeded yet
    uint64_t opened             # how many times it was
    Meta meta
    ValueWriter values
    # ---- of the same thread: how many records are superseded
    uint64_t seed               # of the keys' hashes
    bint counted                # `keys` has noted the keys of all records
    Distinct keys
    Distinct kept               # keys of what the last sweep has left, and of what was written since it began
    uint64_t deletions          # deletions written since then
    # ----
    bint stopping               # the server is ending; set once, by the main thread


# ------------------------------------------------------------------------------------------ on the main thread

cdef enum Store:
    STORE_NONE                  # no checkpoint was asked for since the server started
    STORE_OPENING               # the writer opens or replaces the database
    STORE_OPEN
    STORE_FAILED                # the database could not be opened; `error` has the reason


cdef struct Flush:
    # An eviction: of the candidates, then by a scan of the keyspace, one slice in each pass.
    bint running
    int ends                            # times that the scan has yet to come to the end of the keyspace
    bint sparing                        # keys that were used lately stay, ...
    bint spared                         # ... and some did
    uint64_t evicted
    uint64_t most                       # limit, in keys
    uint64_t bytes                      # estimate of the memory freed so far
    uint64_t goal                       # bytes to free; 0: evict each key that may be evicted
    # the client of HEAD.FLUSH; NULL: a neighbour's order or our own decision, or the client has left
    Waiter *waiter


cdef struct Checkpoint:
    bint prepared               # `database` is initialised
    Worker writer
    Worker reader
    Finished finished
    Database database
    Store store
    char error[TEXT_BYTES]      # why the checkpoint does not work; empty: it works
    # ---- Keys that are newer than the checkpoint. Without `tracking` no key is evicted, except in mode flush-unsafe.
    bint tracking               # every update is entered in `memtable`
    uint8_t history[HISTORY_BYTES]      # history that the tracked updates belong to
    bint loading                # Redis is loading a snapshot that is this member's data
    bint others                 # memory has, or had, keys that are not strings
    bint incomplete             # some keys may be in the checkpoint only
    int64_t watermark           # watermark of the checkpoint; NOTHING: there is no checkpoint of this data yet
    # the tables hold all that is newer than a checkpoint whose watermark is `since` or higher
    int64_t since
    Memtable *memtable
    # the table that is being written, or will be once its updates are committed; NULL: none
    Memtable *frozen
    int64_t frozen_to           # `frozen` holds exactly the updates up to this sequence number
    bint writing
    Memtable *spent             # a table that is written; its values are given back in slices
    uint64_t spent_to           # index of the first entry of `spent` that still has its value
    RedisModuleScanCursor *base         # scan that adds the keys from before `tracking` to the memtable; NULL: done
    # slot of the memtable at which the search for values not yet shared with the keyspace goes on
    uint64_t lacking_from
    uint64_t seed
    uint64_t incarnation        # identifies this member's data in memory; changes whenever the data is dropped
    # ---- Requests.
    int64_t asked               # watermark that a client or a neighbour has asked for; NOTHING: none
    bint order_up               # tell the predecessor to write its checkpoint too
    bint order_down             # tell the successor to flush ...
    int64_t order_most          # ... at most this many keys
    int64_t flush_asked         # keys that the predecessor has told this member to flush; 0: none
    Flush flush
    Candidates candidates       # keys that finished checkpoints have written: the first that evictions examine
    RedisModuleScanCursor *hand         # where the next eviction goes on; NULL: there was none yet
    int64_t typical_idle_ms             # of the keys that evictions meet, about a quarter was used more recently
    # memory is above its limit and a checkpoint or an eviction is under way: writers are blocked
    bint full
    uint64_t measured           # used memory while writers are blocked, ...
    int64_t measured_us         # ... and when it was measured; 0: measure it again
    int64_t flushed_at          # watermark at the end of the last eviction that evicted every key it might
    int64_t tried_ms            # start of the last checkpoint that the clock began
    bint sweeping               # a compaction is under way
    char sweep_error[TEXT_BYTES]    # why the last compaction has not done all; empty: it has
    # ---- Counters for INFO.
    uint64_t checkpoints
    uint64_t sweeps
    uint64_t failures
    uint64_t flushed_keys
    uint64_t recalled_keys
    uint64_t lookups
    uint64_t records            # in the database, superseded records included
