# SPDX-License-Identifier: Apache-2.0
"""Cases of commands on keys of every type, their times to live, and databases."""

from commands.case import Chance, make

SOME_OF_EACH = ["SET s 1", "RPUSH l a b", "HSET h f v", "SADD t a", "ZADD z 1 a", "XADD x 1-1 f v", "PFADD p a"]

CASES = make({
    "copy": [
        *SOME_OF_EACH, "COPY s s2", "COPY l l2", "COPY h h2", "COPY t t2", "COPY z z2", "COPY x x2", "COPY s l",
        "COPY s l REPLACE", "COPY s s DB 3", "SELECT 3", "GET s", "COPY s s DB 99", "COPY nope n",
    ],
    "copy (lifetime)": ["SET s 1 EX 100", "COPY s d", "TTL d  # near"],
    "dbsize": ["DBSIZE", *SOME_OF_EACH, "DBSIZE", "SELECT 2", "DBSIZE"],
    "del": [*SOME_OF_EACH, "DEL s l nope", "DEL s", "DBSIZE"],
    "dump": ["SET s hello", "DUMP s", "RPUSH l a b c", "DUMP l", "DUMP nope"],
    "exists": ["SET s 1", "EXISTS s", "EXISTS s s nope"],
    "expire": [
        "SET s 1", "EXPIRE s 100", "TTL s  # near", "EXPIRE s 200 NX", "EXPIRE s 50 GT", "EXPIRE s 50 LT",
        "TTL s  # near", "EXPIRE s 10 XX", "EXPIRE nope 1", "EXPIRE s x", "EXPIRE s -1", "EXISTS s",
    ],
    "expireat": ["SET s 1", "EXPIREAT s 99999999999", "EXPIRETIME s", "EXPIREAT s 1", "EXISTS s"],
    "expiretime": ["SET s 1", "EXPIRETIME s", "EXPIREAT s 99999999999", "EXPIRETIME s", "EXPIRETIME nope"],
    "flushall": [
        *SOME_OF_EACH, "SELECT 1", "SET s 1", "FLUSHALL", "DBSIZE", "FLUSHALL ASYNC", "FLUSHALL SYNC", "FLUSHALL x",
    ],
    "flushdb": ["SET s 1", "SELECT 1", "SET s 1", "FLUSHDB", "DBSIZE", "SELECT 0", "DBSIZE", "FLUSHDB ASYNC"],
    "keys": [*SOME_OF_EACH, "KEYS *  # sorted", "KEYS [a-l]  # sorted", "KEYS nope*"],
    "move": [
        "SET s 1 EX 100", "MOVE s 1", "EXISTS s", "SELECT 1", "TTL s  # near", "MOVE s 1", "MOVE s 99", "MOVE nope 2",
    ],
    "object|encoding": [
        *SOME_OF_EACH, "OBJECT ENCODING s", "OBJECT ENCODING l", "OBJECT ENCODING h", "OBJECT ENCODING nope",
    ],
    "object|freq": ["SET s 1", "OBJECT FREQ s"],
    "object|help": ["OBJECT HELP"],
    "object|idletime": ["SET s 1", "OBJECT IDLETIME s  # near", "OBJECT IDLETIME nope"],
    "object|refcount": ["SET s abc", "OBJECT REFCOUNT s", "OBJECT REFCOUNT nope"],
    "persist": ["SET s 1 EX 100", "PERSIST s", "PERSIST s", "TTL s", "PERSIST nope"],
    "pexpire": ["SET s 1", "PEXPIRE s 90000", "PTTL s  # near", "PEXPIRE s 1 NX", "PEXPIRE s 0", "EXISTS s"],
    "pexpireat": ["SET s 1", "PEXPIREAT s 99999999999000", "PEXPIRETIME s", "PEXPIREAT s 5", "EXISTS s"],
    "pexpiretime": ["SET s 1", "PEXPIRETIME s", "PEXPIREAT s 99999999999123", "PEXPIRETIME s"],
    "pttl": ["SET s 1", "PTTL s", "PEXPIRE s 90000", "PTTL s  # near", "PTTL nope"],
    "randomkey": ["RANDOMKEY", "SET s 1", "RANDOMKEY"],
    "rename": [
        "SET s 1 EX 100", "RENAME s d", "TTL d  # near", "RENAME nope d", "RPUSH l a", "RENAME l d", "LRANGE d 0 -1",
        "RENAME d d",
    ],
    "renamenx": ["MSET a 1 b 2", "RENAMENX a b", "RENAMENX a c", "GET c", "RENAMENX nope d"],
    "restore": [
        "RPUSH l a b c", "DUMP l", "RESTORE copy 0 {reply}", "LRANGE copy 0 -1", "RESTORE l 0 nonsense", "ZADD z 1.5 m",
        "DUMP z", "RESTORE z 90000 {reply}  # word", "DUMP z", "RESTORE z 90000 {reply} REPLACE", "PTTL z  # near",
        "DUMP z", "RESTORE z 99999999999000 {reply} REPLACE ABSTTL", "PEXPIRETIME z",
    ],
    "restore-asking": ["SET s 1", "DUMP s", "RESTORE-ASKING d 0 {reply}", "GET d"],
    "scan": [*SOME_OF_EACH, "SCAN 0 COUNT 1000  # sorted", "SCAN 0 COUNT 1000 MATCH [st] TYPE string", "SCAN x"],
    "sort": [
        "RPUSH l 3 1 2", "SORT l", "SORT l DESC LIMIT 0 2", "MSET w1 9 w2 8 w3 7 d1 one d2 two",
        "SORT l BY w* GET # GET d*", "SORT l BY w* STORE dst", "LRANGE dst 0 -1", "RPUSH m b a", "SORT m",
        "SORT m ALPHA", "SORT nope STORE dst", "EXISTS dst", "SADD t 3 1 2", "SORT t STORE dst", "LRANGE dst 0 -1",
        "SADD u b a", "SORT u BY nosort STORE dst", "LLEN dst",
    ],
    "sort_ro": ["RPUSH l 3 1 2", "SORT_RO l DESC", "SORT_RO l STORE d"],
    "swapdb": ["SET s 0", "SELECT 1", "SET s 1", "SWAPDB 0 1", "GET s", "SELECT 0", "GET s", "SWAPDB 0 99"],
    "touch": ["MSET a 1 b 2", "TOUCH a b nope"],
    "ttl": ["SET s 1", "TTL s", "TTL nope", "EXPIRE s 100", "TTL s  # near"],
    "type": [*SOME_OF_EACH, "TYPE s", "TYPE l", "TYPE h", "TYPE t", "TYPE z", "TYPE x", "TYPE p", "TYPE nope"],
    "unlink": [*SOME_OF_EACH, "UNLINK s l nope", "DBSIZE"],
    "select": ["SELECT 15", "SET s 15", "SELECT 0", "GET s", "SELECT 16", "SELECT x"],
})  # fmt: skip

CASES += make({
    # The server deletes the key by its own clock, then or when it is read.
    "pexpire (until then)": Chance([
        "SET s 1 PX 20", "SET t 1", "PEXPIRE t 20", "DEBUG SLEEP 0.05", "GET s", "GET t", "DBSIZE",
    ]),
})  # fmt: skip
