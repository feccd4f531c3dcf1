#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# sort_ro() of redis-py sends SORT, which a replica refuses.
#
# Most expect: the method sends the command of its name, which exists so that one can sort where nothing may be written: at
#     replicas, and for users with read rights alone.
# What happens: it calls sort(), and that sends SORT. A replica answers READONLY, and a user without the right to write gets
#     NOPERM. execute_command("SORT_RO", ...) is answered everywhere.
# Versions: redis-py 8.1.0 and valkey-py 6.2.0 against Redis 8.2.3, 2026-11-29.
# Where it matters: reads that are spread over replicas; users that may only read.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

redis_8_2_3
packages redis==8.1.0 valkey==6.2.0
start_pair redis-8.2.3

echo "version: redis-py 8.1.0, valkey-py 6.2.0; $(version redis-8.2.3)"
echo "behaviour: sorting a list at a replica, by sort_ro() and by the command SORT_RO"
seen=$(python - "$primary" "$replica" <<'EOF'
import sys
import redis, valkey

redis.Redis(port=int(sys.argv[1])).rpush("list", 2, 1)
redis.Redis(port=int(sys.argv[1])).wait(1, 0)
for name, client in ("redis-py", redis.Redis), ("valkey-py", valkey.Valkey):
    replica = client(port=int(sys.argv[2]), decode_responses=True)
    for call, arguments in (replica.sort_ro, ["list"]), (replica.execute_command, ["SORT_RO", "list"]):
        try:
            outcome = call(*arguments)
        except (redis.ReadOnlyError, valkey.ReadOnlyError) as error:
            outcome = f"raises {type(error).__name__}"
        print(f"{name}, {call.__name__}({', '.join(map(repr, arguments))}): {outcome}")
sent = redis.Redis(port=int(sys.argv[2])).info("commandstats")
print(f"the replica has refused SORT {sent['cmdstat_sort']['rejected_calls']} times and executed SORT_RO {sent['cmdstat_sort_ro']['calls']} times")
EOF
)
verdict "$seen" "redis-py, sort_ro('list'): raises ReadOnlyError
redis-py, execute_command('SORT_RO', 'list'): ['1', '2']
valkey-py, sort_ro('list'): raises ReadOnlyError
valkey-py, execute_command('SORT_RO', 'list'): ['1', '2']
the replica has refused SORT 2 times and executed SORT_RO 2 times"
