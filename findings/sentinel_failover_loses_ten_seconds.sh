#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A planned SENTINEL FAILOVER of healthy servers loses the writes that are answered in about ten seconds.
#
# Most expect: where nobody is dead, a fail-over by hand hands over: the old primary stops taking writes before the new one
#     begins, or some milliseconds around that are lost. A client that asks Sentinel for the primary follows at once.
# What happens: Sentinel promotes the replica and says so. It makes a replica of the old primary only when that one still calls
#     itself a primary some ten seconds later. Until then the old one takes writes and answers them; then it copies the new one,
#     and they are gone. No connection ends meanwhile, so a client of redis-py's Sentinel class stays there, too. Valkey 9.1
#     does the same, unless COORDINATED is added, which it alone knows: then nothing is lost.
# Versions: Redis 8.2.3, Valkey 9.1.2, redis-py 8.1.0, 2026-11-29.
# Where it matters: each planned move of a primary, as for an upgrade of servers or machines.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

redis_and_valkey
cat >"$tmp/failover.py" <<'EOF'
import sys, threading, time
import redis
from redis.sentinel import Sentinel

first, second, watcher = map(int, sys.argv[1:4])
old, new, sentinel = (redis.Redis(port=port) for port in (first, second, watcher))
new.replicaof("127.0.0.1", first)
sentinel.sentinel_monitor("main", "127.0.0.1", first, 1)
while new.info("replication")["master_link_status"] != "up" or not sentinel.sentinel_slaves("main"):
    time.sleep(0.1)

writer, answered, done = Sentinel([("127.0.0.1", watcher)]).master_for("main"), 0, threading.Event()

def write() -> None:
    global answered
    while not done.wait(0.002):
        try:
            writer.incr("counter")
            answered += 1
        except redis.RedisError:
            pass    # not answered: it may or may not count

thread = threading.Thread(target=write)
thread.start()
time.sleep(2)       # Sentinel asks the replica for its state once a second
sentinel.execute_command("SENTINEL", "FAILOVER", "main", *sys.argv[4:])
while int(sentinel.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main")[1]) != second:
    time.sleep(0.01)
begun = time.monotonic()
while old.role()[0] != b"slave":
    time.sleep(0.01)
both = time.monotonic() - begun
time.sleep(1)
done.set()
thread.join()
lost = max(answered - int(new.get("counter")), 0)
print(f"two primaries for {'more' if both > 5 else 'less'} than 5 s, {'more than 500' if lost > 500 else lost} answered writes are lost")
EOF

# failover SERVER [OPTION]: what a writer loses by a SENTINEL FAILOVER with that option.
failover() {
    local first second watcher
    first=$(free_port) second=$(free_port)
    start "$1" "$first"
    start "$1" "$second"
    watcher=$(free_port)
    : >"$tmp/sentinel-$watcher.conf"
    "$tmp/$1" "$tmp/sentinel-$watcher.conf" --sentinel --port "$watcher" --bind 127.0.0.1 &>/dev/null &
    echo "$!" >>"$tmp/pids"
    disown "$!"
    until (: <"/dev/tcp/127.0.0.1/$watcher") 2>/dev/null; do sleep 0.05; done
    echo "$1, SENTINEL FAILOVER main${2:+ $2}: $(python "$tmp/failover.py" "$first" "$second" "$watcher" ${2:+"$2"})"
}

echo "version: $(version redis-8.2.3), $(version valkey-9.1.2), redis-py 8.1.0"
echo "behaviour: a client of Sentinel's writes every 2 ms, while a primary and a replica, both healthy, change places by hand"
seen=$(failover redis-8.2.3; failover valkey-9.1.2; failover valkey-9.1.2 COORDINATED)
verdict "$seen" "redis-8.2.3, SENTINEL FAILOVER main: two primaries for more than 5 s, more than 500 answered writes are lost
valkey-9.1.2, SENTINEL FAILOVER main: two primaries for more than 5 s, more than 500 answered writes are lost
valkey-9.1.2, SENTINEL FAILOVER main COORDINATED: two primaries for less than 5 s, 0 answered writes are lost"
