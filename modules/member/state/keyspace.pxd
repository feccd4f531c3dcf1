# cython: language_level=3
"""The room of the keyspace: Redis, as a chained member needs it."""

from libc.stdint cimport uint64_t

from modules.bindings.redismodule cimport RedisModuleDict, RedisModuleString


cdef struct Keyspace:
    # What others may do here, and what they have done.
    RedisModuleDict *commands   # what each of them does to data (`command_table.pxd`)
    bint own_call               # a command that we call ourselves passes the filter
    bint role_touched           # Redis has made this server a replica, or a master, of another
    bint settings_touched       # somebody changed a setting of Redis: ours are to be restored
    bint subscribers_misled     # out of the chain: they would wait in vain, and what is queued show old data
    RedisModuleString *masteruser   # what Redis's replication had for logging in, while a copy borrows that; else NULL
    RedisModuleString *masterauth
    uint64_t unreplicated_writes    # by a member in no chain yet
    uint64_t roles_undone       # how often something made this member a replica all the same
