# cython: language_level=3
"""The room of heartbeats in etcd."""

from libc.stdint cimport int64_t

from modules.bindings.pthread cimport pthread_mutex_t
from modules.member.state.complaint cimport ERROR_BYTES
from modules.member.state.heartbeat_plugin cimport ORDER_TEXT_BYTES, WHY_BYTES

cdef enum:
    MASTER_PLAIN = 0
    MASTER_IN_ETCD = 1


cdef struct Heartbeat:
    # What MEMBER.CONNECT_TO_MASTER has brought about.
    int64_t pulse               # counts on as long as the event loop turns; other threads look at it
    int connecting              # commands under way
    char *library               # the path of libheartbeat.so, beside our own
    char master[ORDER_TEXT_BYTES]   # as it was given
    char etcd[ORDER_TEXT_BYTES]     # that, of a master in etcd
    pthread_mutex_t mutex       # of what other threads write:
    char state[WHY_BYTES]       # none, connecting, beating, or what is wrong
    char leader[ERROR_BYTES]    # host:port of the master that leads
