# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""The state of modules/member/keyspace: command filter, role and settings of Redis."""

from libc.stdint cimport uint64_t

from modules.bindings.redismodule cimport RedisModuleDict, RedisModuleString
from modules.core.hints cimport Hints
from modules.core.payloads cimport Payloads
from modules.server.command_table cimport RecentNames
from modules.server.logins cimport Entrance


cdef struct Keyspace:
    # What the command filter and the guard of Redis's settings need.
    RedisModuleDict *commands   # the rule of each command (`command_table.pxd`)
    # This server has no other module, which could subscribe to keyspace events. Redis 8 and Valkey 9 bring some along.
    bint alone
    RecentNames recent          # what it says of the names that came last
    bint own_call               # the module itself is calling a command: the filter passes it
    uint64_t filtered           # number of commands that the filter has judged
    bint entrance_known         # no command that may change users has come since `entrance` was asked for
    Entrance entrance           # who enters without a login
    bint role_touched           # Redis's own replication has changed this server's role
    bint settings_touched       # somebody changed a setting of Redis: the values that a member needs are to be restored
    # this member has left the chain: its subscribers would wait in vain, and queued commands would show old data
    bint subscribers_misled
    bint trusted_caches         # clients may rely on what they have cached at this member
    bint caches_swapped         # databases were swapped: what clients have cached may be of the other one
    RedisModuleString *masteruser   # Redis's own values of these settings, while a copy uses ours; else NULL
    RedisModuleString *masterauth
    Payloads payloads           # the bytes of the log's updates (`log_entries.pxd`)
    Hints hints                 # where values lie, at a member that applies batches; its table is there while it pays
    uint64_t unreplicated_writes    # writes that this member took before it was in a chain
    uint64_t roles_undone       # how often this member was made a replica and made a master again
