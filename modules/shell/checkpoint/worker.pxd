# cython: language_level=3
"""Threads that do what the event loop may not wait for: jobs go to them through a queue, and come back through another.

A worker touches nothing of Redis: not the keyspace, no client, no reference count.
"""

from libc.stdint cimport uint64_t

from modules.pthread cimport (
    pthread_cond_init, pthread_cond_signal, pthread_cond_wait, pthread_create, pthread_join, pthread_mutex_init,
    pthread_mutex_lock, pthread_mutex_unlock,
)
from modules.redismodule cimport REDISMODULE_EVENTLOOP_READABLE, REDISMODULE_OK, RedisModule_EventLoopAdd
from modules.shell.checkpoint.state cimport Finished, Job, Worker
from modules.shell.libc cimport EFD_CLOEXEC, EFD_NONBLOCK, PRIO_PROCESS, eventfd, read, setpriority, write as write_fd


# ---------------------------------------------------------------------------------------------- on their way back

cdef inline void on_finished(int fd, void *data, int mask) noexcept nogil:
    """Only wakes the loop: what has been done is taken before it sleeps, when the keyspace may be touched."""
    cdef uint64_t count
    read(fd, &count, sizeof(count))


cdef inline bint finished_init(Finished *finished) noexcept nogil:
    pthread_mutex_init(&finished.mutex, NULL)
    pthread_cond_init(&finished.filled, NULL)
    finished.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
    return finished.wake_fd >= 0 and RedisModule_EventLoopAdd(
        finished.wake_fd, REDISMODULE_EVENTLOOP_READABLE, on_finished, NULL) == REDISMODULE_OK


cdef inline void finished_put(Finished *finished, Job *job) noexcept nogil:
    cdef uint64_t one = 1
    job.next = NULL
    pthread_mutex_lock(&finished.mutex)
    if finished.last != NULL:
        finished.last.next = job
    else:
        finished.first = job
    finished.last = job
    pthread_cond_signal(&finished.filled)
    pthread_mutex_unlock(&finished.mutex)
    write_fd(finished.wake_fd, &one, sizeof(one))


cdef inline Job *finished_take(Finished *finished, bint wait) noexcept nogil:
    """The oldest, which is then the caller's; NULL: none, and none was to be waited for."""
    cdef Job *job
    pthread_mutex_lock(&finished.mutex)
    while wait and finished.first == NULL:
        pthread_cond_wait(&finished.filled, &finished.mutex)
    job = finished.first
    if job != NULL:
        finished.first = job.next
        if finished.first == NULL:
            finished.last = NULL
    pthread_mutex_unlock(&finished.mutex)
    return job


# -------------------------------------------------------------------------------------------------- at work

cdef inline Job *worker_take(Worker *worker) noexcept nogil:
    """NULL: it is to end."""
    cdef Job *job = NULL
    pthread_mutex_lock(&worker.mutex)
    while worker.first == NULL and not worker.stopping:
        pthread_cond_wait(&worker.filled, &worker.mutex)
    if not worker.stopping:
        job = worker.first
        worker.first = job.next
        if worker.first == NULL:
            worker.last = NULL
    pthread_mutex_unlock(&worker.mutex)
    return job


cdef inline void *worker_main(void *data) noexcept nogil:
    cdef Worker *worker = <Worker *>data
    cdef Job *job
    setpriority(PRIO_PROCESS, 0, worker.nice)       # of this thread alone, and of those that it starts
    job = worker_take(worker)
    while job != NULL:
        job.run(job)
        finished_put(worker.finished, job)
        job = worker_take(worker)
    return NULL


cdef inline bint worker_start(Worker *worker, Finished *finished, int nice) noexcept nogil:
    worker.finished = finished
    worker.nice = nice
    pthread_mutex_init(&worker.mutex, NULL)
    pthread_cond_init(&worker.filled, NULL)
    worker.running = pthread_create(&worker.thread, NULL, worker_main, worker) == 0
    return worker.running


cdef inline void worker_put(Worker *worker, Job *job) noexcept nogil:
    job.next = NULL
    pthread_mutex_lock(&worker.mutex)
    if worker.last != NULL:
        worker.last.next = job
    else:
        worker.first = job
    worker.last = job
    pthread_cond_signal(&worker.filled)
    pthread_mutex_unlock(&worker.mutex)


cdef inline void worker_stop(Worker *worker) noexcept nogil:
    """Waits for what it is just doing; the jobs that wait are not done."""
    if not worker.running:
        return
    pthread_mutex_lock(&worker.mutex)
    worker.stopping = True
    pthread_cond_signal(&worker.filled)
    pthread_mutex_unlock(&worker.mutex)
    pthread_join(worker.thread, NULL)
    worker.running = False
