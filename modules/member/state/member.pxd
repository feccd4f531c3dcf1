# cython: language_level=3
"""What a server that is a chain member keeps: the pure chain, and everything that ties it to Redis.

One server is one member, so there is one of these; functions get it as `m`, callbacks of Redis that carry
nothing of ours ask `the_member()`. Everything here belongs to the Redis main thread.
"""

from libc.stdint cimport int64_t, uint8_t, uint64_t

from modules.bindings.hiredis cimport redisContext
from modules.bindings.pthread cimport pthread_mutex_t
from modules.bindings.redismodule cimport RedisModuleCtx, RedisModuleDict, RedisModuleString
from modules.core.chain cimport Chain
from modules.core.view cimport HISTORY_BYTES, Node
from modules.member.state.checkpoint cimport Checkpoint
from modules.member.state.heartbeat_plugin cimport ORDER_TEXT_BYTES, WHY_BYTES
from modules.member.state.waiter cimport Waiting
from modules.server.passwords cimport PasswordSetting
from modules.server.position cimport Position, Record
from modules.server.proofs cimport NONCE_BYTES, SECRET_BYTES

cdef enum:
    MAX_LIFELINES = 16          # one for each master, and some that have proved nothing yet
    MAX_LISTENERS = 16          # Redis binds no more addresses
    MAX_PEERS = 64              # inbound connections that prove, or have proved, the secret
    HELLO_BYTES = 96            # the nonce and the proof that a lifeline begins with
    ERROR_BYTES = 256
    JOIN_ERROR_BYTES = 512      # another's error, and what to do about it
    TICK_MS = 50                # pace of timeouts and reconnecting
    LATE_TICK_MS = 150          # without one for so long, Redis's own cron, which wakes the loop too, makes up for it
    MAX_BRANCHES = 4            # of attempts to begin a chain with this server's data; older ones are forgotten
    DOUBT_MS = 500              # and of asking a neighbour, for a member without a lease


cdef struct Complaint:
    # What was logged last of something that may fail again and again (`complain.pxd`).
    char why[ERROR_BYTES]
    int64_t said_ms
    int64_t since_ms            # `reasons` counts from then on
    int reasons
    unsigned long long unsaid   # failures since the last line


cdef enum LinkPhase:
    LINK_IDLE                   # not connected; tried again at `retry_ms`
    LINK_CONNECTING             # given up at `retry_ms`, as is ...
    LINK_PROVING                # our challenge, then our proof, is on its way
    LINK_READY


cdef enum Answer:
    # What comes next on a link that is proving, where every answer was asked for.
    ANSWER_LOGIN
    ANSWER_EXEMPT
    ANSWER_PROOF                # the peer's
    ANSWER_PROVEN               # its word on ours


cdef struct Link:
    # Our connection to another member, to tell it things.
    const char *name            # "down", "up" or "head": in logs and INFO
    bint aimed                  # there is a target
    Node target
    redisContext *context
    LinkPhase phase
    Answer awaited              # while proving
    bint allowed                # the peer lets our user do what copying needs
    int watched                 # the mask registered with the event loop
    int64_t retry_ms
    int64_t down_since_ms       # not ready since then; 0: it is
    int setbacks                # failures since something came through
    int64_t setback_ms          # the first of these
    int64_t setback_committed   # what was committed then
    int64_t ready_ms            # when it was made last
    int64_t idle_ms             # when CHAIN.IDLE went out last
    bint dropped                # it was ready, and the peer's side closed it; not ready again since
    bint view_due               # the peer is behind: our view goes to it next
    int64_t greeted_epoch       # the epoch in which CHAIN.GREET went out on this connection; -1: none
    char nonce[NONCE_BYTES]     # of our challenge
    size_t unfinished_bytes     # read of an answer that is not whole yet
    RedisModuleString *streamed     # a value too long to be copied, on its way in slices
    size_t streamed_to
    uint64_t connects
    uint64_t failures
    char error[ERROR_BYTES]     # why it is not up
    Complaint complaint


cdef struct Peer:
    # An inbound connection; client 0: a free place.
    unsigned long long client
    bint proven
    char challenge[NONCE_BYTES]     # its nonce
    char nonce[NONCE_BYTES]         # ours
    char run_id[41]


cdef struct Lifeline:
    # A master's connection that only the end of this process closes (`lifeline.pxd`).
    int fd                      # -1: a free place
    bint proven
    int64_t deadline_ms         # to have proved the secret
    int length                  # of what has come so far
    char hello[HELLO_BYTES]


cdef struct Lifelines:
    int port                    # where masters take hold of one; 0: nowhere
    int listeners[MAX_LISTENERS]
    int listener_count
    bint deaf                   # not watched: there was no descriptor for who came
    bint rebind                 # Redis binds other addresses now
    Lifeline lines[MAX_LIFELINES]
    char error[ERROR_BYTES]


cdef enum JoinPhase:
    JOIN_NONE
    JOIN_LEAVING                # our own clients are being told: Redis cuts off whom it finds blocked when copying
    JOIN_STARTING               # they have been told
    JOIN_COPYING                # Redis's full synchronisation from the old tail runs
    JOIN_LOADED                 # it has ended; still to be detached from the old tail
    JOIN_FETCHING               # the old tail's checkpoint is being copied
    JOIN_SAVING                 # the append-only file, begun anew, does not hold it yet
    JOIN_COPIED
    JOIN_FAILING                # still to be detached
    JOIN_FAILED


cdef struct Branch:
    # A history that this server's data had before it became another's.
    uint8_t history[HISTORY_BYTES]
    int64_t applied             # up to there its updates are this server's too


cdef struct Marker:
    # The file that says that this server is a chain's, whatever else is lost (`marker.pxd`).
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


cdef struct Settings:
    # Module configurations, in the units of their names.
    long long master_type
    long long heartbeat_interval
    long long heartbeat_timeout
    bint heartbeat_timeout_given    # by whoever started the server, or set it: the default shortens no master's
    long long write_timeout
    long long log_limit
    long long backlog_limit
    long long join_limit
    int gcs_mode
    RedisModuleString *checkpoint_dir
    long long checkpoint_interval
    long long flush_above
    long long lifeline_port     # 0: any; -1: none
    int serve_removed_data
    RedisModuleString *auth_user
    PasswordSetting auth_password
    RedisModuleString *announce_host
    RedisModuleString *etcd_user
    PasswordSetting etcd_password
    RedisModuleString *etcd_ca
    RedisModuleString *etcd_cert
    RedisModuleString *etcd_key
    bint loaded                     # what was in redis.conf is in force


cdef struct Member:
    RedisModuleCtx *ctx         # detached: for logs, publications and what happens outside a command
    Chain chain
    Node self                   # only run_id is known to us
    bint has_secret
    uint8_t secret[SECRET_BYTES]
    Settings settings
    int64_t now_ms              # since boot, suspend included; read when the event loop wakes
    int64_t ticked_ms           # the last tick
    bint asleep_soon            # the before-sleep event of this pass is over
    bint woken                  # a one-shot is scheduled to make up for that
    # links and peers
    Link down
    Link up
    Link head
    Peer peers[MAX_PEERS]
    Lifelines lifelines
    char *scratch               # where batches are packed
    size_t scratch_bytes
    Waiting waiting             # clients that wait, but for writers whose updates are in the log
    int64_t doubt_ms            # when a member without a lease speaks to a neighbour next
    bint suspicious             # a neighbour's connection was dropped, and no watch has told the master yet
    # publications
    bint was_tail               # in this view's chain: subscribers may still be here
    bint subscribers            # somebody may be subscribed to something
    # command filter, settings of Redis
    RedisModuleDict *commands   # what each of them does to data (`command_table.pxd`)
    bint own_call               # a command that we call ourselves passes the filter
    bint role_touched           # Redis has made this server a replica, or a master, of another
    bint settings_touched       # somebody changed a setting of Redis: ours are to be restored
    bint subscribers_misled     # out of the chain: they would wait in vain, and what is queued show old data
    # joining
    JoinPhase join
    RedisModuleString *masteruser   # what Redis's replication had for logging in, while a copy borrows that; else NULL
    RedisModuleString *masterauth
    bint snapshot_loaded        # the full load has delivered a position
    char join_error[JOIN_ERROR_BYTES]
    uint64_t copied_keys        # that the copy has in all, known once it has begun
    int64_t learned_from        # applied when the learner's copy, or what it had, was there: its log begins after that
    unsigned long long pin_client   # the connection on which the master had us pin the log; 0: none
    void *fetch                 # the Fetch under way; NULL: none
    Disk disk
    Heartbeat heartbeat
    Checkpoint checkpoint
    # counters for INFO
    uint64_t writes
    uint64_t unreplicated_writes    # by a member in no chain yet
    uint64_t roles_undone       # how often something made this member a replica all the same
    uint64_t reads_served
    uint64_t copied_joins
    uint64_t resumed_joins
    uint64_t unknown_outcomes
    uint64_t refused_unproven
    uint64_t batches_sent
    uint64_t batches_received


cdef inline bint is_native_replica(const Member *m) noexcept nogil:
    """Of the old tail, by our own doing."""
    return m.join == JOIN_COPYING or m.join == JOIN_LOADED or m.join == JOIN_FAILING


cdef extern from *:
    """
    __attribute__((weak, visibility("hidden"))) void *chain_the_member;     /* one server, one member */
    """
    void *chain_the_member


cdef inline Member *the_member() noexcept nogil:
    return <Member *>chain_the_member


cdef inline void set_the_member(Member *m) noexcept nogil:
    global chain_the_member
    chain_the_member = m
