# cython: language_level=3
"""The room of persistence: what this server has of itself on its disk."""

from libc.stdint cimport int64_t, uint8_t

from modules.core.view cimport HISTORY_BYTES
from modules.member.state.heartbeat_plugin cimport ORDER_TEXT_BYTES
from modules.server.position cimport Position, Record

cdef enum:
    MAX_BRANCHES = 4            # of attempts to begin a chain with this server's data; older ones are forgotten


cdef struct Branch:
    # A history that this server's data had before it became another's.
    uint8_t history[HISTORY_BYTES]
    int64_t applied             # up to there its updates are this server's too


cdef struct Marker:
    # The file that says that this server is a chain's, whatever else is lost (`identity_file.pxi`).
    char name[32]               # in the server's folder
    bint found                  # it is there
    uint8_t history[HISTORY_BYTES]
    int64_t void_epoch          # records up to this epoch are not durable, whatever they say
    int branch_count
    Branch branches[MAX_BRANCHES]   # what the files of this server may call its history
    char master[ORDER_TEXT_BYTES]   # where its heartbeats go, once MEMBER.CONNECT_TO_MASTER has said so
    int error                   # why it could not be replaced when that was tried last; 0: it could


cdef enum Source:
    # Where the data that is being loaded comes from.
    SOURCE_OTHERS
    SOURCE_RDB
    SOURCE_AOF


cdef struct Disk:
    # What this member keeps of itself (design.md, "Restart").
    bint started                # what the server found on its disk has been weighed
    bint recording              # there is an append-only file
    bint always                 # which is on the disk before Redis goes on
    bint whole                  # and holds everything: no first rewrite is under way
    bint waits                  # so nothing about an update leaves before it is there
    bint stuck                  # it cannot be written: what it lacks is held back, or it would pile up in memory
    int64_t counted             # updates that Redis's save points know of, roughly
    int64_t flushed             # what was recorded before the event loop last slept: the file has it
    unsigned long long failures     # of rewrites in a row, when the file was begun anew
    Record record
    bint record_due             # the file has another record
    bint hindered               # the last attempt to record ended early: clients are paused, or memory is exhausted
    int64_t claimed             # the epoch of the newest record on the disk that says that it is durable; 0: none does
    bint void_due               # the marker does not say yet that it is void: nothing leaves
    Marker marker
    bint missing                # what it speaks of is not here: neither updates, nor what was there before the first
    Position *unproven          # where its data would be, were its checkpoint here too; NULL: it is proven
    Source source
    bint stale                  # the append-only file is behind this member's checkpoint: it is to be rewritten
    bint broken                 # what the file says after some record cannot be: it was ignored
    char *scratch               # where batches are packed
    size_t scratch_bytes
