# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# Clients that cache what they read (CLIENT TRACKING): Redis tells them which of these keys have changed.
#
# A member that no longer hears of every write tells nobody, and its clients would read old values from their caches
# without end. It closes their connections: a client forgets its cache with the connection that kept it true.
#
# SWAPDB changes what all keys of two databases hold, and Redis tells nobody (findings/swapdb_leaves_client_caches.sh).

from modules.core.read_lease cimport read_lease_hears_all
from modules.member.state.member cimport Member
from modules.server.client_list cimport ClientList, ServerClient, close_client, list_begin, list_end, list_next


cdef void close_caching_clients(Member *m) noexcept nogil:
    """Close those that cache, and those that are told of changes for them (CLIENT TRACKING … REDIRECT)."""
    cdef ClientList list
    cdef ServerClient client
    list_begin(&list, m.ctx)
    while list_next(&list, &client):
        if client.told >= 0:
            close_client(m.ctx, client.id)
        if client.told > 0:
            close_client(m.ctx, client.told)
    list_end(&list)


cdef void caches_trust(Member *m) noexcept nogil:
    """Called with each lease: from now on this member may answer, and so fill caches."""
    m.keyspace.trusted_caches = True


cdef void caches_tick(Member *m) noexcept nogil:
    if m.keyspace.caches_swapped:
        close_caching_clients(m)
        m.keyspace.caches_swapped = False
    if read_lease_hears_all(&m.chain, m.now_ms):
        caches_trust(m)
    elif m.keyspace.trusted_caches:
        close_caching_clients(m)
        m.keyspace.trusted_caches = False
