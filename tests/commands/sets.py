# SPDX-License-Identifier: Apache-2.0
"""Cases of sets."""

from commands.case import Chance, make

TWO = ["SADD a 1 2 x", "SADD b 2 x y"]

CASES = make({
    "sadd": ["SADD t a b a", "SADD t 1 2", "SADD n 1 2 3", "SADD n x", "SMEMBERS t  # sorted", "SET s 1", "SADD s a"],
    "scard": [*TWO, "SCARD a", "SCARD nope"],
    "sdiff": [*TWO, "SDIFF a b", "SDIFF a nope  # sorted"],
    "sdiffstore": [*TWO, "SDIFFSTORE d a b", "SMEMBERS d", "SDIFFSTORE d a a", "EXISTS d"],
    "sinter": [*TWO, "SINTER a b  # sorted", "SINTER a nope"],
    "sintercard": [*TWO, "SINTERCARD 2 a b", "SINTERCARD 2 a b LIMIT 1"],
    "sinterstore": [*TWO, "SINTERSTORE d a b", "SMEMBERS d  # sorted"],
    "sismember": [*TWO, "SISMEMBER a x", "SISMEMBER a y", "SISMEMBER nope y"],
    "smembers": [*TWO, "SMEMBERS a  # sorted", "SMEMBERS nope"],
    "smismember": [*TWO, "SMISMEMBER a x y 1", "SMISMEMBER nope a"],
    "smove": [*TWO, "SMOVE a b 1", "SMOVE a b nope", "SMOVE nope b 1", "SMEMBERS b  # sorted"],
    "spop": ["SADD t a", "SPOP t", "SPOP t", "SADD t a b", "SPOP t 5  # sorted", "EXISTS t", "SPOP t 0"],
    "spop (at random)": Chance([
        "SADD t a b c d e f g h", "SPOP t  # kind", "SPOP t 3  # shape", "SADD n 1 2 3 4", "SPOP n  # kind",
        "SCARD t",
    ]),
    "srandmember": ["SADD t a", "SRANDMEMBER t", "SRANDMEMBER t -3", "SRANDMEMBER t 9", "SRANDMEMBER nope"],
    "srem": [*TWO, "SREM a x nope", "SREM a 1 2", "EXISTS a"],
    "sscan": [*TWO, "SSCAN a 0 COUNT 1000  # sorted", "SSCAN a 0 MATCH x*"],
    "sunion": [*TWO, "SUNION a b nope  # sorted"],
    "sunionstore": [*TWO, "SUNIONSTORE d a b", "SMEMBERS d  # sorted"],
})  # fmt: skip
