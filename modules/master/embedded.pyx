# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""A master inside a server, without the storage of its view. One compile unit, linked into libmaster.so and
libetcd_master.so.

A command's handler runs on the Redis main thread and never enters the interpreter: it blocks the client and queues a
job. A Python thread carries out the job and unblocks the client with the outcome.
"""

from modules.master.state cimport Master

cdef Master master      # one in a process; its threads never end

include "settings.pxi"
include "handlers.pxi"
include "sentinel.pxi"
include "watching.pxi"
include "workers.pxi"
include "starting.pxi"
include "loading.pxi"
