# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# The worker threads, which are Python threads. Each takes jobs from a queue, lets the coordinator carry them out, and
# unblocks the clients.
#
# Commands that only read have a thread of their own, so that they are answered while a member is being added.

from modules.bindings.redismodule cimport RedisModule_Free, RedisModule_Log, RedisModule_UnblockClient
from modules.master.info cimport info_set
from modules.master.jobs cimport (
    Job, OUTCOME_ERROR, OUTCOME_SIMPLE, OUTCOME_TREE, Outcome, OutcomeKind, Queue, outcome_new, queue_take,
)
from modules.master.state cimport ADD, FORM, GET_CHAIN, REFRESH_HEAD, REFRESH_TAIL, REMOVE, SENTINEL


cdef enum:
    MAX_ADDITIONS = 64      # with a thread at the same time; more additions stay in the queue


COMMAND_NAMES = {
    ADD: "MASTER.ADD",
    REMOVE: "MASTER.REMOVE",
    FORM: "MASTER.FORM",
    REFRESH_HEAD: "MASTER.REFRESH_HEAD",
    REFRESH_TAIL: "MASTER.REFRESH_TAIL",
    GET_CHAIN: "MASTER.GET_CHAIN",
    SENTINEL: "SENTINEL",
}
coordinator = None      # a chainredis.coordinator.commands.Coordinator
CommandError = Unusable = None      # the classes of chainredis.protocol.errors


def work(int lane):
    """Run a worker: take a job, carry it out, unblock its client, for ever.

    Each addition has a thread of its own. Additions wait for each other in Python, where they can be cancelled.
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
    """Carry out one addition, on its own thread."""
    finish(<Job *>job)
    places.release()


cdef void finish(Job *job) noexcept:
    """Carry out the job, unblock its client, and free the job."""
    cdef Outcome *outcome = carry_out(job)
    with nogil:
        RedisModule_UnblockClient(job.client, outcome)
        RedisModule_Free(job)


cdef Outcome *carry_out(const Job *job) noexcept:
    """Returns the job's outcome, whatever exception Python raises. NULL: memory ran out (`outcome_reply`)."""
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
    """Returns the outcome for a result of the coordinator: a `chainredis.coordinator.sentinel.Answer`."""
    if isinstance(result, str):
        return make_text(OUTCOME_SIMPLE, result)
    items = list(tree_items(result))
    strings = b"".join(item + b"\0" for item in items)
    return outcome_new(OUTCOME_TREE, len(items), strings, len(strings))


def tree_items(result):
    """Yields the parts of a nested reply in their order, each a letter and a string."""
    if result is None:
        yield b"_"
    elif isinstance(result, int):
        yield b":%d" % result
    elif isinstance(result, list):
        yield b"*%d" % len(result)
        for each in result:
            yield from tree_items(each)
    elif isinstance(result, dict):
        yield b"%%%d" % len(result)
        for pair in result.items():
            for each in pair:
                yield from tree_items(each)
    else:
        yield b"$" + (result if isinstance(result, bytes) else one_line(result))


cdef Outcome *make_text(OutcomeKind kind, text) except NULL:
    line = one_line(text)
    return outcome_new(kind, 0, line, len(line) + 1)


def show_status(status):
    """Push the coordinator's status to the fields of INFO."""
    fields = info_fields(status)
    if not info_set(&master.info, fields, len(fields)):
        log("warning", "INFO shows old figures of the master: there is no room for the new ones")


def show_sentinel(status, chain):
    """Push the section that INFO of a Sentinel has, and the chain's name, empty without a chain, for ROLE."""
    fields = info_fields(status)
    name = one_line(chain) + b"\0"
    info_set(&master.sentinel.info, fields, len(fields))
    info_set(&master.sentinel.chain, name, len(name))


def info_fields(status):
    return b"".join(one_line(part) + b"\0" for field in status.items() for part in field)


def log(level, text):
    """Write each line of the text to the server's log, at one of Redis's log levels."""
    level_bytes = level.encode()
    for line in text.splitlines():
        line_bytes = one_line(line)
        RedisModule_Log(master.ctx, <const char *>level_bytes, b"%s", <const char *>line_bytes)


include "../python_host/lines.pxi"
