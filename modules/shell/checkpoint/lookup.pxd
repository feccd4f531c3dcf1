# cython: language_level=3
"""READ of a key that is not in memory: the reader's thread looks it up in the checkpoint.

The answer is the newest value up to a watermark that the checkpoint had while the client waited, so it was the newest
committed one at some moment then: an update that the checkpoint lacked when the READ arrived would have been found in
memory, and one that it got since was committed since.
"""

from libc.stdint cimport int64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy

from modules.core.records cimport NOTHING, VERSION_BYTES, record_key_room, record_prefix, record_sn
from modules.leveldb cimport (
    leveldb_iter_key, leveldb_iter_next, leveldb_iter_seek, leveldb_iter_valid, leveldb_iter_value, leveldb_iterator_t,
)
from modules.pthread cimport pthread_mutex_lock, pthread_mutex_unlock
from modules.redismodule cimport (
    RedisModule_StringPtrLen, RedisModuleBlockedClient, RedisModuleString,
)
from modules.shell.checkpoint.asked cimport asked_add, asked_answer
from modules.shell.checkpoint.database cimport damaged, database_scan, scan_ended
from modules.shell.checkpoint.state cimport Asked, Checkpoint, Database, Job, TEXT_BYTES
from modules.shell.checkpoint.worker cimport worker_put
from modules.shell.state cimport the_member


cdef struct Lookup:
    Job job
    Asked asked
    Database *database
    size_t prefix_bytes         # of what all records of the key begin with
    char *prefix
    char *value                 # NULL: there is none
    size_t value_bytes
    bint good
    char error[TEXT_BYTES]


cdef inline void lookup_free(Lookup *lookup) noexcept nogil:
    free(lookup.prefix)
    free(lookup.value)
    free(lookup)


# ------------------------------------------------------------------------------------------ on the reader's thread

cdef inline bint at_record_of(const Lookup *lookup, const leveldb_iterator_t *iterator, int64_t *sn) noexcept nogil:
    """Does the iterator stand at a record of the key? Then its sequence number is in `sn`."""
    cdef size_t length
    cdef const char *key
    if not leveldb_iter_valid(iterator):
        return False
    key = leveldb_iter_key(iterator, &length)
    if length != lookup.prefix_bytes + VERSION_BYTES or memcmp(key, lookup.prefix, lookup.prefix_bytes) != 0:
        return False
    sn[0] = record_sn(key, length)
    return True


cdef inline bint take_value(Lookup *lookup, const leveldb_iterator_t *iterator) noexcept nogil:
    cdef size_t length
    cdef const char *bytes = leveldb_iter_value(iterator, &length)
    if length == 1 and bytes[0] == c"d":
        return True
    if length == 0 or bytes[0] != c"v":
        return damaged(lookup.error, "a record is none")
    lookup.value = <char *>malloc(length)
    if lookup.value == NULL:
        return damaged(lookup.error, "no memory for the value")
    lookup.value_bytes = length - 1
    memcpy(lookup.value, bytes + 1, length - 1)
    return True


cdef inline bint look_up(Lookup *lookup, Database *d) noexcept nogil:
    """The watermark is read after the iterator was made: nothing that the writer may sweep is needed then."""
    cdef leveldb_iterator_t *iterator = database_scan(d, NULL, True)
    cdef int64_t watermark = d.watermark
    cdef int64_t sn
    cdef bint good = True
    leveldb_iter_seek(iterator, lookup.prefix, lookup.prefix_bytes)
    while at_record_of(lookup, iterator, &sn):
        if sn <= watermark:
            good = take_value(lookup, iterator)
            break
        leveldb_iter_next(iterator)
    return scan_ended(iterator, lookup.error) and good


cdef inline void run_lookup(Job *job) noexcept nogil:
    cdef Lookup *lookup = <Lookup *>job
    cdef Database *d = lookup.database
    pthread_mutex_lock(&d.mutex)
    if d.db == NULL or d.watermark == NOTHING:
        damaged(lookup.error, "it is not open")
    else:
        lookup.good = look_up(lookup, d)
    pthread_mutex_unlock(&d.mutex)


# ------------------------------------------------------------------------------------------- on the main thread

cdef inline void done_lookup(Job *job) noexcept nogil:
    cdef Lookup *lookup = <Lookup *>job
    if not asked_answer(&the_member().checkpoint, &lookup.asked, lookup):
        lookup_free(lookup)


cdef inline bint lookup_start(
    Checkpoint *c, RedisModuleString *key, RedisModuleBlockedClient *client,
) noexcept nogil:
    """The client is unblocked with the Lookup, which is then its. False: no memory, and nothing was started."""
    cdef Lookup *lookup = <Lookup *>calloc(1, sizeof(Lookup))
    cdef size_t length
    cdef const char *bytes = RedisModule_StringPtrLen(key, &length)
    if lookup == NULL:
        return False
    lookup.prefix = <char *>malloc(record_key_room(length))
    if lookup.prefix == NULL:
        free(lookup)
        return False
    lookup.prefix_bytes = record_prefix(lookup.prefix, bytes, length)
    lookup.database = &c.database
    lookup.job.run = run_lookup
    lookup.job.done = done_lookup
    c.lookups += 1
    asked_add(c, &lookup.asked, client)
    worker_put(&c.reader, &lookup.job)
    return True
