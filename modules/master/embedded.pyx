# cython: language_level=3
"""A master in a server: all but for where its view is kept. Compiled once, for libmaster.so and libetcd_master.so.

A command's handler, on the Redis main thread and without the interpreter, only blocks its client and queues a job; a
Python thread carries it out and unblocks the client with the outcome.
"""

from modules.master.state cimport Master

cdef Master master      # a process has one; its threads never end

include "settings.pxi"
include "handlers.pxi"
include "watching.pxi"
include "workers.pxi"
include "starting.pxi"
include "loading.pxi"
