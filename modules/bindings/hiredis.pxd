# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""The part of hiredis that is used here: non-blocking contexts, driven by the Redis event loop or by a thread of their
own. Extern only.
"""

cdef extern from "hiredis.h" nogil:
    enum:
        REDIS_ERR_EOF
        REDIS_OK
        REDIS_REPLY_STRING
        REDIS_REPLY_ARRAY
        REDIS_REPLY_INTEGER
        REDIS_REPLY_STATUS
        REDIS_REPLY_ERROR

    ctypedef int redisFD

    ctypedef struct redisReader:
        size_t len
        long long maxelements

    ctypedef struct redisReply:
        int type
        long long integer
        size_t len
        char *str
        size_t elements
        redisReply **element

    ctypedef struct redisContext:
        int err
        char errstr[128]
        redisFD fd
        char *obuf
        redisReader *reader

    redisContext *redisConnectNonBlock(const char *ip, int port)
    void redisFree(redisContext *)
    int redisBufferRead(redisContext *)
    int redisBufferWrite(redisContext *, int *done)
    int redisGetReplyFromReader(redisContext *, void **)
    int redisAppendCommand(redisContext *, const char *format, ...)
    int redisAppendCommandArgv(redisContext *, int argc, const char **argv, const size_t *argvlen)
    int redisAppendFormattedCommand(redisContext *, const char *cmd, size_t len)
    void freeReplyObject(void *)

cdef extern from "alloc.h" nogil:
    ctypedef struct hiredisAllocFuncs:
        void *(*mallocFn)(size_t) noexcept nogil
        void *(*callocFn)(size_t, size_t) noexcept nogil
        void *(*reallocFn)(void *, size_t) noexcept nogil
        char *(*strdupFn)(const char *) noexcept nogil
        void (*freeFn)(void *) noexcept nogil

    hiredisAllocFuncs hiredisSetAllocators(hiredisAllocFuncs *)

cdef extern from "sds.h" nogil:
    size_t sdslen "hi_sdslen"(const char *)
