# SPDX-License-Identifier: Apache-2.0
"""Cases of hashes, and of fields with a time to live."""

from commands.case import Chance, make

SOME = "HSET h a 1 b 2 c 3"

CASES = make({
    "hdel": [SOME, "HDEL h a x", "HDEL h b c", "EXISTS h", "HDEL nope a"],
    "hexists": [SOME, "HEXISTS h a", "HEXISTS h x", "HEXISTS nope a"],
    "hget": [SOME, "HGET h a", "HGET h x", "HGET nope a", "SET s 1", "HGET s a"],
    "hgetall": [SOME, "HGETALL h  # pairs", "HGETALL nope"],
    "hincrby": ["HINCRBY h n 5", "HINCRBY h n -7", "HSET h s x", "HINCRBY h s 1", "HGET h n"],
    "hincrbyfloat": ["HINCRBYFLOAT h f 0.1", "HINCRBYFLOAT h f 0.2", "HINCRBYFLOAT h f x", "HGET h f"],
    "hkeys": [SOME, "HKEYS h  # sorted", "HKEYS nope"],
    "hlen": [SOME, "HLEN h", "HLEN nope"],
    "hmget": [SOME, "HMGET h a x c", "HMGET nope a"],
    "hmset": ["HMSET h a 1 b 2", "HGETALL h  # pairs", "HMSET h a"],
    "hrandfield": ["HSET h a 1", "HRANDFIELD h", "HRANDFIELD h 5 WITHVALUES", "HRANDFIELD h -3", "HRANDFIELD nope"],
    "hscan": [SOME, "HSCAN h 0 COUNT 1000  # sorted", "HSCAN h 0 MATCH a*", "HSCAN nope 0"],
    "hset": ["HSET h a 1 b 2", "HSET h a 3 c 4", "HGETALL h  # pairs", "HSET h a", "SET s 1", "HSET s a 1"],
    "hsetnx": ["HSETNX h a 1", "HSETNX h a 2", "HGET h a"],
    "hstrlen": [SOME, "HSTRLEN h a", "HSTRLEN h x"],
    "hvals": [SOME, "HVALS h  # sorted"],
})  # fmt: skip

LONG = "HPEXPIRE h 90000 FIELDS 1 a"

CASES += make({
    "hexpire": [
        SOME, "HEXPIRE h 100 FIELDS 2 a x", "HTTL h FIELDS 3 a b x  # shape", "HEXPIRE h 0 FIELDS 1 b",
        "HGETALL h  # pairs", "HEXPIRE nope 1 FIELDS 1 a",
    ],
    "hexpireat": [
        SOME, "HEXPIREAT h 99999999999 FIELDS 1 a", "HEXPIRETIME h FIELDS 2 a b", "HEXPIREAT h 1 FIELDS 1 a",
        "HLEN h",
    ],
    "hexpiretime": [SOME, "HEXPIREAT h 99999999999 FIELDS 1 a", "HEXPIRETIME h FIELDS 1 a"],
    "hgetdel": [SOME, "HGETDEL h FIELDS 2 a x", "HGETDEL h FIELDS 2 b c", "EXISTS h"],
    "hgetex": [
        SOME, "HGETEX h EX 100 FIELDS 1 a", "HTTL h FIELDS 1 a  # shape", "HGETEX h PERSIST FIELDS 1 a",
        "HTTL h FIELDS 1 a", "HGETEX h PXAT 1 FIELDS 1 b", "HLEN h",
    ],
    "hpersist": [SOME, LONG, "HPERSIST h FIELDS 2 a b", "HTTL h FIELDS 1 a"],
    "hpexpire": [
        SOME, LONG, "HPTTL h FIELDS 2 a b  # shape", "HPEXPIRE h 80000 NX FIELDS 1 a", "HPEXPIRE h 0 FIELDS 3 a b c",
        "EXISTS h",
    ],
    "hpexpire (until then)": Chance([SOME, "HPEXPIRE h 20 FIELDS 2 a b", "DEBUG SLEEP 0.05", "HGETALL h"]),
    "hpexpireat": [SOME, "HPEXPIREAT h 99999999999000 FIELDS 1 a", "HPEXPIRETIME h FIELDS 1 a"],
    "hpexpiretime": [SOME, "HPEXPIREAT h 99999999999000 FIELDS 1 a", "HPEXPIRETIME h FIELDS 2 a x"],
    "hpttl": [SOME, LONG, "HPTTL h FIELDS 2 a x  # shape"],
    "hsetex": [
        "HSETEX h EX 100 FIELDS 2 a 1 b 2", "HTTL h FIELDS 1 a  # shape", "HSETEX h FNX FIELDS 1 a 3",
        "HSETEX h FXX KEEPTTL FIELDS 1 a 4", "HGETALL h  # pairs",
    ],
    "httl": [SOME, "HTTL h FIELDS 2 a x", "HTTL nope FIELDS 1 a"],
}, ("redis-8.2", "valkey-9.1"))  # fmt: skip
