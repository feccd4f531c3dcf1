# SPDX-License-Identifier: Apache-2.0
"""Cases of streams and their groups. Entries have given ids, so that they are the same on each server."""

from commands.case import Chance, make

SOME = ["XADD x 1-1 f a", "XADD x 2-1 f b", "XADD x 3-1 f c"]
GROUP = [*SOME, "XGROUP CREATE x g 0"]
READ = [*GROUP, "XREADGROUP GROUP g one COUNT 2 STREAMS x >"]
TAKE = "XREADGROUP GROUP g one STREAMS x >"

CASES = make({
    "xack": [*READ, "XACK x g 1-1 9-9", "XACK x g 1-1", "XACK x nope 1-1", "XPENDING x g"],
    "xadd": [
        "XADD x 1-1 f v", "XADD x 1-1 f v", "XADD x 1-* f v", "XADD x 0-0 f v", "XADD x NOMKSTREAM 2-2 f v",
        "XADD nope NOMKSTREAM 1-1 f v", "XADD x MAXLEN 2 5-1 f v g w", "XADD x MAXLEN ~ 1 6-1 f v",
        "XADD x MINID 6 7-1 f v", "XADD x 8-1 f", "XRANGE x - +",
    ],
    "xadd (ids by the clock)": Chance(["XADD x * f v  # kind", "XADD x * f v  # kind", "XLEN x"]),
    "xautoclaim": Chance([
        *READ, "XAUTOCLAIM x g two 0 0 COUNT 1", "XAUTOCLAIM x g two 0 0 JUSTID", "XDEL x 1-1",
        "XAUTOCLAIM x g two 0 0", "XPENDING x g",
    ]),
    "xclaim": Chance([
        *READ, "XCLAIM x g two 0 1-1", "XCLAIM x g two 0 2-1 JUSTID", "XCLAIM x g two 99999999 1-1",
        "XCLAIM x g two 0 3-1 FORCE IDLE 5 RETRYCOUNT 7", "XPENDING x g",
    ]),
    "xdel": [*SOME, "XDEL x 1-1 9-9", "XLEN x", "XDEL nope 1-1"],
    "xgroup|create": [
        *SOME, "XGROUP CREATE x g $", "XGROUP CREATE x g 0", "XGROUP CREATE nope g 0",
        "XGROUP CREATE new g $ MKSTREAM", "XGROUP CREATE x h 2-1 ENTRIESREAD 2",
    ],
    "xgroup|createconsumer": Chance([
        *GROUP, "XGROUP CREATECONSUMER x g one", "XGROUP CREATECONSUMER x g one", "XGROUP CREATECONSUMER x nope one",
    ]),
    "xgroup|delconsumer": [*READ, "XGROUP DELCONSUMER x g one", "XGROUP DELCONSUMER x g nope", "XPENDING x g"],
    "xgroup|destroy": [
        *SOME, "XGROUP CREATE x g $", "B> XREADGROUP GROUP g one BLOCK 0 STREAMS x >", "XGROUP DESTROY x g", "B<",
        "XGROUP DESTROY x g",
    ],
    "xgroup|help": ["XGROUP HELP"],
    "xgroup|setid": [*GROUP, "XGROUP SETID x g 2-1", TAKE, "XGROUP SETID x nope 0"],
    "xinfo|consumers": Chance([*READ, "XINFO CONSUMERS x g  # shape", "XINFO CONSUMERS x nope"]),
    "xinfo|groups": Chance([*READ, "XINFO GROUPS x"]),
    "xinfo|help": ["XINFO HELP"],
    "xinfo|stream": [*SOME, "XINFO STREAM x  # shape", "XINFO STREAM x FULL COUNT 1  # shape", "XINFO STREAM nope"],
    "xlen": [*SOME, "XLEN x", "XLEN nope"],
    "xpending": Chance([
        *READ, "XPENDING x g", "XPENDING x g - + 10  # shape", "XPENDING x g IDLE 99999999 - + 10", "XPENDING x nope",
    ]),
    "xrange": [*SOME, "XRANGE x - +", "XRANGE x 2 + COUNT 1", "XRANGE x (1-1 3"],
    "xread": [
        *SOME, "XREAD COUNT 1 STREAMS x 1-1", "XREAD STREAMS x $", "B> XREAD BLOCK 0 STREAMS x y $ $",
        "XADD y 1-1 f v", "B<", "XREAD BLOCK 10 STREAMS x $",
    ],
    "xreadgroup": Chance([
        *GROUP, "XREADGROUP GROUP g one COUNT 1 STREAMS x >", "XREADGROUP GROUP g two NOACK STREAMS x >",
        "XREADGROUP GROUP g one STREAMS x 0", "B> XREADGROUP GROUP g three BLOCK 0 STREAMS x >", "XADD x 9-1 f v",
        "B<", "XREADGROUP GROUP nope one STREAMS x >", "XPENDING x g",
    ]),
    "xrevrange": [*SOME, "XREVRANGE x + - COUNT 2"],
    "xsetid": [
        *SOME, "XSETID x 9-9", "XSETID x 1-1", "XSETID x 10-1 ENTRIESADDED 20 MAXDELETEDID 2-1", "XADD x 9-9 f v",
    ],
    "xtrim": [*SOME, "XTRIM x MAXLEN 2", "XTRIM x MINID 3-1", "XRANGE x - +", "XTRIM x MAXLEN ~ 0 LIMIT 1"],
})  # fmt: skip

CASES += make({
    "xackdel": [*READ, "XACKDEL x g IDS 2 1-1 9-9", "XLEN x", "XPENDING x g"],
    "xdelex": [
        *READ, "XDELEX x KEEPREF IDS 1 1-1", "XDELEX x DELREF IDS 1 2-1", "XDELEX x ACKED IDS 1 3-1", "XLEN x",
        "XPENDING x g",
    ],
}, ("redis-8.2",))  # fmt: skip
