# SPDX-License-Identifier: Apache-2.0
"""Cases of strings, counters, bits and HyperLogLogs."""

from commands.case import make

CASES = make({
    "append": ["APPEND k a", "APPEND k bc", "GET k", "LPUSH l x", "APPEND l a"],
    "decr": ["DECR n", "SET n 9", "DECR n", "SET n x", "DECR n"],
    "decrby": ["DECRBY n 5", "DECRBY n -7", "DECRBY n x", "GET n"],
    "get": ["GET k", 'SET k "\\x00\\xff\\r\\n"', "GET k", "LPUSH l x", "GET l", "GET", "GET a b"],
    "getdel": ["GETDEL k", "SET k v", "GETDEL k", "EXISTS k"],
    "getex": [
        "SET k v", "GETEX k EX 100", "TTL k  # near", "GETEX k PX 90000", "PTTL k  # near", "GETEX k PERSIST", "TTL k",
        "GETEX k EXAT 99999999999", "EXPIRETIME k", "GETEX k PXAT 99999999999000", "PEXPIRETIME k", "GETEX k EX 0",
        "GETEX k PXAT 1", "EXISTS k",
    ],
    "getrange": ["SET k abcdef", "GETRANGE k 1 3", "GETRANGE k -2 -1", "GETRANGE k 5 1", "GETRANGE nope 0 1"],
    "getset": ["GETSET k a", "GETSET k b", "SET k c EX 100", "GETSET k d", "TTL k"],
    "incr": ["INCR n", "INCR n", "SET n 9223372036854775807", "INCR n", "SET n ' 1'", "INCR n", "GET n"],
    "incrby": [
        "INCRBY n 10", "INCRBY n -3", "INCRBY n 99999999999999999999", "SET n 1 EX 100", "INCRBY n 1",
        "TTL n  # near",
    ],
    "incrbyfloat": [
        "INCRBYFLOAT f 0.1", "INCRBYFLOAT f 0.2", "INCRBYFLOAT f 5e3", "INCRBYFLOAT f nan", "SET f 3.0 EX 100",
        "INCRBYFLOAT f 1.5", "TTL f  # near",
    ],
    "lcs": ["MSET a ohmytext b mynewtext", "LCS a b", "LCS a b LEN", "LCS a b IDX MINMATCHLEN 4 WITHMATCHLEN"],
    "mget": ["MSET a 1 b 2", "MGET a b c", "LPUSH l x", "MGET a l"],
    "mset": ["MSET a 1 b 2 a 3", "MGET a b", "MSET a"],
    "msetnx": ["MSETNX a 1 b 2", "MSETNX b 3 c 4", "MGET a b c"],
    "psetex": ["PSETEX k 90000 v", "PTTL k  # near", "PSETEX k 0 v", "GET k"],
    "set": ["SET k v", "GET k", "SET k", "SET k v BADOPTION"],
    "set (conditions)": [
        "SET k 1 NX", "SET k 2 NX", "GET k", "SET k 3 XX", "SET nope 1 XX", "SET k 4 GET", "SET k 5 NX GET",
        "SET k 6 XX NX", "LPUSH l x", "SET l 1 GET", "GET k",
    ],
    "set (lifetime)": [
        "SET k v EX 100", "TTL k  # near", "SET k w KEEPTTL", "TTL k  # near", "SET k v PX 90000", "PTTL k  # near",
        "SET k v EXAT 99999999999", "EXPIRETIME k", "SET k v PXAT 99999999999000", "PEXPIRETIME k", "SET k v",
        "TTL k", "SET k v EX 0", "SET k v PXAT 1", "GET k",
    ],
    "setex": ["SETEX k 100 v", "TTL k  # near", "SETEX k -1 v", "GET k"],
    "setnx": ["SETNX k a", "SETNX k b", "GET k"],
    "setrange": ["SETRANGE k 5 hello", "GET k", "SETRANGE k 0 HE", "GET k", "SETRANGE k -1 x", "SETRANGE nope 0 ''"],
    "strlen": ["SET k abc", "STRLEN k", "STRLEN nope", "LPUSH l x", "STRLEN l"],
    "substr": ["SET k abcdef", "SUBSTR k 1 2"],
    # ------------------------------------------------------------------------------------------ bits
    "bitcount": ["SET k foobar", "BITCOUNT k", "BITCOUNT k 0 0", "BITCOUNT k 5 30 BIT", "BITCOUNT nope"],
    "bitfield": [
        "BITFIELD b INCRBY i5 100 1 GET u4 0", "BITFIELD b SET u8 0 255 OVERFLOW SAT INCRBY u8 0 10",
        "BITFIELD b OVERFLOW FAIL INCRBY u2 102 9", "BITFIELD b GET u8 0", "GET b",
    ],
    "bitfield_ro": ["SET b ab", "BITFIELD_RO b GET u8 0 GET u8 8", "BITFIELD_RO b SET u8 0 1"],
    "bitop": [
        "MSET a abc b cde", "BITOP AND d a b", "GET d", "BITOP XOR d a b nope", "GET d", "BITOP NOT d a", "GET d",
    ],
    "bitpos": ['SET k "\\x00\\xff\\xf0"', "BITPOS k 1", "BITPOS k 0", "BITPOS k 1 2", "BITPOS k 1 7 15 BIT"],
    "getbit": ["SETBIT b 7 1", "GETBIT b 7", "GETBIT b 100", "GETBIT b -1"],
    "setbit": ["SETBIT b 7 1", "SETBIT b 7 0", "SETBIT b 100 1", "SETBIT b 7 2", "GET b"],
    # ------------------------------------------------------------------------------------------ HyperLogLogs
    "pfadd": ["PFADD h a b c", "PFADD h a", "PFADD h", "PFADD new", "SET s x", "PFADD s a", "PFCOUNT h"],
    "pfcount": ["PFADD h a b c", "PFADD g c d", "PFCOUNT h", "PFCOUNT h g", "PFCOUNT nope"],
    "pfdebug": ["PFADD h a b c", "PFDEBUG ENCODING h", "PFDEBUG TODENSE h", "PFDEBUG ENCODING h"],
    "pfmerge": ["PFADD h a b c", "PFADD g c d", "PFMERGE all h g", "PFCOUNT all", "PFMERGE new nope", "TYPE new"],
    "pfselftest": ["PFSELFTEST"],
})  # fmt: skip

CASES += make({
    "delifeq": ["SET k v", "DELIFEQ k w", "DELIFEQ k v", "EXISTS k", "DELIFEQ k v"],
    "msetex": ["MSETEX 2 a 1 b 2 EX 100", "MGET a b", "TTL b  # near", "MSETEX 1 a 3 NX", "GET a"],
    "set (if equal)": ["SET k v", "SET k w IFEQ x", "GET k", "SET k w IFEQ v", "GET k"],
}, ("valkey-9.1",))
