# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""The state of modules/member/effects: how the effects of commands get from the server into the log, and back."""

from libc.stdint cimport int64_t

from modules.bindings.libssl cimport SSL
from modules.bindings.redismodule cimport RedisModuleCommandFilterCtx, RedisModuleUser
from modules.core.effect_scanner cimport EffectScanner
from modules.core.log cimport Boundary
from modules.core.tickets cimport Tickets
from modules.member.state.complaint cimport Complaint, ERROR_BYTES
from modules.server.proofs cimport NONCE_BYTES

cdef enum:
    LINE_BYTES = 256            # of an answer to the tap
    MAX_NUMBER_EPOCHS = 64
    REQUEST_BYTES = 4096        # of one handshake of our own server
    DATABASE_UNKNOWN = -1
    DATABASE_KNOWN = -2
    CALM_PASSES = 2             # so long after a pause Redis may still run commands that no filter sees again


cdef enum TapPhase:
    TAP_CLOSED
    TAP_CONNECTING
    TAP_ASKING                  # the server has not answered yet
    TAP_STREAMING


cdef struct Tap:
    # At the head: a connection to our own server, whose replica it is.
    int fd
    SSL *ssl                    # NULL: without TLS
    int port                    # the local one
    TapPhase phase
    int watched                 # event mask registered with the event loop
    int64_t retry_ms            # when a closed tap is opened again
    int ticks                   # since it has begun to connect
    char nonce[NONCE_BYTES]     # by which the server's side knows that the connection is ours
    RedisModuleUser *user       # may do everything; nobody else can be that user
    bint entering               # the next command is the tap's PSYNC
    char line[LINE_BYTES]       # the beginning of an answer
    int line_length
    EffectScanner scanner
    int64_t acknowledged        # where what is safe ends, as the server was last told
    int64_t synced              # likewise, where that ends which is on the disks of all other members
    int64_t acknowledged_ms
    Complaint complaint


cdef struct PseudoMaster:
    # At any other member: what our own server takes for its master.
    int listener                # -1: none
    int port
    bint listens                # connections are not refused any more
    bint deaf                   # no connection is accepted before the next tick: there was no free descriptor
    int fd                      # the connection of our own server; -1: none
    SSL *ssl                    # NULL: without TLS, or nothing has been read yet
    bint heard                  # our own server has shown whether it speaks TLS
    int watched
    Complaint complaint
    char error[ERROR_BYTES]     # why TLS with our own server has failed; empty: it has not, since the last success
    bint feeding                # the handshake is over
    int64_t asked               # the server has asked for its stream from this offset on, and waits; 0: it has not
    char request[REQUEST_BYTES]
    int request_length
    EffectScanner scanner
    int64_t fed                 # the next byte of the log to go to the server


cdef struct Numbers:
    # MEMBER.PUT and MEMBER.DEL in a chain of all commands: as the own server has executed them.
    int64_t newest              # -1: none
    Boundary epochs[MAX_NUMBER_EPOCHS]
    int count


cdef struct Effects:
    Numbers numbers
    Tickets tickets
    # The stream's byte count is the server's replication offset plus `shift`.
    int64_t shift
    bint placed                 # `shift` is known
    bint leads                  # this server is a master for Redis, and its effects are the chain's
    bint nameless               # the server has asked for a stream without naming its data
    bint diverged               # the server's data has what the log has not, or lacks what the log has dropped
    int64_t offset              # the server's replication offset at the last look; -1: not known
    # What the append-only file says of the stream's database at the end of the loaded data; what Redis itself knows is
    # DATABASE_KNOWN. A new connection of our own server begins with it, in a SELECT that the server counts.
    int database
    int64_t selected_at         # the server's offset after that SELECT; 0: there was none
    # Redis 7.2 and later: who has sent the command that a filter sees; NULL: Redis cannot tell
    unsigned long long (*client_of)(RedisModuleCommandFilterCtx *) noexcept nogil
    unsigned long long master_client    # the client id of the pseudo-master at our own server; 0: not known
    bint in_stream              # the newest command of a connection that a filter has seen came with the stream
    bint holds                  # replies are held until what they may show is committed
    bint fresh                  # it was in no view before, and its server lacks what was committed meanwhile
    bint copied                 # the next command is the PSYNC of a learner's copy
    void *copy                  # the running Copy of a learner (`copy_relay.pxi`); NULL: none
    int calm                    # passes since clients were paused
    bint still_paused           # they were paused at the end of the last pass, and no new pause has begun since
    bint pauses                 # a filter has seen a CLIENT PAUSE, which EXEC may run later and no filter sees then
    int64_t changed             # the last byte of what may have changed data: behind it are PINGs alone
    bint stirred                # a command has come in a pass of less than CALM_PASSES
    Tap tap
    PseudoMaster pseudo_master
