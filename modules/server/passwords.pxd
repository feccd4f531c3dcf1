# cython: language_level=3
"""Settings that are passwords: used, and written by CONFIG REWRITE, but shown nowhere. Shared by members and masters.

Redis asks for a setting by one and the same callback, be it for CONFIG GET or for CONFIG REWRITE; and Redis 7.0
ignores the flag that says that a setting is sensitive, so SLOWLOG would have it in full. Therefore the command filter
takes each password out of CONFIG SET before anything else sees the command, and leaves a stand-in, such as "(hidden
7)". The stand-in is all that Redis has of it: for CONFIG GET, for SLOWLOG, for its log, and for setting back what a
CONFIG SET changed that then failed.
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
    char *strcasestr(const char *, const char *)        # of GNU

cdef enum:
    PASSWORD_BYTES = 512        # its NUL included: what every login has room for
    STAND_IN_BYTES = 32
    MAX_OFFERS = 16             # values on their way from the filter to the setting, some in a MULTI; a power of two


cdef struct Password:
    long long number            # which the stand-in names; 0: this is none
    RedisModuleString *text


cdef struct PasswordSetting:
    Password value              # other threads look at its text, with the mutex
    Password before             # comes back when the CONFIG SET that replaced it fails after all
    RedisModuleString *shown    # the stand-in of the value; empty, as the value is


cdef struct Passwords:
    Password offers[MAX_OFFERS]
    long long newest            # number
    bint rewriting              # CONFIG REWRITE is the command that may ask next: it gets the value
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
    """The number that a stand-in names; 0: the value is none."""
    cdef size_t length
    cdef const char *text = RedisModule_StringPtrLen(value, &length)
    cdef long long number = 0
    cdef int end = 0
    if sscanf(text, "(hidden %lld)%n", &number, &end) != 1 or end == 0 or <size_t>end != length:
        return 0
    return number


cdef inline void take(Password *place, long long number, RedisModuleString *text) noexcept nogil:
    """A reference to the text is kept, in the place of the one that was there."""
    cdef RedisModuleString *old = place.text
    RedisModule_RetainString(NULL, text)
    place.number = number
    place.text = text
    if old != NULL:
        RedisModule_FreeString(NULL, old)


cdef inline Password *find_password(PasswordSetting *setting, long long number) noexcept nogil:
    """NULL: it was never known, or too many came after it."""
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
    RedisModule_RetainString(NULL, text)        # it may be the one before, which gives way
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
    """A stand-in, or, at the start, the password itself."""
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
    """name: without the module's; `password` must be in it, by which the filter knows it."""
    cdef RedisModuleString *nothing = RedisModule_CreateString(NULL, "", 0)
    memset(setting, 0, sizeof(PasswordSetting))
    use_password(setting, 0, nothing)
    RedisModule_FreeString(NULL, nothing)
    return RedisModule_RegisterStringConfig(
        ctx, name, "", flags | REDISMODULE_CONFIG_SENSITIVE, show_password, set_password, NULL, setting,
    ) == REDISMODULE_OK


cdef inline bint passwords_init() noexcept nogil:
    """Before the first is registered. False: no memory."""
    global chain_passwords
    chain_passwords = calloc(1, sizeof(Passwords))
    if chain_passwords == NULL:
        return False
    pthread_mutex_init(&the_passwords().mutex, NULL)
    return True


# ------------------------------------------------------------------------------------------------- the filter

cdef inline bint is_password(RedisModuleCommandFilterCtx *command, int i) noexcept nogil:
    """Does that argument name one of the settings, or perhaps one that it was mistaken for?"""
    cdef const char *name = RedisModule_StringPtrLen(RedisModule_CommandFilterArgGet(command, i), NULL)
    if strncasecmp(name, "member.", 7) != 0 and strncasecmp(name, "master.", 7) != 0:
        return False
    return strcasestr(name, "password") != NULL


cdef inline void hide(RedisModuleCommandFilterCtx *command, int i) noexcept nogil:
    """What is too long is cut off where the setting will still see that it is."""
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
    """In CONFIG SET name value …; where a word is missing or too many, whatever may be a part of a password."""
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
    """For CONFIG, and for EXEC, which may run one that was filtered before."""
    cdef int count = RedisModule_CommandFilterArgsCount(command)
    cdef const char *word = ""
    if count > 1:
        word = RedisModule_StringPtrLen(RedisModule_CommandFilterArgGet(command, 1), NULL)
    the_passwords().rewriting = strcasecmp(word, "rewrite") == 0
    if strcasecmp(word, "set") == 0:
        hide_passwords(command, count)
