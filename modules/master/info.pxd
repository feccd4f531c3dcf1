# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""The fields of INFO that Python supplies. Python pushes them here when they change, so INFO never waits for Python."""

from libc.string cimport memcpy, strlen

from modules.bindings.pthread cimport (
    pthread_mutex_init, pthread_mutex_lock, pthread_mutex_t, pthread_mutex_trylock, pthread_mutex_unlock,
)
from modules.bindings.redismodule cimport RedisModuleInfoCtx, RedisModule_InfoAddFieldCString

cdef enum:
    INFO_BYTES = 32768


cdef struct Info:
    pthread_mutex_t mutex
    size_t bytes
    char fields[INFO_BYTES]     # name, value, name, value, …: each with its NUL


cdef inline void info_init(Info *info) noexcept nogil:
    pthread_mutex_init(&info.mutex, NULL)
    info.bytes = 0


cdef inline bint info_set(Info *info, const char *fields, size_t bytes) noexcept nogil:
    """Replace the fields. Returns False, with the old fields kept, if there is no room for `bytes`."""
    if bytes > INFO_BYTES:
        return False
    pthread_mutex_lock(&info.mutex)
    memcpy(info.fields, fields, bytes)
    info.bytes = bytes
    pthread_mutex_unlock(&info.mutex)
    return True


cdef inline void info_show(Info *info, RedisModuleInfoCtx *out, bint crashed) noexcept nogil:
    """Add the fields to the open section of INFO.

    A crash report shows none if the mutex is locked: the thread that crashed may hold it.
    """
    cdef const char *name = info.fields
    cdef const char *value
    if crashed:
        if pthread_mutex_trylock(&info.mutex) != 0:
            return
    else:
        pthread_mutex_lock(&info.mutex)
    while name < info.fields + info.bytes:
        value = name + strlen(name) + 1
        RedisModule_InfoAddFieldCString(out, name, value)
        name = value + strlen(value) + 1
    pthread_mutex_unlock(&info.mutex)
