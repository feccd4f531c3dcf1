# cython: language_level=3
"""What a master in a server keeps: structs, nothing else."""

from modules.bindings.redismodule cimport RedisModuleCtx, RedisModuleDict, RedisModuleString
from modules.master.info cimport Info
from modules.master.jobs cimport Queue
from modules.server.passwords cimport PasswordSetting


cdef enum Command:
    ADD
    REMOVE
    FORM
    REFRESH_HEAD
    REFRESH_TAIL
    GET_CHAIN
    COMMAND_COUNT


cdef struct OwnSetting:
    # A text that one kind of master has and others have not.
    const char *name            # of the module configuration, and of the keyword of `embed`
    bint given                  # with `loadmodule`: no module configuration
    RedisModuleString *text
    PasswordSetting *password   # NULL: it is none


cdef struct Kind:
    # Where the view is kept: what libmaster.so and libetcd_master.so differ in.
    const char *library         # its file, for logs
    const char *python          # the Python module whose `embed` makes the coordinator
    bint (*take_arguments)(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil   # of loadmodule
    OwnSetting *settings
    int setting_count


cdef struct Master:
    # Beside the queues and the INFO text, which have their own locks, everything is set before the threads start.
    const Kind *kind
    bint prepared                       # Python has run the unit's body: once in a process, even if it is loaded again
    bint running                        # a process has one master; its threads never end
    RedisModuleCtx *ctx                 # for the log, of any thread's
    RedisModuleDict *commands           # what Redis's own do to data; NULL: libmember.so decides about them
    Queue queues[<int>COMMAND_COUNT]
    int lane[<int>COMMAND_COUNT]        # the index of the queue that takes the command's jobs
    Info info
    RedisModuleString *auth_user        # other threads look at it, with the mutex of the passwords
    PasswordSetting auth_password
    long long heartbeat_interval_ms
    long long heartbeat_timeout_ms
    long long lease_ms
    long long clock_drift_percent
    int trust_refused
    int auto_return
