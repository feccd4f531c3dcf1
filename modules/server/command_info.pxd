# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""Descriptions of our commands for COMMAND DOCS, redis-cli's HELP and ACLs. Used by members and masters."""

from libc.stdint cimport uint64_t
from libc.stdio cimport snprintf
from libc.string cimport memset, strchr, strcmp, strcspn, strspn

from modules.bindings.redismodule cimport (
    REDISMODULE_ARG_TYPE_INTEGER, REDISMODULE_ARG_TYPE_KEY, REDISMODULE_ARG_TYPE_PURE_TOKEN,
    REDISMODULE_ARG_TYPE_STRING, REDISMODULE_CMD_ARG_OPTIONAL, REDISMODULE_COMMAND_INFO_VERSION,
    REDISMODULE_KSPEC_BS_INDEX, REDISMODULE_KSPEC_FK_RANGE, REDISMODULE_OK, RedisModule_GetApi,
    RedisModule_GetCommand, RedisModule_SetCommandInfo, RedisModuleCommand, RedisModuleCommandArg,
    RedisModuleCommandInfo, RedisModuleCommandKeySpec, RedisModuleCtx,
)
from modules.server.own_categories cimport CATEGORIES_BYTES, own_categories

cdef enum:
    MOST_ARGUMENTS = 4      # of one command
    SYNTAX_BYTES = 64

# Redis 7.2 and later have this function; redismodule.h here is that of 7.0.
ctypedef int (*SetCategories)(RedisModuleCommand *, const char *) noexcept nogil


cdef inline void describe_argument(RedisModuleCommandArg *out, char *word) noexcept nogil:
    """Describe one word of a syntax: `[name]` is optional, `name#` an integer, `key` a key, `NAME` a literal word."""
    cdef size_t optional = strspn(word, "[")
    cdef char *name = word + optional
    cdef size_t length = strcspn(name, "#]")
    out.flags = REDISMODULE_CMD_ARG_OPTIONAL if optional else 0
    out.type = REDISMODULE_ARG_TYPE_INTEGER if name[length] == c"#" else REDISMODULE_ARG_TYPE_STRING
    out.key_spec_index = -1
    name[length] = 0
    out.name = name
    if strcmp(name, "key") == 0:
        out.type = REDISMODULE_ARG_TYPE_KEY
        out.key_spec_index = 0
    elif c"A" <= name[0] <= c"Z":
        out.type = REDISMODULE_ARG_TYPE_PURE_TOKEN
        out.token = name


cdef inline int describe_arguments(RedisModuleCommandArg *out, char *syntax) noexcept nogil:
    """Describe each word of the syntax, which is changed. Returns the number of optional arguments."""
    cdef int count = 0
    cdef int optional = 0
    cdef char *space
    while syntax != NULL and syntax[0] and count < MOST_ARGUMENTS:
        space = strchr(syntax, c" ")
        if space != NULL:
            space[0] = 0
        describe_argument(&out[count], syntax)
        optional += 1 if out[count].flags else 0
        count += 1
        syntax = space + 1 if space != NULL else NULL
    return optional


cdef inline int count_words(const char *syntax) noexcept nogil:
    cdef int count = 0
    while syntax[0]:
        syntax += strcspn(syntax, " ")
        syntax += strspn(syntax, " ")
        count += 1
    return count


cdef inline bint describe(
    RedisModuleCtx *ctx, const char *name, const char *syntax, uint64_t key_flags, const char *categories,
    const char *summary,
) noexcept nogil:
    """Describe a command to Redis. Returns False if Redis does not accept it.

    syntax: the arguments, as in "sn# [timeout_ms# [epoch#]]". NULL: any arguments; the command checks them itself.
    key_flags: flags of the first argument, if it is a key; 0: it is not. categories: of the server, for ACLs.
    """
    cdef RedisModuleCommand *command = RedisModule_GetCommand(ctx, name)
    cdef RedisModuleCommandInfo info
    cdef RedisModuleCommandArg arguments[MOST_ARGUMENTS + 1]
    cdef RedisModuleCommandKeySpec keys[2]
    cdef SetCategories set_categories = NULL
    cdef char copy[SYNTAX_BYTES]
    cdef char all_categories[CATEGORIES_BYTES]
    cdef int count = count_words(syntax) if syntax != NULL else 0
    cdef int optional
    cdef int words = 1          # of the name
    if command == NULL or count > MOST_ARGUMENTS:
        return False
    memset(&info, 0, sizeof(info))
    memset(arguments, 0, sizeof(arguments))
    memset(keys, 0, sizeof(keys))
    copy[0] = 0
    if syntax != NULL:
        snprintf(copy, sizeof(copy), "%s", syntax)
    optional = describe_arguments(arguments, copy)
    keys[0].flags = key_flags
    keys[0].begin_search_type = REDISMODULE_KSPEC_BS_INDEX
    keys[0].bs.index.pos = 1
    keys[0].find_keys_type = REDISMODULE_KSPEC_FK_RANGE
    keys[0].fk.range.keystep = 1
    info.version = REDISMODULE_COMMAND_INFO_VERSION
    info.summary = summary
    if strchr(name, c"|") != NULL:
        words = 2
    info.arity = -(words + count - optional) if optional or syntax == NULL else words + count
    info.key_specs = keys if key_flags else NULL
    info.args = arguments if count else NULL
    if RedisModule_SetCommandInfo(command, &info) != REDISMODULE_OK:
        return False
    if RedisModule_GetApi("RedisModule_SetCommandACLCategories", &set_categories) == REDISMODULE_OK:
        return (own_categories(ctx, name, categories, all_categories)
                and set_categories(command, all_categories) == REDISMODULE_OK)
    return True
