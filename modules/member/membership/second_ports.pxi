# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# Second ports: this member tells its own to the master, and the master tells it those of all members (docs/protocol.md,
# "Views").
#
# Views name the port of links. Clients with the other kind of connection are told the second one.

from libc.string cimport memset

from modules.bindings.redismodule cimport RedisModuleCtx, RedisModuleString
from modules.core.client_ports cimport ClientPorts, MAX_PORT, ports_learn
from modules.core.hex cimport from_hex
from modules.core.view cimport RUN_ID_BYTES
from modules.member.replication cimport Text, argument_number, argument_text, text_copy
from modules.member.state.member cimport Member
from modules.server.redis_calls cimport redis_port
from modules.server.tls cimport tls_replicates

cdef enum:
    PORTS_ARGUMENTS = 3         # the arguments of each member: run_id, plain, tls


cdef const ClientPorts *own_second_port(Member *m, RedisModuleCtx *ctx) noexcept nogil:
    """Returns the port of this server that is not of its links' kind, as it is announced to clients; 0: there is none.
    """
    cdef ClientPorts *own = &m.membership.second_port
    if m.membership.second_port_known:
        return own
    own.plain = own.tls = 0
    if tls_replicates(ctx):
        own.plain = redis_port(ctx, "cluster-announce-port") or redis_port(ctx, "port")
    else:
        own.tls = redis_port(ctx, "cluster-announce-tls-port") or redis_port(ctx, "tls-port")
    m.membership.second_port_known = True
    return own


cdef bint read_port(RedisModuleString *argument, int *out) noexcept nogil:
    """Returns False if the argument is no port, and not 0."""
    cdef int64_t number
    if not argument_number(argument, &number) or number < 0 or number > MAX_PORT:
        return False
    out[0] = <int>number
    return True


cdef bint learn_ports(Member *m, RedisModuleString **argv, int argc) noexcept nogil:
    """Take note of the second ports of some members. Returns False if the arguments are not of that form."""
    cdef ClientPorts told
    cdef Text run_id
    cdef unsigned char ignored[20]
    cdef int i = 0
    while i < argc:
        memset(&told, 0, sizeof(told))
        argument_text(argv[i], &run_id)
        if (not from_hex(run_id.bytes, run_id.length, ignored, 20) or not text_copy(&run_id, told.run_id, RUN_ID_BYTES)
                or not read_port(argv[i + 1], &told.plain) or not read_port(argv[i + 2], &told.tls)):
            return False
        ports_learn(&m.replication.ports, &m.chain.view, &told)
        i += PORTS_ARGUMENTS
    return True
