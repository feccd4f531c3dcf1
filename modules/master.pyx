# cython: language_level=3
"""libmaster.so: a redis-server that decides who is in the chain, and keeps its view in a file."""

include "master/master.pxi"

cdef extern from *:
    """
    PyMODINIT_FUNC PyInit_master(void);
    """
    PyObject *PyInit_master() nogil
    const char *NAME "\"libmaster.so\""


cdef PyObject *python_module() noexcept nogil:
    return PyInit_master()


cdef bint take_arguments(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    if argc:
        RedisModule_Log(ctx, b"warning", b"libmaster.so takes no arguments; for a master in etcd: libetcd_master.so")
    return argc == 0


cdef bint register_own_settings(RedisModuleCtx *ctx) noexcept nogil:
    return True


def make_coordinator(settings):
    from chainredis.coordinator.commands import Coordinator
    return Coordinator(settings)
