# SPDX-License-Identifier: Apache-2.0
"""Cases of lists, those that block among them."""

from commands.case import make

CASES = make({
    "blmove": [
        "RPUSH a 1 2", "BLMOVE a b LEFT RIGHT 1", "LRANGE b 0 -1", "B> BLMOVE q r RIGHT LEFT 0", "RPUSH q x y", "B<",
        "LRANGE q 0 -1", "LRANGE r 0 -1", "BLMOVE nope r LEFT LEFT 0.01", "SET s 1", "BLMOVE a s LEFT LEFT 0",
    ],
    "blmpop": [
        "RPUSH a 1 2 3", "BLMPOP 1 2 nope a LEFT COUNT 2", "B> BLMPOP 0 2 p q RIGHT", "RPUSH q x y", "B<",
        "BLMPOP 0.01 1 nope LEFT",
    ],
    "blpop": [
        "RPUSH a 1 2", "BLPOP nope a 1", "B> BLPOP p q 0", "C> BLPOP q 0", "RPUSH q x", "B<", "RPUSH q y z", "C<",
        "LRANGE q 0 -1", "BLPOP nope 0.01", "BLPOP nope x", "SET s 1", "BLPOP s 0",
    ],
    "blpop (in a transaction)": ["MULTI", "BLPOP nope 0", "RPUSH q 1", "BLPOP q 0", "EXEC"],
    "blpop (the key comes otherwise)": [
        "B> BLPOP q 0", "RPUSH p 1", "RENAME p q", "B<", "B> BLPOP q 0", "SELECT 1", "RPUSH q 2", "MOVE q 0", "B<",
        "B> BLPOP q 0", "SELECT 0", "EVAL \"redis.call('RPUSH','q','a') return redis.call('RPUSH','q','b')\" 0", "B<",
        "LRANGE q 0 -1",
    ],
    "brpop": ["RPUSH a 1 2", "BRPOP a 1", "B> BRPOP q 0", "LPUSH q x y", "B<", "BRPOP nope 0.01"],
    "brpoplpush": [
        "RPUSH a 1 2", "BRPOPLPUSH a b 1", "B> BRPOPLPUSH q b 0", "LPUSH q x", "B<", "LRANGE b 0 -1",
        "BRPOPLPUSH nope b 0.01",
    ],
    "lindex": ["RPUSH l a b c", "LINDEX l 0", "LINDEX l -1", "LINDEX l 9", "LINDEX nope 0"],
    "linsert": [
        "RPUSH l a c", "LINSERT l BEFORE c b", "LINSERT l AFTER x y", "LINSERT nope AFTER a b", "LRANGE l 0 -1",
    ],
    "llen": ["RPUSH l a b", "LLEN l", "LLEN nope", "SET s 1", "LLEN s"],
    "lmove": [
        "RPUSH a 1 2 3", "LMOVE a b LEFT RIGHT", "LMOVE a a LEFT RIGHT", "LMOVE nope b LEFT LEFT", "LRANGE a 0 -1",
        "LRANGE b 0 -1",
    ],
    "lmpop": ["RPUSH a 1 2 3", "LMPOP 2 nope a LEFT COUNT 2", "LMPOP 1 a RIGHT", "LMPOP 1 a RIGHT", "EXISTS a"],
    "lpop": ["RPUSH l a b c d", "LPOP l", "LPOP l 2", "LPOP l 9", "LPOP l", "LPOP l 0", "EXISTS l"],
    "lpos": ["RPUSH l a b c b", "LPOS l b", "LPOS l b RANK -1", "LPOS l b COUNT 0", "LPOS l x", "LPOS l x COUNT 0"],
    "lpush": ["LPUSH l a b c", "LRANGE l 0 -1", "SET s 1", "LPUSH s a"],
    "lpushx": ["LPUSHX l a", "LPUSH l a", "LPUSHX l b c", "LRANGE l 0 -1"],
    "lrange": ["RPUSH l a b c", "LRANGE l 0 -1", "LRANGE l 1 1", "LRANGE l 5 9", "LRANGE nope 0 -1"],
    "lrem": ["RPUSH l a b a c a", "LREM l 1 a", "LREM l -1 a", "LREM l 0 x", "LREM l 0 a", "LRANGE l 0 -1"],
    "lset": ["RPUSH l a b c", "LSET l 1 x", "LSET l 9 x", "LSET nope 0 x", "LRANGE l 0 -1"],
    "ltrim": ["RPUSH l a b c d", "LTRIM l 1 2", "LRANGE l 0 -1", "LTRIM l 5 9", "EXISTS l"],
    "rpop": ["RPUSH l a b c", "RPOP l", "RPOP l 2", "RPOP l", "EXISTS l"],
    "rpoplpush": ["RPUSH a 1 2", "RPOPLPUSH a b", "RPOPLPUSH a a", "RPOPLPUSH nope b", "LRANGE b 0 -1"],
    "rpush": ["RPUSH l a b c", "LRANGE l 0 -1", "RPUSH l"],
    "rpushx": ["RPUSHX l a", "RPUSH l a", "RPUSHX l b", "LRANGE l 0 -1"],
})  # fmt: skip
