# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# The start of the interpreter, of the coordinator in it, and of the worker threads.

from libc.stdlib cimport atoi

from modules.bindings.pthread cimport pthread_mutex_lock, pthread_mutex_unlock
from modules.bindings.python cimport PyModuleDef, PyObject
from modules.bindings.redismodule cimport (
    RedisModuleCtx, RedisModuleServerInfoData, RedisModuleString, RedisModule_FreeServerInfo, RedisModule_GetServerInfo,
    RedisModule_Log, RedisModule_ServerInfoGetFieldC, RedisModule_ServerInfoGetFieldUnsigned, RedisModule_StringPtrLen,
)
from modules.master.state cimport OwnSetting
from modules.python_host.interpreter cimport interpreter_exec, interpreter_start
from modules.server.passwords cimport the_passwords
from modules.server.redis_calls cimport redis_setting
from modules.server.tls cimport TlsSettings


cdef extern from *:
    """
    PyMODINIT_FUNC PyInit_embedded(void);
    """
    PyObject *PyInit_embedded() nogil


def start(own_run_id, own_port):
    """Make the coordinator and start the worker threads. The threads come last, after all that can fail.

    Raises chainredis.protocol.errors.Unusable, with a text for the operator, if the master cannot work.
    """
    global CommandError, Unusable, coordinator
    import signal
    import sys
    import threading
    from pathlib import Path

    find_package()
    from chainredis.coordinator import sentinel
    from chainredis.embedded.server_log import redirect_logs
    from chainredis.protocol.errors import CommandError, Unusable
    from chainredis.transport.settings import Credentials, PollSettings, Settings
    from chainredis.transport.tls import Tls

    def read_polling():
        return PollSettings(
            master.heartbeat_interval_ms, master.heartbeat_timeout_ms, master.lease_ms, bool(master.trust_refused),
            master.clock_drift_percent, bool(master.auto_return),
        )

    def read_credentials():
        return Credentials(setting_text(&master.auth_user), setting_text(&master.auth_password.value.text))

    def read_tls():
        cdef TlsSettings found
        pthread_mutex_lock(&the_passwords().mutex)
        wanted, found = master.tls_replicates, master.tls
        pthread_mutex_unlock(&the_passwords().mutex)
        texts = (
            found.ca_file, found.client.cert, found.client.key, found.ca_dir, found.client.password, found.protocols,
            found.ciphers,
        )
        return Tls(*((<bytes>text).decode(errors="surrogateescape") for text in texts)) if wanted else None

    def on_status(status):
        sight = coordinator.sight()
        show_status({"role": "master", **status})
        show_sentinel(sentinel.info(sight), sight.name if sight.members else "")

    redirect_logs(log)
    # A thread that computes must soon give way to one that a member's answer woke: a repair takes milliseconds.
    sys.setswitchinterval(0.0005)
    # Threads inherit the signal mask. Signals must go to the main thread, where Redis handles them.
    faults = {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals() - faults)
    try:
        coordinator = make_coordinator(Settings(
            state_dir=Path.cwd(),       # Redis makes its `dir` the working directory
            own_run_id=own_run_id,
            own_port=own_port,
            credentials=read_credentials,
            polling=read_polling,
            tls=read_tls,
        ))
        coordinator.on_status(on_status)
        coordinator.on_event(publish_event)
        lanes = sorted(set(coordinator.LANES.values()))
        for command, name in COMMAND_NAMES.items():
            master.lane[<int>command] = lanes.index(coordinator.LANES[name])
        for number, name in enumerate(lanes):
            threading.Thread(target=work, args=(number,), name=name, daemon=True).start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def make_coordinator(settings):
    """Returns the coordinator that `embed` of the kind's Python module makes from the settings."""
    import importlib
    cdef OwnSetting *own
    cdef int i
    texts = {}
    for i in range(master.kind.setting_count):
        own = &master.kind.settings[i]
        name = (<bytes>own.name).decode().replace("-", "_")
        texts[name] = setting_text(&own.password.value.text if own.password != NULL else &own.text)
    return importlib.import_module((<bytes>master.kind.python).decode()).embed(settings, **texts)


cdef str setting_text(RedisModuleString **setting):
    """Returns the setting's present value. May be called on any thread."""
    cdef size_t length
    cdef const char *text
    cdef bytes copy
    pthread_mutex_lock(&the_passwords().mutex)      # no thread that holds it waits for the interpreter's lock
    try:
        text = RedisModule_StringPtrLen(setting[0], &length)
        copy = text[:length]
    finally:
        pthread_mutex_unlock(&the_passwords().mutex)
    return copy.decode(errors="surrogateescape")


cdef bint start_python(const char *run_id, int port) noexcept with gil:
    """Returns False if the coordinator cannot start; the reason has been logged."""
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
    cdef char tls_port[16]
    cdef const char *run_id = RedisModule_ServerInfoGetFieldC(server, b"run_id")
    cdef bint started
    if master.tls_replicates and redis_setting(ctx, b"tls-port", tls_port, sizeof(tls_port)):
        port = <unsigned long long>atoi(tls_port)       # other masters come to this one as members do
    started = run_id != NULL and start_python(run_id, <int>port)
    RedisModule_FreeServerInfo(ctx, server)
    return started


cdef bint prepare_python(RedisModuleCtx *ctx) noexcept nogil:
    """Start the interpreter and run this unit's Python body: once in a process, even if the module is loaded again.

    Returns False if the reason has been logged.
    """
    cdef char why[512]
    if not master.prepared:
        master.prepared = (
            interpreter_start(why, sizeof(why))
            and interpreter_exec(master.kind.library, <PyModuleDef *>PyInit_embedded(), why, sizeof(why))
        )
        if not master.prepared:
            RedisModule_Log(ctx, b"warning", b"%s", why)
    return master.prepared
