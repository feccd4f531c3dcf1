# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""The state of modules/member/persistence: what this server's disk holds, and what it says of the chain."""

from libc.stdint cimport int64_t, uint8_t

from modules.core.view cimport HISTORY_BYTES
from modules.member.state.heartbeat_plugin cimport ORDER_TEXT_BYTES
from modules.server.position cimport Position, Record

cdef enum:
    MAX_BRANCHES = 4            # branches kept; the oldest is forgotten


cdef struct Branch:
    # A history that this server's data had before: an attempt to begin a chain gave the data a new one.
    uint8_t history[HISTORY_BYTES]
    int64_t applied             # the updates up to this sequence number are the same in both histories


cdef struct Marker:
    # The identity file, which shows that this server's data is a chain's, even if all other files are lost
    # (`identity_file.pxi`).
    char name[32]               # file name, in the server's folder
    bint found                  # the file exists
    uint8_t history[HISTORY_BYTES]
    int kind                    # of the chain with this history: KIND_PUT or KIND_ALL
    int64_t void_epoch          # records up to this epoch do not count as durable, even if they say that they are
    int branch_count
    Branch branches[MAX_BRANCHES]   # other histories that this server's files may name
    char master[ORDER_TEXT_BYTES]   # argument of the last MEMBER.CONNECT_TO_MASTER
    int error                   # errno of the last attempt to replace the file; 0: it succeeded


cdef enum Source:
    # The source of the data that is being loaded.
    SOURCE_OTHERS
    SOURCE_RDB
    SOURCE_AOF


cdef struct Disk:
    # The state of this server's files (design.md, "Restart").
    bint started                # the data that the server found on its disk at the start is judged
    bint recording              # the append-only file is on
    bint always                 # appendfsync is always: the file is on the disk before Redis replies
    bint whole                  # the append-only file is complete: its first rewrite has ended
    bint waits                  # nothing about an update is sent before the update is in the file on the disk
    # the file cannot be written: nothing more is recorded, or the unwritten records would fill memory
    bint stuck
    bint had_child              # when a tick last looked: a child may have rewritten the file
    int64_t counted             # updates counted for Redis's save points, roughly
    int64_t flushed             # the newest update whose record is certainly in the file on the disk
    int64_t recorded_asleep     # the newest that had a record when the event loop last went to sleep (`note_asleep`)
    unsigned long long failures     # failed rewrites in a row while the append-only file is begun anew
    Record record
    bint record_due             # a change of the record is to be written to the file
    # In a chain of all commands, the newest record of a position in the file: the position, the epoch in which it was
    # assigned, and the stream's database there.
    int64_t positioned
    int64_t positioned_epoch
    int positioned_database
    bint position_due           # it is to be written again
    unsigned long long rewrites     # of the append-only file, as INFO counts them
    bint hindered               # the last attempt to record stopped early: clients are paused, or memory is exhausted
    int64_t claimed             # epoch of the newest record on the disk that claims to be durable; 0: no record does
    bint void_due               # that claim is void, and the identity file does not say so yet: nothing is sent
    Marker marker
    bint missing                # the data that the identity file names is not here
    # position of the data, valid only with the checkpoint that belongs to it; NULL: no checkpoint is needed
    Position *unproven
    Source source
    bint stale                  # the append-only file is behind this member's checkpoint and must be rewritten
    bint broken                 # a record of the file cannot be valid; that record and the rest were ignored
    char *scratch               # buffer in which batches are encoded
    size_t scratch_bytes
