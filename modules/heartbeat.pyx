# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""libheartbeat.so sends a member's heartbeats to etcd. libmember.so opens it when MEMBER.CONNECT_TO_MASTER names a
master in etcd.

Nothing here runs on the Redis main thread or calls Redis's module API: the member passes functions for its log and
for INFO.
"""

from libc.stdio cimport snprintf

from modules.bindings.pthread cimport pthread_mutex_lock, pthread_mutex_t, pthread_mutex_unlock
from modules.bindings.python cimport PyModuleDef, PyObject
from modules.member.state.heartbeat_plugin cimport Order
from modules.python_host.interpreter cimport interpreter_exec, interpreter_start

cdef extern from *:
    """
    #include <pthread.h>
    PyMODINIT_FUNC PyInit_heartbeat(void);
    static pthread_mutex_t chain_one_at_a_time = PTHREAD_MUTEX_INITIALIZER;
    __attribute__((visibility("default"))) int heartbeat_connect(void *order);
    """
    PyObject *PyInit_heartbeat() nogil
    pthread_mutex_t chain_one_at_a_time

cdef bint prepared      # zero at the start, by C; the module's Python body must not assign it, because it runs later
cdef Order order        # the newest order; its texts are read only while it is carried out

beat = None             # a chainredis.etcd.heartbeat_sender.HeartbeatSender


def read_pulse():
    return order.pulse[0]


def show(state, leader):
    cdef bytes state_bytes = one_line(state)
    cdef bytes leader_bytes = one_line(leader)
    order.show(state_bytes, leader_bytes)


def log(level, text):
    cdef bytes level_bytes = level.encode()
    cdef bytes line_bytes
    for line in text.splitlines():
        line_bytes = one_line(line)
        order.log(level_bytes, line_bytes)


include "python_host/lines.pxi"


def connect():
    """Start to send heartbeats by the order, instead of those before. Raises ValueError with a text for the client."""
    global beat
    from chainredis.etcd.heartbeat_sender import begin
    texts = {
        "url": order.url, "user": order.user, "password": order.password, "ca": order.ca, "cert": order.cert,
        "key": order.key, "announce_host": order.announce_host, "run_id": order.run_id,
    }
    fresh = begin(
        **{name: (<bytes>text).decode(errors="surrogateescape") for name, text in texts.items()},
        port=order.port, interval_s=order.interval_s, timeout_s=order.timeout_s, pulse=read_pulse, show=show,
    )
    if beat:
        beat.close()
    beat = fresh


cdef bint connect_python(char *why, size_t why_bytes) noexcept with gil:
    cdef bytes text
    try:
        find_package()
        from chainredis.embedded.server_log import redirect_logs
        redirect_logs(log)
        connect()
        return True
    except BaseException as error:
        if not isinstance(error, ValueError):
            log_traceback("the heartbeat cannot start")
        text = one_line(error)
        snprintf(why, why_bytes, b"%s", <const char *>text)
        return False


cdef public int heartbeat_connect(void *given) noexcept nogil:
    """Carry out an order (`Connect` in heartbeat.pxd). Returns 0 if it failed, with the reason in `why`."""
    global order, prepared
    cdef Order *fresh = <Order *>given
    cdef bint good
    pthread_mutex_lock(&chain_one_at_a_time)
    order = fresh[0]
    if not prepared:
        prepared = (
            interpreter_start(fresh.why, sizeof(fresh.why))
            and interpreter_exec(b"libheartbeat", <PyModuleDef *>PyInit_heartbeat(), fresh.why, sizeof(fresh.why))
        )
    good = prepared and connect_python(fresh.why, sizeof(fresh.why))
    pthread_mutex_unlock(&chain_one_at_a_time)
    return good
