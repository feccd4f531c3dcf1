# SPDX-License-Identifier: Apache-2.0
"""Cases of a server's administration: settings, statistics, saving, its commands."""

from commands.case import make

NOT_A_CLUSTER = [
    "addslots 1", "addslotsrange 1 2", "bumpepoch", "count-failure-reports x", "countkeysinslot 1", "delslots 1",
    "delslotsrange 1 2", "failover", "flushslots", "forget x", "getkeysinslot 1 1", "help", "info", "keyslot k",
    "links", "meet 127.0.0.1 1", "myid", "nodes", "replicas x", "replicate x", "reset", "saveconfig",
    "set-config-epoch 1", "setslot 1 stable", "shards", "slaves x", "slots",
]  # fmt: skip


def cluster_cases(commands: list[str]) -> dict[str, list[str]]:
    """The servers are no cluster, and say so."""
    return {f"cluster|{command.split()[0]}": [f"CLUSTER {command}"] for command in commands}


CASES = make({
    **cluster_cases(NOT_A_CLUSTER),
    "bgrewriteaof": ["BGREWRITEAOF  # kind"],
    "bgsave": ["BGSAVE SCHEDULE  # kind", "BGSAVE nonsense"],
    "command|count": ["COMMAND COUNT  # kind"],
    "command|docs": ["COMMAND DOCS get set eval", "COMMAND DOCS nope"],
    "command|getkeys": ["COMMAND GETKEYS MSET a 1 b 2", "COMMAND GETKEYS PING", "COMMAND GETKEYS EVAL s 2 a b"],
    "command|getkeysandflags": ["COMMAND GETKEYSANDFLAGS LMOVE a b left right"],
    "command|help": ["COMMAND HELP"],
    "command|info": [
        "COMMAND  # kind", "COMMAND INFO get set eval multi nope  # sorted",
        "COMMAND INFO config|get xgroup|create  # sorted",
    ],
    "command|list": [
        "COMMAND LIST FILTERBY ACLCAT hyperloglog  # sorted", "COMMAND LIST FILTERBY PATTERN xg*  # sorted",
    ],
    "config|get": ["CONFIG GET maxmemory-policy", "CONFIG GET hash-max-*  # pairs", "CONFIG GET nope"],
    "config|help": ["CONFIG HELP"],
    "config|resetstat": ["CONFIG RESETSTAT"],
    "config|rewrite": ["CONFIG REWRITE"],
    "config|set": [
        "CONFIG SET hash-max-listpack-entries 1", "HSET h a 1 b 2", "OBJECT ENCODING h",
        "CONFIG SET hash-max-listpack-entries 128", "CONFIG SET nonsense 1", "CONFIG SET maxmemory x",
    ],
    "debug": [
        "SET k v", "DEBUG DIGEST-VALUE k", "DEBUG STRINGMATCH-LEN 5 a*  # kind", "DEBUG SLEEP 0",
        "DEBUG OBJECT k  # kind", "DEBUG nonsense",
    ],
    "lastsave": ["LASTSAVE  # kind"],
    "latency|doctor": ["LATENCY DOCTOR  # kind"],
    "latency|graph": ["LATENCY GRAPH nope"],
    "latency|help": ["LATENCY HELP"],
    "latency|histogram": ["SET k v", "LATENCY HISTOGRAM set  # kind", "LATENCY HISTOGRAM nope"],
    "latency|history": ["LATENCY HISTORY nope"],
    "latency|latest": ["LATENCY LATEST  # kind"],
    "latency|reset": ["LATENCY RESET nope"],
    "lolwut": ["LOLWUT  # kind"],
    "memory|doctor": ["MEMORY DOCTOR  # kind"],
    "memory|help": ["MEMORY HELP"],
    "memory|malloc-stats": ["MEMORY MALLOC-STATS  # kind"],
    "memory|purge": ["MEMORY PURGE"],
    "memory|stats": ["MEMORY STATS  # kind"],
    "memory|usage": ["SET k v", "MEMORY USAGE k", "MEMORY USAGE nope"],
    "module|help": ["MODULE HELP"],
    "module|list": ["MODULE LIST  # kind"],
    "module|load": ["MODULE LOAD /nowhere.so"],
    "module|loadex": ["MODULE LOADEX /nowhere.so"],
    "module|unload": ["MODULE UNLOAD nope"],
    "save": ["SET k v", "SAVE"],
    "shutdown": ["SHUTDOWN ABORT", "SHUTDOWN nonsense"],
    "slowlog|get": ["SLOWLOG GET  # kind", "SLOWLOG GET x"],
    "slowlog|help": ["SLOWLOG HELP"],
    "slowlog|len": ["SLOWLOG LEN  # kind"],
    "slowlog|reset": ["SLOWLOG RESET"],
    "time": ["TIME  # shape"],
})  # fmt: skip

CASES += make(cluster_cases(["myshardid", "slot-stats orderby cpu-usec"]), ("redis-8.2", "valkey-9.1"))
CASES += make({
    **cluster_cases([
        "cancelslotmigrations", "flushslot 1", "getslotmigrations", "migrateslots slotsrange 1 2 node x", "syncslots x",
    ]),
    "clusterscan": ["CLUSTERSCAN 0"],
    "commandlog|get": ["COMMANDLOG GET 1 slow  # kind"],
    "commandlog|help": ["COMMANDLOG HELP"],
    "commandlog|len": ["COMMANDLOG LEN slow  # kind"],
    "commandlog|reset": ["COMMANDLOG RESET slow"],
}, ("valkey-9.1",))
