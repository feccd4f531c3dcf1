# SPDX-License-Identifier: Apache-2.0
"""Cases of connections, their settings, publications and users."""

from commands.case import make

CASES = make({
    "auth": [
        "AUTH nonsense  # word", "AUTH nobody nonsense", "ACL SETUSER u on >p ~* +@all", "AUTH u p", "ACL WHOAMI",
        "AUTH default x", "ACL DELUSER u",
    ],
    "asking": ["ASKING"],
    "client|caching": ["CLIENT CACHING YES", "CLIENT TRACKING ON OPTIN", "CLIENT CACHING YES"],
    "client|getname": ["CLIENT GETNAME", "CLIENT SETNAME me", "CLIENT GETNAME"],
    "client|getredir": ["CLIENT GETREDIR"],
    "client|help": ["CLIENT HELP"],
    "client|id": ["CLIENT ID  # kind"],
    "client|info": ["CLIENT INFO  # names"],
    "client|kill": [
        "B: PING", "CLIENT KILL ID {B}", "CLIENT KILL ID 99999999", "CLIENT KILL 1.2.3.4:5",
        "CLIENT KILL TYPE pubsub",
    ],
    "client|list": ["CLIENT LIST ID {A}  # names", "CLIENT LIST TYPE pubsub", "CLIENT LIST TYPE nonsense"],
    "client|no-evict": ["CLIENT NO-EVICT ON", "CLIENT NO-EVICT OFF"],
    "client|pause": ["CLIENT PAUSE 60000 WRITE", "GET k", "CLIENT UNPAUSE", "SET k v", "CLIENT PAUSE x"],
    "client|pause (until it ends)": [
        "CLIENT PAUSE 60000 WRITE", "B! SET k v", "GET k", "CLIENT UNPAUSE", "B<", "CLIENT PAUSE 50 ALL", "GET k",
    ],
    "client|reply": [
        "A! CLIENT REPLY SKIP", "A! SET k v", "GET k", "A! CLIENT REPLY OFF", "A! SET k w", "CLIENT REPLY ON",
        "GET k",
    ],
    "client|setname": ["CLIENT SETNAME me", "CLIENT SETNAME 'a b'"],
    "client|tracking": [
        "CLIENT TRACKING ON REDIRECT {B}", "GET k", "CLIENT TRACKING OFF", "CLIENT TRACKING ON BCAST NOLOOP",
        "CLIENT TRACKING OFF",
    ],
    "client|tracking (invalidations)": [
        "B: HELLO 3  # kind", "B: CLIENT TRACKING ON", "B: GET k", "SET k v", "B<", "B: GET k", "FLUSHALL", "B<",
    ],
    "client|trackinginfo": ["CLIENT TRACKINGINFO", "CLIENT TRACKING ON PREFIX p BCAST", "CLIENT TRACKINGINFO"],
    "client|unblock": [
        "B> BLPOP q 0", "CLIENT UNBLOCK {B}", "B<", "B> BLPOP q 0", "CLIENT UNBLOCK {B} ERROR", "B<",
        "CLIENT UNBLOCK 99999999",
    ],
    "client|unpause": ["CLIENT UNPAUSE"],
    "echo": ["ECHO hello"],
    "hello": [
        "HELLO 3  # kind", "SADD t a", "SMEMBERS t", "HSET h f v", "HGETALL h", "GET nope", "ZADD z 1.5 a",
        "ZSCORE z a", "HELLO 2  # kind", "HGETALL h", "HELLO 9",
    ],
    "ping": ["PING", "PING hello", "PING a b"],
    "quit": ["B: QUIT"],
    "readonly": ["READONLY"],
    "readwrite": ["READWRITE"],
    "reset": ["SELECT 3", "CLIENT SETNAME me", "MULTI", "RESET", "CLIENT GETNAME", "EXEC"],
    "monitor": ["B: MONITOR"],
    # ------------------------------------------------------------------------------------------ publications
    "publish": ["PUBLISH c hello", "B: SUBSCRIBE c", "PUBLISH c hello", "B<"],
    "psubscribe": ["B: PSUBSCRIBE c*", "PUBLISH cat hello", "B<", "PUBLISH dog hello"],
    "punsubscribe": ["B: PUNSUBSCRIBE", "B: PSUBSCRIBE c*", "B: PUNSUBSCRIBE c*", "PUBLISH cat hello"],
    "pubsub|channels": ["B: SUBSCRIBE a", "PUBSUB CHANNELS", "PUBSUB CHANNELS x*"],
    "pubsub|help": ["PUBSUB HELP"],
    "pubsub|numpat": ["PUBSUB NUMPAT", "B: PSUBSCRIBE c*", "PUBSUB NUMPAT"],
    "pubsub|numsub": ["B: SUBSCRIBE a", "PUBSUB NUMSUB a b"],
    "pubsub|shardchannels": ["B: SSUBSCRIBE a", "PUBSUB SHARDCHANNELS"],
    "pubsub|shardnumsub": ["B: SSUBSCRIBE a", "PUBSUB SHARDNUMSUB a b"],
    "spublish": ["SPUBLISH c hello", "B: SSUBSCRIBE c", "SPUBLISH c hello", "B<"],
    "ssubscribe": ["B: SSUBSCRIBE c", "SPUBLISH c hello", "B<", "PUBLISH c hello"],
    "subscribe": [
        "B: SUBSCRIBE c d", "B<", "PUBLISH d hello", "B<", "B: PING", "MULTI", "PUBLISH c inside", "EXEC", "B<",
        "EVAL \"return redis.call('PUBLISH', 'c', 'by a script')\" 0", "B<",
    ],
    "subscribe (key events)": [
        "CONFIG SET notify-keyspace-events KEA", "B: PSUBSCRIBE __key*__:*", "SET k v", "B<", "B<", "DEL k", "B<", "B<",
        "CONFIG SET notify-keyspace-events ''",
    ],
    "sunsubscribe": ["B: SUNSUBSCRIBE", "B: SSUBSCRIBE c", "B: SUNSUBSCRIBE c"],
    "unsubscribe": ["B: UNSUBSCRIBE", "B: SUBSCRIBE c", "B: UNSUBSCRIBE c", "PUBLISH c hello"],
    # ------------------------------------------------------------------------------------------ users
    "acl|cat": ["ACL CAT  # kind", "ACL CAT hash  # sorted", "ACL CAT nonsense"],
    "acl|deluser": ["ACL SETUSER u", "ACL DELUSER u nobody", "ACL DELUSER default"],
    "acl|dryrun": [
        "ACL SETUSER u +get ~*", "ACL DRYRUN u GET k", "ACL DRYRUN u SET k v", "ACL DRYRUN nobody GET k",
        "ACL DELUSER u",
    ],
    "acl|genpass": ["ACL GENPASS  # kind", "ACL GENPASS 5  # kind", "ACL GENPASS x"],
    "acl|getuser": ["ACL SETUSER u on >p ~a* &c +get", "ACL GETUSER u", "ACL GETUSER nobody", "ACL DELUSER u"],
    "acl|help": ["ACL HELP"],
    "acl|list": ["ACL SETUSER u off", "ACL LIST  # sorted", "ACL DELUSER u"],
    "acl|load": ["ACL LOAD"],
    "acl|log": [
        "ACL LOG RESET", "ACL SETUSER u on >p ~a* +@all", "B: AUTH u p", "B: GET b", "ACL LOG  # shape",
        "ACL LOG RESET", "ACL DELUSER u",
    ],
    "acl|save": ["ACL SAVE"],
    "acl|setuser": [
        "ACL SETUSER u on >p ~a* +@all -@dangerous", "B: AUTH u p", "B: SET a 1", "B: SET b 1", "B: FLUSHALL",
        "ACL SETUSER u nonsense", "ACL DELUSER u",
    ],
    "acl|users": ["ACL USERS"],
    "acl|whoami": ["ACL WHOAMI"],
})  # fmt: skip

CASES += make({
    "client|no-touch": ["CLIENT NO-TOUCH ON", "CLIENT NO-TOUCH OFF"],
    "client|setinfo": ["CLIENT SETINFO LIB-NAME mine", "CLIENT SETINFO LIB-VER 1.0", "CLIENT SETINFO nonsense x"],
}, ("redis-8.2", "valkey-9.1"))
CASES += make({
    "client|capa": ["CLIENT CAPA redirect"],
    "client|import-source": ["CLIENT IMPORT-SOURCE ON"],
}, ("valkey-9.1",))
