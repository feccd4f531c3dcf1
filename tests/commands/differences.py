# SPDX-License-Identifier: Apache-2.0
"""What answers otherwise at the head of a chain than at a plain server, with the reason. docs/any-command.md shows it.

Every command that is not in DIFFERENT has a case that answers the same: test_surface.py holds that.
"""

REFUSED = {
    "failover": "the master decides who is head",
    "migrate": "it would send values to another server before they are committed",
    "psync": "a copy through a client's connection is not one of the chain's",
    "replicaof": "the master decides who follows whom",
    "slaveof": "the old name of `REPLICAOF`",
    "sync": "as `PSYNC`",
}
OTHERWISE = {
    "info": "it has the section `member`, and `connected_slaves` counts the chain's own connection",
    "replconf": "it prepares `PSYNC`, and is of no use without it",
    "role": "it shows the chain's own connection as a replica",
    "wait": "any number up to that of the other members is reached as soon as what was written is committed",
    "waitaof": "it counts 1 replica as soon as all other members have it on their disks; whoever asks for more waits "
    "for that, too. A member that has just joined by copy does not count for what was written before. "
    "With `appendfsync always` at all members every reply says that it is on all of them",
}
DIFFERENT = REFUSED | OTHERWISE
PARTLY = {
    "acl|cat": "its categories include those of the module",
    "client|list": "its clients include the chain's own connections",
    "client|pause": "it pauses writes only, also with `ALL`: the chain's own connections would be paused, too. With "
    "`appendfsync always`, what ran in the same moment before it is answered when the pause ends",
    "command": "its commands include those of the module",
    "config|set": "it refuses values that a chain cannot work with ([redis.md](redis.md))",
    "debug": "`RELOAD`, `LOADAOF`, `POPULATE`, `REPLICATE`, `CHANGE-REPL-ID` and `SET-ACTIVE-EXPIRE` are refused",
    "module|list": "the module is in it",
}
