# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""ACL categories of our own: whom each command is for. A rule names the role, and no list that grows with each version.

Redis from 7.4 on and Valkey from 8.0 on have the function that makes categories, and users there get `+@chain-member`.
Elsewhere a user gets the commands by name (docs/operations.md, "Users"). Used by members and masters.
"""

from libc.stdio cimport snprintf
from libc.string cimport strlen, strstr

from modules.bindings.libc cimport EBUSY, errno
from modules.bindings.redismodule cimport REDISMODULE_OK, RedisModule_GetApi, RedisModuleCtx

cdef enum:
    CATEGORIES_BYTES = 128

# redismodule.h here is that of 7.0.
ctypedef int (*AddCategory)(RedisModuleCtx *, const char *) noexcept nogil


cdef inline const char *category_name(int i) noexcept nogil:
    """Returns the name of one of our categories; NULL: there are not so many."""
    if i == 0:
        return "chain"
    if i == 1:
        return "chain-operator"
    if i == 2:
        return "chain-member"
    if i == 3:
        return "chain-master"
    return NULL


cdef inline const char *category_commands(int i) noexcept nogil:
    """Returns the commands of the category, with a space before and behind each."""
    if i == 0:
        return (" member.put member.del member.once member.wait member.sn member.view read chain.role chain.info "
                "chain.cluster chain.wait master.get_chain master.refresh_head master.refresh_tail master.role "
                "sentinel ")
    if i == 1:
        return (" member.connect_to_master member.unheld member.sn member.view tail.checkpoint head.flush "
                "list.checkpoint chain.info master.info master.add master.remove master.form master.get_chain "
                "master.refresh_head master.refresh_tail ")
    if i == 2:
        return (" member.unheld chain.challenge chain.prove chain.allowed chain.idle chain.greet chain.forward "
                "chain.ack chain.adopt chain.checkpoint chain.flush chain.page chain.copy ")
    return (" member.unheld chain.info chain.state chain.challenge chain.prove chain.poll chain.watch chain.adopt "
            "chain.join chain.rejoin chain.branch chain.feed chain.pin chain.unpin chain.unjoin ")


cdef inline bint is_for(const char *commands, const char *name) noexcept nogil:
    """Is the command, or the one of which this is a subcommand, among those of a category?"""
    cdef char word[64]
    cdef const char *container = strstr(name, "|")
    snprintf(word, sizeof(word), " %.*s ", <int>(container - name if container != NULL else <long>strlen(name)), name)
    return strstr(commands, word) != NULL


cdef inline bint own_categories(
    RedisModuleCtx *ctx, const char *name, const char *others, char *out,
) noexcept nogil:
    """Write the categories `others` to `out`, of CATEGORIES_BYTES, and those of our own that this command is in.

    A category is made when its first command comes, which is while the module is loaded. It exists already in a server
    that has a member and a master. Returns False if the server does not make one.
    """
    cdef AddCategory add = NULL
    cdef size_t length = <size_t>snprintf(out, CATEGORIES_BYTES, "%s", others)
    cdef int i = 0
    if RedisModule_GetApi("RedisModule_AddACLCategory", &add) != REDISMODULE_OK:
        return True
    while category_name(i) != NULL:
        if is_for(category_commands(i), name):
            if add(ctx, category_name(i)) != REDISMODULE_OK and errno != EBUSY:
                return False
            length += <size_t>snprintf(out + length, CATEGORIES_BYTES - length, " %s", category_name(i))
        i += 1
    return True
