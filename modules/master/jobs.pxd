# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""Jobs carry commands from the Redis main thread to a Python thread; outcomes come back.

A queue's mutex is held for a few instructions, and never while a thread waits for the interpreter's lock. So the main
thread never waits for Python (rule 8).
"""

from libc.stdio cimport snprintf
from libc.stdlib cimport atoll
from libc.string cimport memcpy, memset, strlen

from modules.bindings.pthread cimport (
    pthread_cond_init, pthread_cond_signal, pthread_cond_t, pthread_cond_wait, pthread_mutex_init,
    pthread_mutex_lock, pthread_mutex_t, pthread_mutex_unlock,
)
from modules.bindings.redismodule cimport (
    REDISMODULE_OK, RedisModuleBlockedClient, RedisModuleClientInfo, RedisModuleCtx, RedisModuleString,
    RedisModule_Alloc, RedisModule_Free, RedisModule_FreeString, RedisModule_GetBlockedClientPrivateData,
    RedisModule_GetClientId, RedisModule_GetClientInfoById, RedisModule_ReplyWithArray, RedisModule_ReplyWithCString,
    RedisModule_ReplyWithError, RedisModule_ReplyWithLongLong, RedisModule_ReplyWithMap,
    RedisModule_ReplyWithNullArray, RedisModule_ReplyWithSimpleString, RedisModule_StringPtrLen,
)
from modules.server.acl cimport current_user_name

cdef enum:
    MAX_ARGUMENTS = 4           # of a command, without its name
    MAX_ARGUMENT_BYTES = 1024   # more than any host name or number needs
    ASKER_BYTES = 128           # of a client's address and user name; longer text is cut off
    MAX_WAITING = 1024          # jobs in a queue


cdef struct Job:
    Job *next
    RedisModuleBlockedClient *client
    int command
    char asker[ASKER_BYTES]     # the client that sent the command, for the log
    int argument_count
    size_t argument_bytes[MAX_ARGUMENTS]
    char arguments[MAX_ARGUMENTS][MAX_ARGUMENT_BYTES]


cdef struct Queue:
    pthread_mutex_t mutex
    pthread_cond_t filled
    Job *first
    Job *last
    int waiting


cdef enum OutcomeKind:
    OUTCOME_SIMPLE      # one string
    OUTCOME_ERROR       # one string, which begins with the error's code
    OUTCOME_TREE        # `number` items, each a letter and a string: the parts of a nested reply, in their order


cdef struct Outcome:
    # The reply to a client. The strings follow the struct in memory, each NUL-terminated.
    OutcomeKind kind
    long long number


# -------------------------------------------------------------------------------------------------- jobs

cdef inline Job *job_new(int command, RedisModuleString **argv, int argc) noexcept nogil:
    """Returns a job with copies of the command's arguments; NULL: an argument has more than MAX_ARGUMENT_BYTES."""
    cdef Job *job = <Job *>RedisModule_Alloc(sizeof(Job))
    cdef const char *bytes
    cdef int i
    job.next = NULL
    job.client = NULL
    job.command = command
    job.argument_count = argc - 1
    for i in range(argc - 1):
        bytes = RedisModule_StringPtrLen(argv[i + 1], &job.argument_bytes[i])
        if job.argument_bytes[i] > MAX_ARGUMENT_BYTES:
            RedisModule_Free(job)
            return NULL
        memcpy(job.arguments[i], bytes, job.argument_bytes[i])
    return job


cdef inline void job_note_asker(Job *job, RedisModuleCtx *ctx) noexcept nogil:
    """Note the client's address and user name for the log."""
    cdef RedisModuleClientInfo client
    cdef RedisModuleString *user
    user = current_user_name(ctx)
    if user == NULL:
        snprintf(job.asker, ASKER_BYTES, b"another module")
        return
    memset(&client, 0, sizeof(client))
    client.version = 1
    RedisModule_GetClientInfoById(&client, RedisModule_GetClientId(ctx))
    snprintf(job.asker, ASKER_BYTES, b"%s:%d, user %s", &client.addr[0], <int>client.port,
             RedisModule_StringPtrLen(user, NULL))
    RedisModule_FreeString(ctx, user)


cdef inline void queue_init(Queue *queue) noexcept nogil:
    memset(queue, 0, sizeof(Queue))
    pthread_mutex_init(&queue.mutex, NULL)
    pthread_cond_init(&queue.filled, NULL)


cdef inline bint queue_full(Queue *queue) noexcept nogil:
    """Returns whether the queue is full. Only the main thread asks and puts, so the answer holds until its next put."""
    cdef bint full
    pthread_mutex_lock(&queue.mutex)
    full = queue.waiting >= MAX_WAITING
    pthread_mutex_unlock(&queue.mutex)
    return full


cdef inline void queue_put(Queue *queue, Job *job) noexcept nogil:
    """Append the job, which the queue owns from now on."""
    pthread_mutex_lock(&queue.mutex)
    if queue.last != NULL:
        queue.last.next = job
    else:
        queue.first = job
    queue.last = job
    queue.waiting += 1
    pthread_cond_signal(&queue.filled)
    pthread_mutex_unlock(&queue.mutex)


cdef inline Job *queue_take(Queue *queue) noexcept nogil:
    """Returns the oldest job, which the caller then owns. Blocks until there is one, so the caller must not hold the
    interpreter's lock.
    """
    cdef Job *job
    pthread_mutex_lock(&queue.mutex)
    while queue.first == NULL:
        pthread_cond_wait(&queue.filled, &queue.mutex)
    job = queue.first
    queue.first = job.next
    if queue.first == NULL:
        queue.last = NULL
    queue.waiting -= 1
    pthread_mutex_unlock(&queue.mutex)
    return job


# ---------------------------------------------------------------------------------------------- outcomes

cdef inline Outcome *outcome_new(OutcomeKind kind, long long number, const char *strings, size_t bytes) noexcept nogil:
    """Returns an outcome with a copy of the strings, which have `bytes` in all."""
    cdef Outcome *outcome = <Outcome *>RedisModule_Alloc(sizeof(Outcome) + bytes)
    outcome.kind = kind
    outcome.number = number
    memcpy(<char *>(outcome + 1), strings, bytes)
    return outcome


cdef inline void outcome_free(RedisModuleCtx *ctx, void *outcome) noexcept nogil:
    RedisModule_Free(outcome)


cdef inline void reply_item(RedisModuleCtx *ctx, char letter, const char *string) noexcept nogil:
    """Reply with one part of a nested reply. The letters are those of RESP3: `$` a string, `:` an integer, `*` an array
    of so many elements, which follow, `%` a map of so many pairs, `_` a null array.
    """
    if letter == c"$":
        RedisModule_ReplyWithCString(ctx, string)
    elif letter == c":":
        RedisModule_ReplyWithLongLong(ctx, atoll(string))
    elif letter == c"*":
        RedisModule_ReplyWithArray(ctx, atoll(string))
    elif letter == c"%":
        RedisModule_ReplyWithMap(ctx, atoll(string))
    else:
        RedisModule_ReplyWithNullArray(ctx)


cdef inline int outcome_reply(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    """Reply with the outcome: Redis calls this on the main thread after the client was unblocked.

    A job has no outcome only if memory ran out: then the reply is UNKNOWN.
    """
    cdef const Outcome *outcome = <const Outcome *>RedisModule_GetBlockedClientPrivateData(ctx)
    cdef const char *string
    cdef long long _
    if outcome == NULL:
        return RedisModule_ReplyWithError(ctx, b"UNKNOWN the master ran out of memory: see its log")
    string = <const char *>(outcome + 1)
    if outcome.kind == OUTCOME_SIMPLE:
        return RedisModule_ReplyWithSimpleString(ctx, string)
    if outcome.kind == OUTCOME_ERROR:
        return RedisModule_ReplyWithError(ctx, string)
    for _ in range(outcome.number):
        reply_item(ctx, string[0], string + 1)
        string += strlen(string) + 1
    return REDISMODULE_OK
