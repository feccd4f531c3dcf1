# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""The state of direct clients: those from whose sockets this module reads MEMBER.PUT, MEMBER.DEL and READ itself
(decision 16).
"""

from libc.stdint cimport int64_t, uint32_t

cdef enum:
    DIRECT_INPUT = 16 * 1024    # bytes of a socket that are looked at in one go; a longer request is the server's
    DIRECT_OUTPUT = 64 * 1024   # bytes of replies of one pass; when they are more, they are sent at once
    DIRECT_REPLIES = 256        # clients that have replies among them; likewise
    CANDIDATES = 1024           # clients whose requests are counted
    MAX_DIRECT = 4096           # clients

cdef enum DirectStage:
    NO_CANDIDATE
    CANDIDATE_CHOSEN            # it has sent enough requests, and is to be made silent before the loop sleeps
    CANDIDATE_SILENT            # the server hears nothing of it while the loop sleeps


cdef struct DirectClient:
    int64_t id                  # Redis's number of the client; 0: the place is free
    int fd
    uint32_t generation         # tells apart clients that had the same place one after another
    bint resp3
    bint waits                  # for the commit of an update: nothing is read from it until then
    bint awaits_file            # its replies wait until the append-only file has what it has written in this pass
    bint is_due                 # its socket may hold requests that no event will announce
    bint ended                  # it has sent all that it will send
    bint leaves                 # the server gets it back when it has all its replies
    size_t said                 # bytes of replies since its socket was last seen to take more
    int64_t no_room_ms          # since when its next update has no room; 0: it has
    char *rest                  # replies that its socket did not take yet; NULL: none
    size_t rest_bytes
    size_t rest_sent


cdef struct Candidate:
    int64_t id
    int requests                # since it was last direct
    int needed


cdef struct DirectReplies:
    int place
    uint32_t generation
    size_t end                  # in the output


cdef struct Direct:
    int epoll                   # watches the sockets of direct clients; 0: there have been none
    bint readable               # that epoll has events
    bint settings_known         # none of the server's has changed since they were read
    bint settings_permit        # they allow direct clients and direct peers
    bint awaits_file            # a client has to wait until it has written there what this pass has carried out
    bint holds                  # replies for such clients
    bint writes_refused         # Redis would refuse them: the disk failed, or replicas are missing
    # All direct clients and direct peers leave before the next request: users' rights may have changed, or a client may
    # get no replies (CLIENT REPLY), which CLIENT LIST does not tell.
    bint distrusted
    bint trust_may_end          # by any EXEC: somebody has called ACL or CLIENT REPLY since the start
    bint redirects              # somebody has had pushes redirected: the server may write to any client of RESP3
    DirectClient *clients       # MAX_DIRECT places
    int count                   # places in use
    int span                    # all of them are before this one
    bint due                    # a client may be due
    bint leaving                # a client leaves
    int64_t requests            # carried out here, since the start
    int64_t made                # clients that have become direct, since the start
    int64_t candidate           # its number; 0: there is none
    DirectStage stage
    int candidate_fd            # since it is silent
    int64_t silent_ms           # when it was first; 0: it was not
    bint replied                # the server sends it replies, as it does not after CLIENT REPLY OFF
    Candidate *candidates       # CANDIDATES places, by the client's number
    char *input
    char *output
    size_t output_bytes
    DirectReplies replies[DIRECT_REPLIES]
    int reply_count
