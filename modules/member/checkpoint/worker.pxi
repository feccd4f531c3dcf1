# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# Worker threads, for work that would block the event loop. Jobs go to a worker through one queue, and come back through
# another.
#
# A worker uses neither the keyspace, nor clients, nor reference counts of Redis.

from libc.stdint cimport uint64_t

from modules.bindings.libc cimport (
    EFD_CLOEXEC, EFD_NONBLOCK, PRIO_PROCESS, close, eventfd, read, setpriority, write as write_fd,
)
from modules.bindings.pthread cimport (
    pthread_cond_init, pthread_cond_signal, pthread_cond_wait, pthread_join, pthread_mutex_init, pthread_mutex_lock,
    pthread_mutex_unlock,
)
from modules.bindings.redismodule cimport REDISMODULE_EVENTLOOP_READABLE, REDISMODULE_OK, RedisModule_EventLoopAdd
from modules.member.state.checkpoint cimport Finished, Job, Jobs, Worker
from modules.server.threads cimport thread_start


# ------------------------------------------------------------------------------------------------------ queues

cdef void jobs_init(Jobs *jobs) noexcept nogil:
    pthread_mutex_init(&jobs.mutex, NULL)
    pthread_cond_init(&jobs.filled, NULL)


cdef void jobs_put(Jobs *jobs, Job *job) noexcept nogil:
    job.next = NULL
    pthread_mutex_lock(&jobs.mutex)
    if jobs.last != NULL:
        jobs.last.next = job
    else:
        jobs.first = job
    jobs.last = job
    pthread_cond_signal(&jobs.filled)
    pthread_mutex_unlock(&jobs.mutex)


cdef Job *jobs_take(Jobs *jobs, bint wait) noexcept nogil:
    """Returns the oldest job, which then belongs to the caller. NULL: the queue is closed, or it is empty and `wait` is
    False.
    """
    cdef Job *job = NULL
    pthread_mutex_lock(&jobs.mutex)
    while wait and jobs.first == NULL and not jobs.closed:
        pthread_cond_wait(&jobs.filled, &jobs.mutex)
    if jobs.first != NULL and not jobs.closed:
        job = jobs.first
        jobs.first = job.next
        if jobs.first == NULL:
            jobs.last = NULL
    pthread_mutex_unlock(&jobs.mutex)
    return job


cdef void jobs_close(Jobs *jobs) noexcept nogil:
    pthread_mutex_lock(&jobs.mutex)
    jobs.closed = True
    pthread_cond_signal(&jobs.filled)
    pthread_mutex_unlock(&jobs.mutex)


# ------------------------------------------------------------------------------------------------- jobs that are done

cdef void on_finished(int fd, void *data, int mask) noexcept nogil:
    """Wake the event loop, and nothing else: done jobs are taken in the before-sleep event, where keys may be changed.
    """
    cdef uint64_t count
    read(fd, &count, sizeof(count))


cdef bint finished_init(Finished *finished) noexcept nogil:
    """Prepare the queue of done jobs, unless it is ready. Returns False without a free descriptor."""
    if finished.watched:
        return True
    jobs_init(&finished.jobs)
    finished.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
    if finished.wake_fd < 0:
        return False
    finished.watched = RedisModule_EventLoopAdd(
        finished.wake_fd, REDISMODULE_EVENTLOOP_READABLE, on_finished, NULL) == REDISMODULE_OK
    if not finished.watched:
        close(finished.wake_fd)
    return finished.watched


cdef void finished_put(Finished *finished, Job *job) noexcept nogil:
    cdef uint64_t one = 1
    jobs_put(&finished.jobs, job)
    write_fd(finished.wake_fd, &one, sizeof(one))


cdef Job *finished_take(Finished *finished, bint wait) noexcept nogil:
    """Returns a job that is done, whose `done` the caller must call. NULL: none is done, and `wait` is False."""
    return jobs_take(&finished.jobs, wait)


# ------------------------------------------------------------------------------------------------- the worker thread

cdef void *worker_main(void *data) noexcept nogil:
    cdef Worker *worker = <Worker *>data
    cdef Job *job
    setpriority(PRIO_PROCESS, 0, worker.nice)       # on Linux: of this thread, and of threads that it starts
    job = jobs_take(&worker.jobs, True)
    while job != NULL:
        job.run(job)
        finished_put(worker.finished, job)
        job = jobs_take(&worker.jobs, True)
    return NULL


cdef bint worker_start(Worker *worker, Finished *finished, int nice) noexcept nogil:
    """Start the worker, unless it runs. Returns False if no thread can be started."""
    if worker.running:
        return True
    worker.finished = finished
    worker.nice = nice
    jobs_init(&worker.jobs)
    worker.running = thread_start(&worker.thread, worker_main, worker, False)
    return worker.running


cdef void worker_put(Worker *worker, Job *job) noexcept nogil:
    """Queue a job. The worker must be running."""
    jobs_put(&worker.jobs, job)


cdef void worker_stop(Worker *worker) noexcept nogil:
    """End the worker after its current job, and wait for that. Queued jobs are not run."""
    if not worker.running:
        return
    jobs_close(&worker.jobs)
    pthread_join(worker.thread, NULL)
    worker.running = False
