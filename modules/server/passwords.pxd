# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""Settings that are passwords: they are used, and written by CONFIG REWRITE, but never shown. Used by members and
masters.

Redis calls the same function of a setting for CONFIG GET and for CONFIG REWRITE. Redis 7.0 also ignores the flag for
sensitive settings, so that SLOWLOG would show a password. So the command filter replaces each password in CONFIG SET,
before anything else sees the command, by a stand-in, such as "(hidden 7)". Redis has the stand-in only: for CONFIG GET,
for SLOWLOG, for its log, and for undoing a CONFIG SET that failed.
"""

from libc.stdio cimport snprintf, sscanf
from libc.stdlib cimport calloc
from libc.string cimport memchr, memset, strlen

from modules.bindings.pthread cimport pthread_mutex_init, pthread_mutex_lock, pthread_mutex_t, pthread_mutex_unlock
from modules.bindings.redismodule cimport (
    REDISMODULE_CONFIG_SENSITIVE, REDISMODULE_ERR, REDISMODULE_OK, RedisModule_CommandFilterArgGet,
    RedisModule_CommandFilterArgReplace, RedisModule_CommandFilterArgsCount, RedisModule_CreateString,
    RedisModule_FreeString, RedisModule_RegisterStringConfig, RedisModule_RetainString, RedisModule_StringPtrLen,
    RedisModuleCommandFilterCtx, RedisModuleCtx, RedisModuleString,
)

cdef extern from "<strings.h>" nogil:
    int strcasecmp(const char *, const char *)
    int strncasecmp(const char *, const char *, size_t)

cdef extern from "<string.h>" nogil:
    char *strcasestr(const char *, const char *)        # a GNU extension

cdef enum:
    PASSWORD_BYTES = 512        # with the zero byte; every login has a buffer of this size
    STAND_IN_BYTES = 32
    # passwords that the filter has taken and no setting has yet, some in a MULTI; a power of two
    MAX_OFFERS = 16


cdef struct Password:
    long long number            # the number in the stand-in; 0: the struct is unused
    RedisModuleString *text


cdef struct PasswordSetting:
    Password value              # other threads read the text, with the mutex held
    Password before             # the value before, for undoing a CONFIG SET that failed
    RedisModuleString *shown    # the stand-in of the value; empty, as the value is


cdef struct Passwords:
    Password offers[MAX_OFFERS]
    long long newest            # the last number given
    bint rewriting              # the running command is CONFIG REWRITE, which gets the passwords
    pthread_mutex_t mutex


cdef extern from *:
    """
    __attribute__((weak, visibility("hidden"))) void *chain_passwords;      /* of this module */
    """
    void *chain_passwords


cdef inline Passwords *the_passwords() noexcept nogil:
    return <Passwords *>chain_passwords


# ------------------------------------------------------------------------------------------------- stand-ins

cdef inline RedisModuleString *stand_in(long long number) noexcept nogil:
    cdef char text[STAND_IN_BYTES]
    return RedisModule_CreateString(NULL, text, snprintf(text, sizeof(text), "(hidden %lld)", number))


cdef inline long long stands_for(const RedisModuleString *value) noexcept nogil:
    """Returns the number in a stand-in. 0: the value is not a stand-in."""
    cdef size_t length
    cdef const char *text = RedisModule_StringPtrLen(value, &length)
    cdef long long number = 0
    cdef int end = 0
    if sscanf(text, "(hidden %lld)%n", &number, &end) != 1 or end == 0 or <size_t>end != length:
        return 0
    return number


cdef inline void take(Password *place, long long number, RedisModuleString *text) noexcept nogil:
    """Store a number and a reference to the text, and release the text that was stored before."""
    cdef RedisModuleString *old = place.text
    RedisModule_RetainString(NULL, text)
    place.number = number
    place.text = text
    if old != NULL:
        RedisModule_FreeString(NULL, old)


cdef inline Password *find_password(PasswordSetting *setting, long long number) noexcept nogil:
    """Returns the password with this number. NULL: there was none, or too many newer ones have replaced it."""
    cdef int i
    if setting.value.number == number:
        return &setting.value
    if setting.before.number == number:
        return &setting.before
    for i in range(MAX_OFFERS):
        if the_passwords().offers[i].number == number:
            return &the_passwords().offers[i]
    return NULL


# ----------------------------------------------------------------------------------------------- the settings

cdef inline RedisModuleString *show_password(const char *name, void *setting) noexcept nogil:
    cdef PasswordSetting *s = <PasswordSetting *>setting
    return s.value.text if the_passwords().rewriting else s.shown


cdef inline void use_password(PasswordSetting *s, long long number, RedisModuleString *text) noexcept nogil:
    RedisModule_RetainString(NULL, text)        # `text` may be that of `before`, which is replaced
    pthread_mutex_lock(&the_passwords().mutex)
    if s.value.text != NULL:
        take(&s.before, s.value.number, s.value.text)
        RedisModule_FreeString(NULL, s.shown)
    take(&s.value, number, text)
    pthread_mutex_unlock(&the_passwords().mutex)
    s.shown = stand_in(number) if RedisModule_StringPtrLen(text, NULL)[0] else RedisModule_CreateString(NULL, "", 0)
    RedisModule_FreeString(NULL, text)


cdef inline int refuse_password(RedisModuleString **error, const char *why) noexcept nogil:
    error[0] = RedisModule_CreateString(NULL, why, strlen(why))
    return REDISMODULE_ERR


cdef inline int set_password(
    const char *name, RedisModuleString *value, void *setting, RedisModuleString **error,
) noexcept nogil:
    """Set the password from a stand-in, or, when the server starts, from the password itself."""
    cdef PasswordSetting *s = <PasswordSetting *>setting
    cdef long long number = stands_for(value)
    cdef const Password *found
    cdef RedisModuleString *text = value
    cdef const char *bytes
    cdef size_t length
    if number:
        found = find_password(s, number)
        if found == NULL:
            return refuse_password(error, "that is what stands for a password, and not one: give the password itself")
        text = found.text
    else:
        the_passwords().newest += 1
        number = the_passwords().newest
    bytes = RedisModule_StringPtrLen(text, &length)
    if length >= PASSWORD_BYTES or memchr(bytes, 0, length) != NULL:
        return refuse_password(error, "a password has 511 bytes at the most, and none of them is zero")
    use_password(s, number, text)
    return REDISMODULE_OK


cdef inline bint register_password(
    RedisModuleCtx *ctx, const char *name, unsigned int flags, PasswordSetting *setting,
) noexcept nogil:
    """Register the setting. `name` is without the module's name, and must contain `password`, by which the filter
    recognises it. Returns False if Redis refuses.
    """
    cdef RedisModuleString *nothing = RedisModule_CreateString(NULL, "", 0)
    memset(setting, 0, sizeof(PasswordSetting))
    use_password(setting, 0, nothing)
    RedisModule_FreeString(NULL, nothing)
    return RedisModule_RegisterStringConfig(
        ctx, name, "", flags | REDISMODULE_CONFIG_SENSITIVE, show_password, set_password, NULL, setting,
    ) == REDISMODULE_OK


cdef inline bint passwords_init() noexcept nogil:
    """To be called before the first setting is registered. Returns False without memory."""
    global chain_passwords
    chain_passwords = calloc(1, sizeof(Passwords))
    if chain_passwords == NULL:
        return False
    pthread_mutex_init(&the_passwords().mutex, NULL)
    return True


# ------------------------------------------------------------------------------------------------- the filter

cdef inline bint is_password(RedisModuleCommandFilterCtx *command, int i) noexcept nogil:
    """Returns whether the argument names a password setting. A misspelt name counts if it contains `password`."""
    cdef const char *name = RedisModule_StringPtrLen(RedisModule_CommandFilterArgGet(command, i), NULL)
    if strncasecmp(name, "member.", 7) != 0 and strncasecmp(name, "master.", 7) != 0:
        return False
    return strcasestr(name, "password") != NULL


cdef inline void hide(RedisModuleCommandFilterCtx *command, int i) noexcept nogil:
    """Replace a value by its stand-in. A value that is too long is cut, so that it is still too long for the setting.
    """
    cdef Passwords *passwords = the_passwords()
    cdef RedisModuleString *value = RedisModule_CommandFilterArgGet(command, i)
    cdef RedisModuleString *copy
    cdef size_t length
    cdef const char *bytes = RedisModule_StringPtrLen(value, &length)
    if stands_for(value):
        return
    passwords.newest += 1
    copy = RedisModule_CreateString(NULL, bytes, length if length < PASSWORD_BYTES else PASSWORD_BYTES)
    take(&passwords.offers[<int>passwords.newest & (MAX_OFFERS - 1)], passwords.newest, copy)
    RedisModule_FreeString(NULL, copy)
    RedisModule_CommandFilterArgReplace(command, i, stand_in(passwords.newest))


cdef inline void hide_passwords(RedisModuleCommandFilterCtx *command, int count) noexcept nogil:
    """Replace the passwords in CONFIG SET name value …. If the arguments are not in pairs, replace everything after a
    password's name, since any of it may be a password.
    """
    cdef bint paired = count % 2 == 0
    cdef bint seen = False
    cdef int i
    for i in range(2, count):
        if seen:
            hide(command, i)
            seen = not paired
        elif not paired or i % 2 == 0:
            seen = is_password(command, i)


cdef inline void passwords_filter(RedisModuleCommandFilterCtx *command) noexcept nogil:
    """To be called for CONFIG, and for EXEC, which may run a CONFIG that was filtered when it was queued."""
    cdef int count = RedisModule_CommandFilterArgsCount(command)
    cdef const char *word = ""
    if count > 1:
        word = RedisModule_StringPtrLen(RedisModule_CommandFilterArgGet(command, 1), NULL)
    the_passwords().rewriting = strcasecmp(word, "rewrite") == 0
    if strcasecmp(word, "set") == 0:
        hide_passwords(command, count)
