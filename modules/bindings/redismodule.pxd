# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""The part of the Redis module API that is used here. All of it comes through include/redismodule.h. Extern only."""

from libc.stdint cimport int64_t, uint16_t, uint64_t

cdef extern from "redismodule.h" nogil:
    enum:
        REDISMODULE_OK
        REDISMODULE_ERR
        REDISMODULE_APIVER_1
        REDISMODULE_OPEN_KEY_NOTOUCH
        REDISMODULE_READ
        REDISMODULE_WRITE
        REDISMODULE_KEYTYPE_EMPTY
        REDISMODULE_KEYTYPE_STRING
        REDISMODULE_NO_EXPIRE
        REDISMODULE_CTX_FLAGS_LUA
        REDISMODULE_CTX_FLAGS_MULTI
        REDISMODULE_CTX_FLAGS_DENY_BLOCKING
        REDISMODULE_CTX_FLAGS_SLAVE
        REDISMODULE_CTX_FLAGS_ACTIVE_CHILD
        REDISMODULE_CTX_FLAGS_CLUSTER
        REDISMODULE_NOTIFY_STRING
        REDISMODULE_NOTIFY_EVICTED
        REDISMODULE_NOTIFY_EXPIRED
        REDISMODULE_NOTIFY_GENERIC
        REDISMODULE_CTX_FLAGS_LOADING
        REDISMODULE_CTX_FLAGS_REPLICATED
        REDISMODULE_EVENTLOOP_READABLE
        REDISMODULE_EVENTLOOP_WRITABLE
        REDISMODULE_REPLY_ERROR
        REDISMODULE_REPLY_ARRAY
        REDISMODULE_REPLY_INTEGER
        REDISMODULE_REPLY_STRING
        REDISMODULE_POSTPONED_LEN
        REDISMODULE_CONFIG_DEFAULT
        REDISMODULE_CONFIG_IMMUTABLE
        REDISMODULE_CONFIG_SENSITIVE
        REDISMODULE_CONFIG_MEMORY
        REDISMODULE_AUX_BEFORE_RDB
        REDISMODULE_OPTIONS_HANDLE_IO_ERRORS
        REDISMODULE_SUBEVENT_EVENTLOOP_AFTER_SLEEP
        REDISMODULE_SUBEVENT_CLIENT_CHANGE_CONNECTED
        REDISMODULE_SUBEVENT_CLIENT_CHANGE_DISCONNECTED
        REDISMODULE_SUBEVENT_LOADING_RDB_START
        REDISMODULE_SUBEVENT_LOADING_AOF_START
        REDISMODULE_SUBEVENT_LOADING_ENDED
        REDISMODULE_SUBEVENT_LOADING_FAILED
        REDISMODULE_SUBEVENT_MASTER_LINK_UP
        REDISMODULE_SUBEVENT_FLUSHDB_START

    const char *REDISMODULE_ERRORMSG_WRONGTYPE
    uint64_t REDISMODULE_TYPE_METHOD_VERSION

    ctypedef struct RedisModuleCtx:
        pass
    ctypedef struct RedisModuleString:
        pass
    ctypedef struct RedisModuleKey:
        pass
    ctypedef struct RedisModuleBlockedClient:
        pass
    ctypedef struct RedisModuleCallReply:
        pass
    ctypedef struct RedisModuleCommandFilter:
        pass
    ctypedef struct RedisModuleCommandFilterCtx:
        pass
    ctypedef struct RedisModuleDict:
        pass
    ctypedef struct RedisModuleIO:
        pass
    ctypedef struct RedisModuleInfoCtx:
        pass
    ctypedef struct RedisModuleServerInfoData:
        pass
    ctypedef struct RedisModuleScanCursor:
        pass
    ctypedef struct RedisModuleType:
        pass
    ctypedef struct RedisModuleUser:
        pass
    ctypedef uint64_t RedisModuleTimerID

    ctypedef struct RedisModuleEvent:
        pass
    const RedisModuleEvent RedisModuleEvent_EventLoop
    const RedisModuleEvent RedisModuleEvent_ClientChange
    const RedisModuleEvent RedisModuleEvent_Loading
    const RedisModuleEvent RedisModuleEvent_MasterLinkChange
    const RedisModuleEvent RedisModuleEvent_ReplicationRoleChanged
    const RedisModuleEvent RedisModuleEvent_FlushDB
    const RedisModuleEvent RedisModuleEvent_SwapDB
    const RedisModuleEvent RedisModuleEvent_Config
    const RedisModuleEvent RedisModuleEvent_ModuleChange
    const RedisModuleEvent RedisModuleEvent_Shutdown

    ctypedef struct RedisModuleClientInfo:
        uint64_t version
        uint64_t flags
        uint64_t id
        char addr[46]
        uint16_t port

    enum:
        REDISMODULE_CLIENTINFO_FLAG_SSL
        REDISMODULE_CLIENTINFO_FLAG_UNIXSOCKET
        REDISMODULE_CMD_ARG_OPTIONAL
        REDISMODULE_CMD_KEY_RO
        REDISMODULE_CMD_KEY_OW
        REDISMODULE_CMD_KEY_RM
        REDISMODULE_CMD_KEY_ACCESS
        REDISMODULE_CMD_KEY_UPDATE
        REDISMODULE_CMD_KEY_DELETE
        REDISMODULE_CMD_CHANNEL_PUBLISH

    ctypedef enum RedisModuleCommandArgType:
        REDISMODULE_ARG_TYPE_STRING
        REDISMODULE_ARG_TYPE_INTEGER
        REDISMODULE_ARG_TYPE_KEY
        REDISMODULE_ARG_TYPE_PURE_TOKEN

    ctypedef enum RedisModuleKeySpecBeginSearchType:
        REDISMODULE_KSPEC_BS_INDEX

    ctypedef enum RedisModuleKeySpecFindKeysType:
        REDISMODULE_KSPEC_FK_RANGE

    ctypedef enum RedisModuleACLLogEntryReason:
        REDISMODULE_ACL_LOG_CMD
        REDISMODULE_ACL_LOG_KEY

    ctypedef struct RedisModuleCommand:
        pass

    ctypedef struct RedisModuleUser:
        pass

    ctypedef struct RedisModuleCommandArg:
        const char *name
        RedisModuleCommandArgType type
        int key_spec_index
        const char *token
        int flags

    ctypedef struct KeyIndex:
        int pos
    ctypedef union KeySearch:
        KeyIndex index
    ctypedef struct KeyRange:
        int lastkey
        int keystep
    ctypedef union KeyFind:
        KeyRange range

    ctypedef struct RedisModuleCommandKeySpec:
        uint64_t flags
        RedisModuleKeySpecBeginSearchType begin_search_type
        KeySearch bs
        RedisModuleKeySpecFindKeysType find_keys_type
        KeyFind fk

    ctypedef struct RedisModuleCommandInfoVersion:
        pass

    const RedisModuleCommandInfoVersion *REDISMODULE_COMMAND_INFO_VERSION

    ctypedef struct RedisModuleCommandInfo:
        const RedisModuleCommandInfoVersion *version
        const char *summary
        int arity
        RedisModuleCommandKeySpec *key_specs
        RedisModuleCommandArg *args

    ctypedef struct RedisModuleConfigChange:
        unsigned int num_changes
        const char **config_names

    ctypedef int (*RedisModuleCmdFunc)(RedisModuleCtx *, RedisModuleString **, int) noexcept nogil
    ctypedef void (*RedisModuleDisconnectFunc)(RedisModuleCtx *, RedisModuleBlockedClient *) noexcept nogil
    ctypedef void (*RedisModuleFreeFunc)(RedisModuleCtx *, void *) noexcept nogil
    ctypedef int (*RedisModuleNotificationFunc)(RedisModuleCtx *, int, const char *, RedisModuleString *) noexcept nogil
    ctypedef void (*RedisModuleEventCallback)(RedisModuleCtx *, RedisModuleEvent, uint64_t, void *) noexcept nogil
    ctypedef void (*RedisModuleEventLoopFunc)(int, void *, int) noexcept nogil
    ctypedef void (*RedisModuleEventLoopOneShotFunc)(void *) noexcept nogil
    ctypedef void (*RedisModuleTimerProc)(RedisModuleCtx *, void *) noexcept nogil
    ctypedef void (*RedisModuleCommandFilterFunc)(RedisModuleCommandFilterCtx *) noexcept nogil
    ctypedef void (*RedisModuleInfoFunc)(RedisModuleInfoCtx *, int) noexcept nogil
    ctypedef void (*RedisModuleScanCB)(
        RedisModuleCtx *, RedisModuleString *, RedisModuleKey *, void *) noexcept nogil
    ctypedef int (*RedisModuleTypeAuxLoad)(RedisModuleIO *, int, int) noexcept nogil
    ctypedef void (*RedisModuleTypeAuxSave)(RedisModuleIO *, int) noexcept nogil
    ctypedef int (*RedisModuleConfigGetBoolFunc)(const char *, void *) noexcept nogil
    ctypedef int (*RedisModuleConfigSetBoolFunc)(const char *, int, void *, RedisModuleString **) noexcept nogil
    ctypedef long long (*RedisModuleConfigGetNumericFunc)(const char *, void *) noexcept nogil
    ctypedef int (*RedisModuleConfigSetNumericFunc)(
        const char *, long long, void *, RedisModuleString **) noexcept nogil
    ctypedef RedisModuleString *(*RedisModuleConfigGetStringFunc)(const char *, void *) noexcept nogil
    ctypedef int (*RedisModuleConfigSetStringFunc)(
        const char *, RedisModuleString *, void *, RedisModuleString **) noexcept nogil
    ctypedef int (*RedisModuleConfigGetEnumFunc)(const char *, void *) noexcept nogil
    ctypedef int (*RedisModuleConfigSetEnumFunc)(const char *, int, void *, RedisModuleString **) noexcept nogil
    ctypedef int (*RedisModuleConfigApplyFunc)(RedisModuleCtx *, void *, RedisModuleString **) noexcept nogil

    ctypedef struct RedisModuleTypeMethods:
        uint64_t version
        RedisModuleTypeAuxLoad aux_load
        RedisModuleTypeAuxSave aux_save
        int aux_save_triggers

    int RedisModule_Init(RedisModuleCtx *, const char *, int, int)
    int RedisModule_CreateCommand(RedisModuleCtx *, const char *, RedisModuleCmdFunc, const char *, int, int, int)
    RedisModuleCommand *RedisModule_GetCommand(RedisModuleCtx *, const char *)
    int RedisModule_CreateSubcommand(
        RedisModuleCommand *, const char *, RedisModuleCmdFunc, const char *, int, int, int)
    int RedisModule_SetCommandInfo(RedisModuleCommand *, const RedisModuleCommandInfo *)
    int RedisModule_GetApi(const char *, void *)
    int *RedisModule_GetCommandKeys(RedisModuleCtx *, RedisModuleString **, int, int *)
    int *RedisModule_GetCommandKeysWithFlags(RedisModuleCtx *, RedisModuleString **, int, int *, int **)
    int RedisModule_IsKeysPositionRequest(RedisModuleCtx *)
    void RedisModule_KeyAtPosWithFlags(RedisModuleCtx *, int, int)
    int RedisModule_IsChannelsPositionRequest(RedisModuleCtx *)
    void RedisModule_ChannelAtPosWithFlags(RedisModuleCtx *, int, int)
    RedisModuleUser *RedisModule_GetModuleUserFromUserName(RedisModuleString *)
    RedisModuleString *RedisModule_GetModuleUserACLString(RedisModuleUser *)
    void RedisModule_FreeModuleUser(RedisModuleUser *)
    RedisModuleUser *RedisModule_CreateModuleUser(const char *)
    int RedisModule_SetModuleUserACL(RedisModuleUser *, const char *)
    int RedisModule_AuthenticateClientWithUser(RedisModuleCtx *, RedisModuleUser *, void *, void *, uint64_t *)
    int RedisModule_ACLCheckCommandPermissions(RedisModuleUser *, RedisModuleString **, int)
    void RedisModule_ACLAddLogEntry(
        RedisModuleCtx *, RedisModuleUser *, RedisModuleString *, RedisModuleACLLogEntryReason)
    void RedisModule_SetModuleOptions(RedisModuleCtx *, int)
    void RedisModule_Log(RedisModuleCtx *, const char *, const char *, ...)
    void *RedisModule_Alloc(size_t)
    void *RedisModule_TryAlloc(size_t)
    void RedisModule_Free(void *)
    RedisModuleCtx *RedisModule_GetDetachedThreadSafeContext(RedisModuleCtx *)
    int RedisModule_GetContextFlags(RedisModuleCtx *)
    unsigned long long RedisModule_GetClientId(RedisModuleCtx *)
    int RedisModule_GetClientInfoById(void *, uint64_t)
    RedisModuleString *RedisModule_GetClientUserNameById(RedisModuleCtx *, uint64_t)
    RedisModuleString *RedisModule_GetCurrentUserName(RedisModuleCtx *)
    int RedisModule_GetSelectedDb(RedisModuleCtx *)
    unsigned long long RedisModule_DbSize(RedisModuleCtx *)
    int RedisModule_RedactClientCommandArgument(RedisModuleCtx *, int)
    int RedisModule_SelectDb(RedisModuleCtx *, int)
    void RedisModule_GetRandomBytes(unsigned char *, size_t)
    int RedisModule_WrongArity(RedisModuleCtx *)

    RedisModuleString *RedisModule_CreateString(RedisModuleCtx *, const char *, size_t)
    RedisModuleString *RedisModule_CreateStringFromLongLong(RedisModuleCtx *, long long)
    RedisModuleString *RedisModule_CreateStringFromCallReply(RedisModuleCallReply *)
    void RedisModule_FreeString(RedisModuleCtx *, RedisModuleString *)
    void RedisModule_RetainString(RedisModuleCtx *, RedisModuleString *)
    void RedisModule_TrimStringAllocation(RedisModuleString *)
    const char *RedisModule_StringPtrLen(const RedisModuleString *, size_t *)
    int RedisModule_StringToLongLong(const RedisModuleString *, long long *)

    RedisModuleKey *RedisModule_OpenKey(RedisModuleCtx *, RedisModuleString *, int)
    void RedisModule_CloseKey(RedisModuleKey *)
    int RedisModule_KeyType(RedisModuleKey *)
    size_t RedisModule_ValueLength(RedisModuleKey *)
    int RedisModule_StringSet(RedisModuleKey *, RedisModuleString *)
    char *RedisModule_StringDMA(RedisModuleKey *, size_t *, int)
    int RedisModule_UnlinkKey(RedisModuleKey *)
    int RedisModule_GetLRU(RedisModuleKey *, long long *idle_ms)
    long long RedisModule_GetExpire(RedisModuleKey *)
    RedisModuleScanCursor *RedisModule_ScanCursorCreate()
    void RedisModule_ScanCursorRestart(RedisModuleScanCursor *)
    void RedisModule_ScanCursorDestroy(RedisModuleScanCursor *)
    int RedisModule_Scan(RedisModuleCtx *, RedisModuleScanCursor *, RedisModuleScanCB, void *)
    void RedisModule_ResetDataset(int, int)

    int RedisModule_ReplyWithError(RedisModuleCtx *, const char *)
    int RedisModule_ReplyWithSimpleString(RedisModuleCtx *, const char *)
    int RedisModule_ReplyWithLongLong(RedisModuleCtx *, long long)
    int RedisModule_ReplyWithArray(RedisModuleCtx *, long)
    int RedisModule_ReplyWithMap(RedisModuleCtx *, long)
    int RedisModule_ReplyWithNullArray(RedisModuleCtx *)
    int RedisModule_ReplyWithStringBuffer(RedisModuleCtx *, const char *, size_t)
    int RedisModule_ReplyWithCString(RedisModuleCtx *, const char *)
    int RedisModule_ReplyWithString(RedisModuleCtx *, RedisModuleString *)
    void RedisModule_ReplySetArrayLength(RedisModuleCtx *, long)
    int RedisModule_ReplyWithNull(RedisModuleCtx *)
    int RedisModule_ReplyWithVerbatimString(RedisModuleCtx *, const char *, size_t)
    int RedisModule_ReplyWithVerbatimStringType(RedisModuleCtx *, const char *, size_t, const char *)
    int RedisModule_ReplyWithSet(RedisModuleCtx *, long)
    int RedisModule_ReplyWithAttribute(RedisModuleCtx *, long)
    int RedisModule_ReplyWithBool(RedisModuleCtx *, int)
    int RedisModule_ReplyWithDouble(RedisModuleCtx *, double)
    int RedisModule_ReplyWithBigNumber(RedisModuleCtx *, const char *, size_t)
    int RedisModule_ReplyWithCallReply(RedisModuleCtx *, RedisModuleCallReply *)

    RedisModuleBlockedClient *RedisModule_BlockClient(
        RedisModuleCtx *, RedisModuleCmdFunc, RedisModuleCmdFunc, RedisModuleFreeFunc, long long)
    void RedisModule_SetDisconnectCallback(RedisModuleBlockedClient *, RedisModuleDisconnectFunc)
    int RedisModule_AbortBlock(RedisModuleBlockedClient *)
    int RedisModule_UnblockClient(RedisModuleBlockedClient *, void *)
    void *RedisModule_GetBlockedClientPrivateData(RedisModuleCtx *)

    RedisModuleCallReply *RedisModule_Call(RedisModuleCtx *, const char *, const char *, ...)
    void RedisModule_FreeCallReply(RedisModuleCallReply *)
    int RedisModule_CallReplyType(RedisModuleCallReply *)
    long long RedisModule_CallReplyInteger(RedisModuleCallReply *)
    size_t RedisModule_CallReplyLength(RedisModuleCallReply *)
    RedisModuleCallReply *RedisModule_CallReplyArrayElement(RedisModuleCallReply *, size_t)
    const char *RedisModule_CallReplyStringPtr(RedisModuleCallReply *, size_t *)
    const char *RedisModule_CallReplyProto(RedisModuleCallReply *, size_t *)

    int RedisModule_Replicate(RedisModuleCtx *, const char *, const char *, ...)
    int RedisModule_ReplicateVerbatim(RedisModuleCtx *)
    int RedisModule_AvoidReplicaTraffic()
    int RedisModule_StringAppendBuffer(RedisModuleCtx *, RedisModuleString *, const char *, size_t)
    int RedisModule_SubscribeToKeyspaceEvents(RedisModuleCtx *, int, RedisModuleNotificationFunc)
    int RedisModule_GetNotifyKeyspaceEvents()
    int RedisModule_NotifyKeyspaceEvent(RedisModuleCtx *, int, const char *, RedisModuleString *)
    int RedisModule_PublishMessage(RedisModuleCtx *, RedisModuleString *, RedisModuleString *)

    int RedisModule_SubscribeToServerEvent(RedisModuleCtx *, RedisModuleEvent, RedisModuleEventCallback)
    int RedisModule_EventLoopAdd(int, int, RedisModuleEventLoopFunc, void *)
    int RedisModule_EventLoopDel(int, int)
    int RedisModule_EventLoopAddOneShot(RedisModuleEventLoopOneShotFunc, void *)
    RedisModuleTimerID RedisModule_CreateTimer(RedisModuleCtx *, long long, RedisModuleTimerProc, void *)

    RedisModuleCommandFilter *RedisModule_RegisterCommandFilter(
        RedisModuleCtx *, RedisModuleCommandFilterFunc, int)
    int RedisModule_CommandFilterArgsCount(RedisModuleCommandFilterCtx *)
    RedisModuleString *RedisModule_CommandFilterArgGet(RedisModuleCommandFilterCtx *, int)
    int RedisModule_CommandFilterArgInsert(RedisModuleCommandFilterCtx *, int, RedisModuleString *)
    int RedisModule_CommandFilterArgReplace(RedisModuleCommandFilterCtx *, int, RedisModuleString *)

    RedisModuleDict *RedisModule_CreateDict(RedisModuleCtx *)
    void RedisModule_FreeDict(RedisModuleCtx *, RedisModuleDict *)
    int RedisModule_DictReplaceC(RedisModuleDict *, void *, size_t, void *)
    void *RedisModule_DictGetC(RedisModuleDict *, void *, size_t, int *)
    int RedisModule_DictSetC(RedisModuleDict *, void *, size_t, void *)
    int RedisModule_DictDelC(RedisModuleDict *, void *, size_t, void *)

    RedisModuleType *RedisModule_CreateDataType(RedisModuleCtx *, const char *, int, RedisModuleTypeMethods *)
    int RedisModule_ExportSharedAPI(RedisModuleCtx *, const char *, void *)
    void *RedisModule_GetSharedAPI(RedisModuleCtx *, const char *)
    void RedisModule_SaveUnsigned(RedisModuleIO *, uint64_t)
    uint64_t RedisModule_LoadUnsigned(RedisModuleIO *)
    void RedisModule_SaveSigned(RedisModuleIO *, int64_t)
    int64_t RedisModule_LoadSigned(RedisModuleIO *)
    void RedisModule_SaveStringBuffer(RedisModuleIO *, const char *, size_t)
    char *RedisModule_LoadStringBuffer(RedisModuleIO *, size_t *)
    int RedisModule_IsIOError(RedisModuleIO *)

    RedisModuleServerInfoData *RedisModule_GetServerInfo(RedisModuleCtx *, const char *)
    void RedisModule_FreeServerInfo(RedisModuleCtx *, RedisModuleServerInfoData *)
    const char *RedisModule_ServerInfoGetFieldC(RedisModuleServerInfoData *, const char *)
    unsigned long long RedisModule_ServerInfoGetFieldUnsigned(RedisModuleServerInfoData *, const char *, int *)

    int RedisModule_RegisterInfoFunc(RedisModuleCtx *, RedisModuleInfoFunc)
    int RedisModule_InfoAddSection(RedisModuleInfoCtx *, const char *)
    int RedisModule_InfoAddFieldCString(RedisModuleInfoCtx *, const char *, const char *)
    int RedisModule_InfoAddFieldLongLong(RedisModuleInfoCtx *, const char *, long long)
    int RedisModule_InfoAddFieldULongLong(RedisModuleInfoCtx *, const char *, unsigned long long)

    int RedisModule_RegisterBoolConfig(
        RedisModuleCtx *, const char *, int, unsigned int,
        RedisModuleConfigGetBoolFunc, RedisModuleConfigSetBoolFunc, RedisModuleConfigApplyFunc, void *)
    int RedisModule_RegisterNumericConfig(
        RedisModuleCtx *, const char *, long long, unsigned int, long long, long long,
        RedisModuleConfigGetNumericFunc, RedisModuleConfigSetNumericFunc, RedisModuleConfigApplyFunc, void *)
    int RedisModule_RegisterStringConfig(
        RedisModuleCtx *, const char *, const char *, unsigned int,
        RedisModuleConfigGetStringFunc, RedisModuleConfigSetStringFunc, RedisModuleConfigApplyFunc, void *)
    int RedisModule_RegisterEnumConfig(
        RedisModuleCtx *, const char *, int, unsigned int, const char **, const int *, int,
        RedisModuleConfigGetEnumFunc, RedisModuleConfigSetEnumFunc, RedisModuleConfigApplyFunc, void *)
    int RedisModule_LoadConfigs(RedisModuleCtx *)
