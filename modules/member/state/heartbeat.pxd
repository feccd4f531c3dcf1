# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""The state of modules/member/etcd_heartbeat."""

from libc.stdint cimport int64_t

from modules.bindings.pthread cimport pthread_mutex_t
from modules.member.state.complaint cimport ERROR_BYTES
from modules.member.state.heartbeat_plugin cimport ORDER_TEXT_BYTES, WHY_BYTES

cdef enum:
    MASTER_PLAIN = 0
    MASTER_IN_ETCD = 1


cdef struct Heartbeat:
    # The connection to a master in etcd, made by MEMBER.CONNECT_TO_MASTER.
    int64_t pulse               # incremented in each tick of the event loop; the heartbeat thread reads it
    int connecting              # running MEMBER.CONNECT_TO_MASTER commands
    char *library               # path of libheartbeat.so, in the folder of libmember.so
    char master[ORDER_TEXT_BYTES]   # address in the last command
    char etcd[ORDER_TEXT_BYTES]     # the same address, if it is that of a master in etcd
    pthread_mutex_t mutex       # protects the fields below, which other threads write:
    char state[WHY_BYTES]       # "none", "connecting", "beating", or the error
    char leader[ERROR_BYTES]    # host:port of the leader
