# SPDX-License-Identifier: Apache-2.0
"""Cases of scripts, functions and transactions."""

from commands.case import Chance, make

SHA = "e0e1f9fabfc9d4800c877a703b823ac0578ff8db"    # of `return 1`
LIBRARY = (
    r'FUNCTION LOAD "#!lua name=lib\n'
    r'redis.register_function(\"put\", function(keys, args) return redis.call(\"SET\", keys[1], args[1]) end)\n'
    r'redis.register_function{function_name=\"look\", flags={\"no-writes\"},'
    r' callback=function(keys) return redis.call(\"GET\", keys[1]) end}"'
)

CASES = make({
    "eval": [
        "EVAL \"return {1, 'a', redis.status_reply('fine'), redis.error_reply('bad'), false, 3.7}\" 0",
        "EVAL \"redis.call('SET', KEYS[1], ARGV[1]) return redis.call('INCR', KEYS[1])\" 1 n 5",
        "EVAL \"for i = 1, 50 do redis.call('RPUSH', 'l', i) end return redis.call('LLEN', 'l')\" 0",
        "EVAL \"return redis.call('INCR', 'l')\" 0  # word", "EVAL \"return redis.pcall('INCR', 'l')\" 0",
        "EVAL nonsense 0  # word", "EVAL \"redis.call('SET', 'half', 1) error('stop')\" 0  # word", "GET half",
        "EVAL \"return redis.sha1hex('')\" 0", "EVAL \"redis.call('SELECT', 2) redis.call('SET', 'elsewhere', 1)\" 0",
        "EXISTS elsewhere", "EVAL 'return redis.call(\"PING\")' x",
    ],
    "eval (by chance)": Chance([
        "SADD t a b c d e f",
        "EVAL \"redis.call('SET', 'now', redis.call('TIME')[2]) return redis.call('SPOP', 't')\" 0  # kind",
        "EVAL \"for i = 1, 9 do redis.call('SET', 'r' .. i, redis.call('SRANDMEMBER', 't')) end\" 0",
        "EVAL \"return redis.call('SET', 'k', 'v', 'PX', 30)\" 0", "DEBUG SLEEP 0.05", "GET k",
    ]),
    "eval_ro": [
        "SET n 5", "EVAL_RO \"return redis.call('GET', 'n')\" 0",
        "EVAL_RO \"return redis.call('SET', 'n', 1)\" 0  # word",
    ],
    "evalsha": [f"EVALSHA {SHA} 0  # word", 'SCRIPT LOAD "return 1"', f"EVALSHA {SHA} 0", "EVALSHA nonsense 0  # word"],
    "evalsha_ro": ['SCRIPT LOAD "return 1"', f"EVALSHA_RO {SHA} 0"],
    "fcall": [LIBRARY, "FCALL put 1 k v", "GET k", "FCALL nope 0", "FCALL put 1  # word"],
    "fcall_ro": [LIBRARY, "SET k v", "FCALL_RO look 1 k", "FCALL_RO put 1 k w", "GET k"],
    "function|delete": [LIBRARY, "FUNCTION DELETE lib", "FUNCTION DELETE lib", "FCALL put 1 k v"],
    "function|dump": ["FUNCTION DUMP", LIBRARY, "FUNCTION DUMP"],
    "function|flush": [LIBRARY, "FUNCTION FLUSH", "FUNCTION LIST", "FUNCTION FLUSH ASYNC"],
    "function|help": ["FUNCTION HELP"],
    "function|kill": ["FUNCTION KILL"],
    "function|list": [LIBRARY, "FUNCTION LIST  # sorted", "FUNCTION LIST LIBRARYNAME nope"],
    "function|load": [
        LIBRARY, LIBRARY, LIBRARY.replace("LOAD", "LOAD REPLACE"), "FUNCTION LOAD nonsense", "FUNCTION DUMP",
    ],
    "function|restore": [
        LIBRARY, "FUNCTION DUMP", "FUNCTION RESTORE {reply}", "FUNCTION DUMP", "FUNCTION RESTORE {reply} REPLACE",
        "FUNCTION RESTORE nonsense",
    ],
    "function|stats": [LIBRARY, "FUNCTION STATS"],
    "script|debug": ["SCRIPT DEBUG NO", "SCRIPT DEBUG nonsense"],
    "script|exists": ['SCRIPT LOAD "return 1"', f"SCRIPT EXISTS {SHA} nope"],
    "script|flush": ['SCRIPT LOAD "return 1"', "SCRIPT FLUSH", f"SCRIPT EXISTS {SHA}", "SCRIPT FLUSH ASYNC"],
    "script|help": ["SCRIPT HELP"],
    "script|kill": ["SCRIPT KILL"],
    "script|load": ['SCRIPT LOAD "return 1"', "SCRIPT LOAD nonsense  # word"],
    # ------------------------------------------------------------------------------------------ transactions
    "multi": ["MULTI", "MULTI", "SET k v", "GET k", "EXEC", "MULTI", "EXEC"],
    "exec": [
        "EXEC", "MULTI", "SET k v", "INCR k", "LPUSH k x", "SET j w", "EXEC", "GET j", "MULTI", "SET k", "SET k x",
        "EXEC", "GET k", "MULTI", "SELECT 3", "SET far 1", "EXEC", "GET far",
    ],
    "discard": ["DISCARD", "MULTI", "SET k v", "DISCARD", "GET k"],
    "watch": [
        "SET k 1", "WATCH k", "B: SET k 2", "MULTI", "SET k 3", "EXEC", "GET k", "WATCH k", "MULTI", "SET k 4",
        "EXEC", "GET k", "MULTI", "WATCH k", "EXEC", "WATCH gone", "B: SET gone 1 PX 1", "MULTI", "EXEC",
    ],
    "unwatch": ["SET k 1", "WATCH k", "B: SET k 2", "UNWATCH", "MULTI", "GET k", "EXEC"],
})  # fmt: skip

CASES += make({"script|show": ['SCRIPT LOAD "return 1"', f"SCRIPT SHOW {SHA}", "SCRIPT SHOW nope"]}, ("valkey-9.1",))
