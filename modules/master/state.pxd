# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""The structs of a master in a server."""

from modules.bindings.redismodule cimport RedisModuleCtx, RedisModuleDict, RedisModuleString
from modules.master.info cimport Info
from modules.master.jobs cimport Queue
from modules.server.passwords cimport PasswordSetting
from modules.server.tls cimport TlsSettings


cdef enum Command:
    ADD
    REMOVE
    FORM
    REFRESH_HEAD
    REFRESH_TAIL
    GET_CHAIN
    SENTINEL
    COMMAND_COUNT


cdef struct OwnSetting:
    # A text setting of one kind of master.
    const char *name            # of the module configuration; with `_` for `-`, of the keyword of `embed`
    bint given                  # given as an argument of `loadmodule`, not as a module configuration
    RedisModuleString *text
    PasswordSetting *password   # NULL: the setting is not a password
    const char *default         # NULL: empty


cdef struct Kind:
    # The differences of libmaster.so and libetcd_master.so, which keep the view in different places.
    const char *library         # the name of the library, for logs
    const char *python          # the Python module whose `embed` makes the coordinator
    bint (*take_arguments)(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil   # of loadmodule
    OwnSetting *settings
    int setting_count


cdef struct Sentinel:
    # What this server says as a Sentinel without asking Python.
    Info info                           # the fields of INFO's section
    Info chain                          # its name; empty: there is no chain
    bint own_call                       # a command of Redis's that this module calls is not filtered


cdef struct Master:
    # Everything is set before the threads start, except for the settings and what has its own lock: queues and INFO.
    const Kind *kind
    bint prepared                       # Python has run the unit's body, which happens once in a process
    bint running                        # a process has one master; its threads never end
    RedisModuleCtx *ctx                 # for log lines of any thread
    RedisModuleDict *commands           # the rules for Redis's commands; NULL: libmember.so decides
    Queue queues[<int>COMMAND_COUNT]
    int lane[<int>COMMAND_COUNT]        # the index of the queue that takes the command's jobs
    Info info
    Sentinel sentinel
    RedisModuleString *auth_user        # other threads read it, under the mutex of the passwords
    PasswordSetting auth_password
    bint tls_replicates                 # with `tls`, copied under the mutex of the passwords, too
    TlsSettings tls
    long long heartbeat_interval_ms
    long long heartbeat_timeout_ms
    long long lease_ms
    long long clock_drift_percent
    int trust_refused
    int auto_return
