# cython: language_level=3
# Included by master.pyx and etcd_master.pyx: all that a master is but for where its view is kept. They have to define
#
#   NAME                            for logs and replies, such as libmaster.so
#   python_module                   what Cython's PyInit function of that file returns
#   take_arguments                  those of `loadmodule`; false, and a log line, when they will not do
#   register_own_settings           beyond those that every master has
#   make_coordinator                from settings: what has Coordinator's methods
#
# The decisions are ordinary Python and take as long as they take. So a command's handler, on the Redis main thread and
# without the interpreter, only blocks its client and queues a job; a Python thread carries it out and unblocks the
# client with the outcome. Commands that only read have a thread of their own, and are answered while a member is being
# added.

from libc.stdint cimport uint64_t
from libc.string cimport strncmp

from modules.bindings.pthread cimport pthread_mutex_lock, pthread_mutex_unlock
from modules.bindings.python cimport PyModuleDef, PyObject
from modules.bindings.redismodule cimport (
    REDISMODULE_APIVER_1, REDISMODULE_CONFIG_DEFAULT, REDISMODULE_CONFIG_IMMUTABLE, REDISMODULE_CTX_FLAGS_DENY_BLOCKING,
    REDISMODULE_ERR, REDISMODULE_OK, REDISMODULE_SUBEVENT_LOADING_ENDED, RedisModuleBlockedClient, RedisModuleCallReply,
    RedisModuleCmdFunc, RedisModuleCommandFilterCtx, RedisModuleConfigChange, RedisModuleCtx, RedisModuleDict,
    RedisModuleEvent, RedisModuleEvent_Config, RedisModuleEvent_Loading, RedisModuleEvent_ModuleChange,
    RedisModuleInfoCtx, RedisModuleServerInfoData, RedisModuleString, RedisModule_BlockClient, RedisModule_Call,
    RedisModule_CommandFilterArgGet, RedisModule_CreateCommand, RedisModule_CreateString, RedisModule_Free,
    RedisModule_FreeCallReply, RedisModule_FreeServerInfo, RedisModule_FreeString, RedisModule_GetContextFlags,
    RedisModule_GetDetachedThreadSafeContext, RedisModule_GetServerInfo, RedisModule_InfoAddSection, RedisModule_Init,
    RedisModule_LoadConfigs, RedisModule_Log, RedisModule_RegisterBoolConfig, RedisModule_RegisterCommandFilter,
    RedisModule_RegisterInfoFunc, RedisModule_RegisterNumericConfig, RedisModule_RegisterStringConfig,
    RedisModule_ReplyWithError, RedisModule_RetainString, RedisModule_ServerInfoGetFieldC,
    RedisModule_ServerInfoGetFieldUnsigned, RedisModule_SetDisconnectCallback, RedisModule_StringPtrLen,
    RedisModule_SubscribeToServerEvent, RedisModule_UnblockClient, RedisModule_WrongArity,
)
from modules.master.command_filter cimport filter_build, filter_command, on_refused, warn_of_keys
from modules.master.info cimport Info, info_init, info_set, info_show
from modules.master.jobs cimport (
    Job, OUTCOME_ERROR, OUTCOME_INTEGER, OUTCOME_LIST, OUTCOME_SIMPLE, Outcome, OutcomeKind, Queue, job_new,
    job_note_asker, outcome_free, outcome_new, outcome_reply, queue_full, queue_init, queue_put, queue_take,
)
from modules.python_host.interpreter cimport ROOT, interpreter_exec, interpreter_start
from modules.server.acl cimport may_administer
from modules.server.command_info cimport describe
from modules.server.native_replication cimport may_load
from modules.server.passwords cimport (
    PasswordSetting, passwords_filter, passwords_init, register_password, strcasecmp, the_passwords,
)
from modules.server.position cimport position_register

cdef extern from *:
    const char *GIVEN_TO_NOBODY "\"master.nothing\""


cdef enum Command:
    ADD
    REMOVE
    FORM
    REFRESH_HEAD
    REFRESH_TAIL
    GET_CHAIN
    COMMAND_COUNT


cdef enum:
    MAX_ADDITIONS = 64      # that wait for each other at a time; more wait to be looked at


cdef struct Master:
    # Beside the queues and the INFO text, which have their own locks, everything is set before the threads start.
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

cdef Master master


# ------------------------------------------------------------ handlers: on the Redis main thread, never any Python

cdef int submit(RedisModuleCtx *ctx, RedisModuleString **argv, int argc, Command command) noexcept nogil:
    """Queue the command, and block its client until the outcome is there."""
    cdef Queue *queue = &master.queues[master.lane[<int>command]]
    cdef Job *job
    if RedisModule_GetContextFlags(ctx) & REDISMODULE_CTX_FLAGS_DENY_BLOCKING:
        return RedisModule_ReplyWithError(ctx, b"ERR this command waits: not inside MULTI, a script or a module's call")
    if queue_full(queue):
        return RedisModule_ReplyWithError(ctx, b"ERR too many commands are waiting for the master; nothing was done")
    job = job_new(command, argv, argc)
    if job == NULL:
        return RedisModule_ReplyWithError(ctx, b"ERR an argument is too long")
    job_note_asker(job, ctx)
    job.client = RedisModule_BlockClient(ctx, outcome_reply, NULL, outcome_free, 0)
    RedisModule_SetDisconnectCallback(job.client, on_client_gone)
    queue_put(queue, job)
    return REDISMODULE_OK


cdef void on_client_gone(RedisModuleCtx *ctx, RedisModuleBlockedClient *client) noexcept nogil:
    RedisModule_Log(master.ctx, b"notice", b"a client has gone without waiting for its command, which goes on: INFO "
                    b"master shows how")


cdef int handle_add(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    """MASTER.ADD host port [DISCARD | ADOPT [INCOMPLETE]]

    OK        the member serves as the new tail
    ERR       it is not in the chain, and why
    UNKNOWN   it may or may not be in the chain: MASTER.GET_CHAIN tells
    """
    if argc < 3 or argc > 5:
        return RedisModule_WrongArity(ctx)
    if not may_administer(ctx, GIVEN_TO_NOBODY, b"master.add"):
        return REDISMODULE_OK
    return submit(ctx, argv, argc, ADD)


cdef int handle_remove(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    """MASTER.REMOVE host port: as MASTER.ADD; OK when the chain serves without it."""
    if argc != 3:
        return RedisModule_WrongArity(ctx)
    if not may_administer(ctx, GIVEN_TO_NOBODY, b"master.remove"):
        return REDISMODULE_OK
    return submit(ctx, argv, argc, REMOVE)


cdef int handle_form(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    """MASTER.FORM host port: as MASTER.ADD; OK when that one survivor is the chain."""
    if argc != 3:
        return RedisModule_WrongArity(ctx)
    if not may_administer(ctx, GIVEN_TO_NOBODY, b"master.form"):
        return REDISMODULE_OK
    return submit(ctx, argv, argc, FORM)


cdef int handle_refresh_head(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    """MASTER.REFRESH_HEAD: host:port of a head that has just been found alive, or ERR."""
    if argc != 1:
        return RedisModule_WrongArity(ctx)
    return submit(ctx, argv, argc, REFRESH_HEAD)


cdef int handle_refresh_tail(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    """MASTER.REFRESH_TAIL: host:port of a tail that has just been found alive, or ERR."""
    if argc != 1:
        return RedisModule_WrongArity(ctx)
    return submit(ctx, argv, argc, REFRESH_TAIL)


cdef int handle_get_chain(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    """MASTER.GET_CHAIN: array of host:port, head first."""
    if argc != 1:
        return RedisModule_WrongArity(ctx)
    return submit(ctx, argv, argc, GET_CHAIN)


cdef int do_nothing(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    return RedisModule_ReplyWithError(ctx, b"ERR there is nothing that this command does")


cdef void on_command(RedisModuleCommandFilterCtx *command) noexcept nogil:
    """Redis asks for every command."""
    cdef const char *name = RedisModule_StringPtrLen(RedisModule_CommandFilterArgGet(command, 0), NULL)
    if strcasecmp(name, "config") == 0 or strcasecmp(name, "exec") == 0:
        passwords_filter(command)
    filter_command(master.commands, command)


cdef void on_config(RedisModuleCtx *ctx, RedisModuleEvent event, uint64_t what, void *data) noexcept nogil:
    cdef const RedisModuleConfigChange *change = <const RedisModuleConfigChange *>data
    cdef unsigned int i
    for i in range(change.num_changes):
        if strncmp(change.config_names[i], b"master.", 7) == 0:
            RedisModule_Log(ctx, b"notice", b"CONFIG SET has changed %s", change.config_names[i])


cdef void show_info(RedisModuleInfoCtx *ctx, int for_crash_report) noexcept nogil:
    if RedisModule_InfoAddSection(ctx, b"") == REDISMODULE_OK:
        info_show(&master.info, ctx, for_crash_report)


cdef void on_module_change(RedisModuleCtx *ctx, RedisModuleEvent event, uint64_t what, void *data) noexcept nogil:
    filter_build(master.ctx, &master.commands)


cdef void on_loading(RedisModuleCtx *ctx, RedisModuleEvent event, uint64_t what, void *data) noexcept nogil:
    if what == REDISMODULE_SUBEVENT_LOADING_ENDED:
        warn_of_keys(master.ctx)


cdef RedisModuleString *get_string(const char *name, void *setting) noexcept nogil:
    return (<RedisModuleString **>setting)[0]


cdef int set_string(const char *name, RedisModuleString *value, void *setting, RedisModuleString **why) noexcept nogil:
    cdef RedisModuleString **place = <RedisModuleString **>setting
    cdef RedisModuleString *old = place[0]
    RedisModule_RetainString(NULL, value)
    pthread_mutex_lock(&the_passwords().mutex)
    place[0] = value
    if old != NULL:
        RedisModule_FreeString(NULL, old)
    pthread_mutex_unlock(&the_passwords().mutex)
    return REDISMODULE_OK


cdef long long get_number(const char *name, void *setting) noexcept nogil:
    return (<long long *>setting)[0]


cdef int set_number(const char *name, long long value, void *setting, RedisModuleString **why) noexcept nogil:
    (<long long *>setting)[0] = value
    return REDISMODULE_OK


cdef int get_switch(const char *name, void *setting) noexcept nogil:
    return (<int *>setting)[0]


cdef int set_switch(const char *name, int value, void *setting, RedisModuleString **why) noexcept nogil:
    (<int *>setting)[0] = value
    return REDISMODULE_OK


# --------------------------------------------------------------- workers: Python threads, never on the main thread

COMMAND_NAMES = {
    ADD: "MASTER.ADD",
    REMOVE: "MASTER.REMOVE",
    FORM: "MASTER.FORM",
    REFRESH_HEAD: "MASTER.REFRESH_HEAD",
    REFRESH_TAIL: "MASTER.REFRESH_TAIL",
    GET_CHAIN: "MASTER.GET_CHAIN",
}
coordinator = None      # a chainredis.coordinator.commands.Coordinator
CommandError = Unusable = None      # the classes of chainredis.protocol.errors


def work(int lane):
    """The life of a worker: take a job, carry it out, unblock its client.

    Additions wait for each other in Python, where they can be called off: each has a thread of its own.
    """
    cdef Queue *queue = &master.queues[lane]
    cdef Job *job
    import threading
    places = threading.BoundedSemaphore(MAX_ADDITIONS)
    while True:
        with nogil:
            job = queue_take(queue)
        if job.command == ADD:
            places.acquire()
            threading.Thread(target=add, args=(<size_t>job, places), name="addition", daemon=True).start()
        else:
            finish(job)


def add(size_t job, places):
    finish(<Job *>job)
    places.release()


cdef void finish(Job *job) noexcept:
    cdef Outcome *outcome = carry_out(job)
    with nogil:
        RedisModule_UnblockClient(job.client, outcome)
        RedisModule_Free(job)


cdef Outcome *carry_out(const Job *job) noexcept:
    """Whatever Python does there is an outcome; NULL, which has an answer too, only when memory is exhausted."""
    cdef int i
    try:
        arguments = [job.arguments[i][:job.argument_bytes[i]] for i in range(job.argument_count)]
        asker = (<bytes>job.asker).decode(errors="backslashreplace")
        return make_outcome(coordinator.execute(COMMAND_NAMES[job.command], arguments, asker))
    except CommandError as error:
        return make_text(OUTCOME_ERROR, str(error))
    except BaseException as error:
        log_traceback(f"{COMMAND_NAMES[job.command]} failed by a fault of the master's own")
        return make_text(OUTCOME_ERROR, f"UNKNOWN fault in the master, see its log: {type(error).__name__}: {error}")


cdef Outcome *make_outcome(result) except NULL:
    if isinstance(result, list):
        strings = b"".join(one_line(item) + b"\0" for item in result)
        return outcome_new(OUTCOME_LIST, len(result), strings, len(strings))
    if isinstance(result, int):
        return outcome_new(OUTCOME_INTEGER, result, b"", 0)
    return make_text(OUTCOME_SIMPLE, result)


cdef Outcome *make_text(OutcomeKind kind, text) except NULL:
    line = one_line(text)
    return outcome_new(kind, 0, line, len(line) + 1)


def show_status(status):
    """Push the coordinator's account of itself to where INFO finds it."""
    fields = b"".join(one_line(part) + b"\0" for field in status.items() for part in field)
    if not info_set(&master.info, fields, len(fields)):
        log("warning", "INFO shows old figures of the master: there is no room for the new ones")


# -------------------------------------------------------------------- logging: Python's log is the server's log

def log(level, text):
    """Write each line of the text to the server's log; the levels are Redis's."""
    level_bytes = level.encode()
    for line in text.splitlines():
        line_bytes = one_line(line)
        RedisModule_Log(master.ctx, <const char *>level_bytes, b"%s", <const char *>line_bytes)


include "../python_host/logging.pxi"


# --------------------------------------------------------------------------------- loading, on the main thread

def start(own_run_id, own_port):
    """Everything of Python's that can fail, then the threads."""
    global CommandError, Unusable, coordinator
    import signal
    import sys
    import threading
    from pathlib import Path

    root = (<bytes>ROOT).decode()
    if root not in sys.path:
        sys.path.insert(0, root)
    from chainredis.protocol.errors import CommandError, Unusable
    from chainredis.transport.settings import Credentials, PollSettings, Settings

    def read_polling():
        return PollSettings(
            master.heartbeat_interval_ms, master.heartbeat_timeout_ms, master.lease_ms, bool(master.trust_refused),
            master.clock_drift_percent, bool(master.auto_return),
        )

    def read_credentials():
        return Credentials(setting_text(&master.auth_user), setting_text(&master.auth_password.value.text))

    redirect_logs()
    # A thread that computes gives way to one that a member's answer woke: a repair takes milliseconds.
    sys.setswitchinterval(0.0005)
    # Threads inherit it: signals are for the main thread, which the event loop wakes up for them.
    faults = {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals() - faults)
    try:
        coordinator = make_coordinator(Settings(
            state_dir=Path.cwd(),       # Redis makes its `dir` the working directory
            own_run_id=own_run_id,
            own_port=own_port,
            credentials=read_credentials,
            polling=read_polling,
        ))
        coordinator.on_status(lambda status: show_status({"role": "master", **status}))
        lanes = sorted(set(coordinator.LANES.values()))
        for command, name in COMMAND_NAMES.items():
            master.lane[<int>command] = lanes.index(coordinator.LANES[name])
        for number, name in enumerate(lanes):
            threading.Thread(target=work, args=(number,), name=name, daemon=True).start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


cdef str setting_text(RedisModuleString **setting):
    """Of this moment, on any thread."""
    cdef size_t length
    cdef const char *text
    cdef bytes copy
    pthread_mutex_lock(&the_passwords().mutex)      # never held by who waits for the interpreter's lock
    try:
        text = RedisModule_StringPtrLen(setting[0], &length)
        copy = text[:length]
    finally:
        pthread_mutex_unlock(&the_passwords().mutex)
    return copy.decode(errors="surrogateescape")


cdef bint start_python(const char *run_id, int port) noexcept with gil:
    try:
        start(run_id.decode(), port)
        return True
    except BaseException as error:
        if Unusable is not None and isinstance(error, Unusable):
            log("warning", f"the master cannot start: {error}")
        else:
            log_traceback("the master cannot start")
        return False


cdef bint start_master(RedisModuleCtx *ctx) noexcept nogil:
    cdef RedisModuleServerInfoData *server = RedisModule_GetServerInfo(ctx, b"server")
    cdef unsigned long long port = RedisModule_ServerInfoGetFieldUnsigned(server, b"tcp_port", NULL)
    cdef const char *run_id = RedisModule_ServerInfoGetFieldC(server, b"run_id")
    cdef bint started = run_id != NULL and start_python(run_id, <int>port)
    RedisModule_FreeServerInfo(ctx, server)
    return started


cdef bint create_command(
    RedisModuleCtx *ctx, const char *name, const char *syntax, RedisModuleCmdFunc handler, const char *flags,
    const char *categories, const char *summary,
) noexcept nogil:
    return (RedisModule_CreateCommand(ctx, name, handler, flags, 0, 0, 0) == REDISMODULE_OK
            and describe(ctx, name, syntax, 0, categories, summary))


cdef bint create_commands(RedisModuleCtx *ctx) noexcept nogil:
    cdef const char *changes = b"admin deny-script blocking"
    cdef const char *asks = b"readonly deny-script blocking"
    cdef const char *dangerous = b"admin dangerous slow blocking"
    cdef const char *harmless = b"read slow blocking"
    return (
        create_command(ctx, b"master.add", b"host port# [DISCARD]", handle_add, changes, dangerous,
                       b"Makes a server the new tail of the chain")
        and create_command(ctx, b"master.remove", b"host port#", handle_remove, changes, dangerous,
                           b"Takes a member out of the chain")
        and create_command(ctx, b"master.form", b"host port#", handle_form, changes, dangerous,
                           b"Forms a chain that has died again from one survivor")
        and create_command(ctx, b"master.refresh_head", b"", handle_refresh_head, asks, harmless,
                           b"The head, just found alive")
        and create_command(ctx, b"master.refresh_tail", b"", handle_refresh_tail, asks, harmless,
                           b"The tail, just found alive")
        and create_command(ctx, b"master.get_chain", b"", handle_get_chain, asks, harmless,
                           b"The members of the chain, head first")
        and create_command(ctx, b"master.refused", NULL, on_refused, b"allow-loading allow-stale no-auth", b"slow",
                           b"Answers for commands that a master refuses")
        and create_command(ctx, GIVEN_TO_NOBODY, b"", do_nothing, changes, dangerous,
                           b"Nothing: no user is given this one by name, so who may run it has +@all")
    )


cdef bint watch_commands(RedisModuleCtx *ctx) noexcept nogil:
    """From now on, what would write data is refused."""
    RedisModule_SubscribeToServerEvent(ctx, RedisModuleEvent_Loading, on_loading)
    RedisModule_SubscribeToServerEvent(ctx, RedisModuleEvent_ModuleChange, on_module_change)
    return (filter_build(ctx, &master.commands)
            and RedisModule_RegisterCommandFilter(ctx, on_command, 0) != NULL)


cdef bint register_setting(RedisModuleCtx *ctx, const char *name, RedisModuleString **place, int flags) noexcept nogil:
    return RedisModule_RegisterStringConfig(
        ctx, name, b"", flags, get_string, set_string, NULL, place) == REDISMODULE_OK


cdef bint register_number(
    RedisModuleCtx *ctx, const char *name, long long default, long long least, long long most, long long *place,
) noexcept nogil:
    return RedisModule_RegisterNumericConfig(
        ctx, name, default, REDISMODULE_CONFIG_DEFAULT, least, most, get_number, set_number, NULL, place,
    ) == REDISMODULE_OK


cdef bint load_settings(RedisModuleCtx *ctx) noexcept nogil:
    """Names, units, ranges and defaults are those of docs/configuration.md."""
    return (
        passwords_init()
        and register_number(ctx, b"heartbeat-interval", 3000, 10, 3600000, &master.heartbeat_interval_ms)
        and register_number(ctx, b"heartbeat-timeout", 15000, 200, 86400000, &master.heartbeat_timeout_ms)
        and register_number(ctx, b"lease", 2000, 100, 86400000, &master.lease_ms)
        and register_number(ctx, b"clock-drift-percent", 1, 0, 50, &master.clock_drift_percent)
        and RedisModule_RegisterBoolConfig(
            ctx, b"trust-refused", 1, REDISMODULE_CONFIG_DEFAULT, get_switch, set_switch, NULL, &master.trust_refused,
        ) == REDISMODULE_OK
        and RedisModule_RegisterBoolConfig(
            ctx, b"auto-return", 1, REDISMODULE_CONFIG_DEFAULT, get_switch, set_switch, NULL, &master.auto_return,
        ) == REDISMODULE_OK
        and register_setting(ctx, b"auth-user", &master.auth_user, REDISMODULE_CONFIG_DEFAULT)
        and register_password(ctx, b"auth-password", REDISMODULE_CONFIG_DEFAULT, &master.auth_password)
        and register_own_settings(ctx)
        and RedisModule_LoadConfigs(ctx) == REDISMODULE_OK
    )


cdef bint prepared     # C's zero; no Python may assign it when the module's body runs


cdef bint prepare_python(RedisModuleCtx *ctx) noexcept nogil:
    """The interpreter, and this module's Python side in it: once in a process, even if the module is loaded again."""
    global prepared
    cdef char why[512]
    if not prepared:
        prepared = (
            interpreter_start(why, sizeof(why))
            and interpreter_exec(NAME, <PyModuleDef *>python_module(), why, sizeof(why))
        )
        if not prepared:
            RedisModule_Log(ctx, b"warning", b"%s", why)
    return prepared


cdef void keep_off_disk(RedisModuleCtx *ctx) noexcept nogil:
    """A master holds no data, and may share its folder with members: it neither dies of their RDB nor replaces it."""
    cdef RedisModuleCallReply *reply
    if not position_register(ctx, NULL):
        RedisModule_Log(ctx, b"warning", b"an RDB that a member left in this folder would be fatal: see the README")
    reply = RedisModule_Call(ctx, b"CONFIG", b"ccc", b"SET", b"save", b"")
    if reply != NULL:
        RedisModule_FreeCallReply(reply)


cdef public int RedisModule_OnLoad(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    cdef int lane
    if RedisModule_Init(ctx, b"master", 1, REDISMODULE_APIVER_1) == REDISMODULE_ERR:
        return REDISMODULE_ERR
    if not may_load(ctx) or not take_arguments(ctx, argv, argc):
        return REDISMODULE_ERR
    if master.running:
        RedisModule_Log(ctx, b"warning", b"this server's master runs already")
        return REDISMODULE_ERR
    master.ctx = RedisModule_GetDetachedThreadSafeContext(ctx)
    for lane in range(<int>COMMAND_COUNT):
        queue_init(&master.queues[lane])
    info_init(&master.info)
    if not create_commands(ctx) or not load_settings(ctx) or not prepare_python(ctx):
        return REDISMODULE_ERR
    if RedisModule_RegisterInfoFunc(ctx, show_info) == REDISMODULE_ERR:
        return REDISMODULE_ERR
    RedisModule_SubscribeToServerEvent(ctx, RedisModuleEvent_Config, on_config)
    keep_off_disk(ctx)
    warn_of_keys(ctx)
    if not watch_commands(ctx):
        return REDISMODULE_ERR
    master.running = start_master(ctx)      # last: a module that fails to load must have no threads
    return REDISMODULE_OK if master.running else REDISMODULE_ERR


cdef public int RedisModule_OnUnload(RedisModuleCtx *ctx) noexcept nogil:
    RedisModule_Log(ctx, b"warning", b"%s cannot be unloaded: its threads run until the server ends", NAME)
    return REDISMODULE_ERR
