# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# Replies that the gate does not watch for.
#
# The reply to a write comes long before the commit that it waits for. Being woken for it only to hold it delays the
# main thread, and costs as much as the rest of what the gate does for the write. So the gate does not watch for the
# reply if no other client has asked for anything, and if that client's last request was a write, too. It reads the
# reply when it is woken for whatever reason. The main thread wakes it when something is committed, and after a pass
# that leaves nothing to be committed. The gate says so before it passes the request on, and so before that pass.
#
# With more clients it would be wrong to read late: what is read after another client's ticket waits for that, too.

from modules.bindings.atomics cimport fence

cdef enum:
    IGNORED_MS = 50     # for so long the gate does not watch for a reply, which counts as held from its reading on


cdef void note_reply(Relay *r, Client *c, int64_t tag) noexcept nogil:
    """Something that the server has said to the client was read, and then the newest ticket, `tag`."""
    r.asked -= c.asked
    c.asked = False
    c.wrote = tag > c.asked_at


cdef void note_request(Relay *r, Client *c, int64_t tag) noexcept nogil:
    """A request of the client was read, and then the newest ticket, `tag`. The server gets the request next."""
    r.asked += not c.asked
    c.asked = True
    c.asked_at = tag
    if (r.asked == 1 and c.wrote and not c.unheld and r.replies.oldest == NULL and c.replies.first == NULL
            and observe(&r.shared.executed) == INT64_MAX and observe(&r.shared.committed) != INT64_MAX
            and not observe(&r.shared.ajar)):
        c.ignored = True
        r.ignored = c
        watch(r, &c.back, back_wanted(c))
        publish(&r.shared.inattentive, 1)
        fence()         # main looks at `inattentive` after it has read the request


cdef void attend(Relay *r) noexcept nogil:
    """Read the reply that was not watched for, if there is one, and watch for what the server says from now on."""
    cdef Client *c = r.ignored
    if c == NULL:
        return
    publish(&r.shared.inattentive, 0)
    r.ignored = NULL
    c.ignored = False
    relay_replies(r, c)
    watch_both(r, c)
