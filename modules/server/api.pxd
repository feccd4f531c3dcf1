# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""Whether this server has all functions of the module API that a module uses. Used by all modules as they load.

A server need not have what a header offers: the function's pointer is NULL then, and the module would be loaded all the
same. setup.py lists in used_api.h what a module uses.
"""

from libc.stdio cimport snprintf
from libc.string cimport strlen

from modules.bindings.redismodule cimport (
    REDISMODULE_APIVER_1, REDISMODULE_OK, RedisModule_Init, RedisModule_Log, RedisModuleCtx,
)
from modules.server.redis_calls cimport server_version

cdef extern from *:
    """
    #include "used_api.h"
    #define ONE_MORE(name) + 1
    #define NAME_AND_FUNCTION(name) {#name, (void **)&name},
    #define USED_API_COUNT (0 USED_API(ONE_MORE))
    typedef struct {
        const char *name;
        void **function;
    } ApiFunction;
    static inline ApiFunction used_api(int i) {
        const ApiFunction all[] = { USED_API(NAME_AND_FUNCTION) };
        return all[i];
    }
    #define CAN_TELL_VERSION \\
        (RedisModule_GetServerInfo && RedisModule_ServerInfoGetFieldC && RedisModule_FreeServerInfo)
    #define CAN_LOG (RedisModule_Log != NULL)
    """
    ctypedef struct ApiFunction:
        const char *name
        void **function
    ApiFunction used_api(int i) noexcept nogil
    const int USED_API_COUNT
    const bint CAN_TELL_VERSION
    const bint CAN_LOG

cdef enum:
    NAMES_BYTES = 512
    VERSION_BYTES = 64


cdef inline bint api_is_whole(RedisModuleCtx *ctx, const char *library) noexcept nogil:
    """Returns whether the server has all that the module uses. If not, the log names what is missing."""
    cdef char names[NAMES_BYTES]
    cdef char version[VERSION_BYTES]
    cdef size_t length
    cdef int i
    names[0] = 0
    for i in range(USED_API_COUNT):
        if used_api(i).function[0] == NULL:
            length = strlen(names)
            snprintf(&names[length], NAMES_BYTES - length, " %s", used_api(i).name)
    if not names[0]:
        return True
    snprintf(version, VERSION_BYTES, "of an unknown version")
    if CAN_TELL_VERSION:
        server_version(ctx, version, VERSION_BYTES)
    if CAN_LOG:
        RedisModule_Log(ctx, "warning", "%s: this server, %s, lacks functions that the module calls:%s. It is for "
                        "Redis 7.0 and later, Valkey and Redict", library, &version[0], &names[0])
    return False


cdef inline bint api_init(RedisModuleCtx *ctx, const char *name, const char *library) noexcept nogil:
    """Give the module its name, and get the server's functions. Returns False if the module cannot be loaded."""
    return RedisModule_Init(ctx, name, 1, REDISMODULE_APIVER_1) == REDISMODULE_OK and api_is_whole(ctx, library)
