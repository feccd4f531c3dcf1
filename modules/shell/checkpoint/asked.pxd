# cython: language_level=3
"""Clients that wait for what a worker finds out. They may disconnect meanwhile; the job goes on all the same."""

from modules.redismodule cimport RedisModuleBlockedClient, RedisModule_UnblockClient
from modules.shell.checkpoint.state cimport Asked, Checkpoint


cdef inline void asked_add(Checkpoint *c, Asked *asked, RedisModuleBlockedClient *client) noexcept nogil:
    asked.client = client
    asked.next = c.asked_clients
    c.asked_clients = asked


cdef inline bint asked_forget(Checkpoint *c, const RedisModuleBlockedClient *client) noexcept nogil:
    """It has disconnected. False: it waits for no worker."""
    cdef Asked *asked = c.asked_clients
    while asked != NULL and asked.client != client:
        asked = asked.next
    if asked == NULL:
        return False
    asked.client = NULL
    return True


cdef inline bint asked_answer(Checkpoint *c, Asked *asked, void *answer) noexcept nogil:
    """The job is done. True: `answer` goes to the client, whose callbacks free it; False: nobody is there any more."""
    cdef Asked **place = &c.asked_clients
    while place[0] != asked:
        place = &place[0].next
    place[0] = asked.next
    if asked.client == NULL:
        return False
    RedisModule_UnblockClient(asked.client, answer)
    return True
