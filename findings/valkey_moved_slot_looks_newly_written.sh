#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A slot that Valkey migrates atomically is announced at its new server as if clients had just written each key.
#
# Most expect: keyspace events tell what happens to data. Moving a slot changes none, so nothing is told, or what MIGRATE has
#     always led to: "restore" at the new server and "del" at the former one.
# What happens: the data comes as commands that build it, and each of them is told like a client's: "set", "expire", "hset", "rpush",
#     "xadd". The former server says nothing when the keys go.
# Version: Valkey 9.1.2, valkey-py 6.2.0, 2026-11-30.
# Where it matters: programs that work by events (an index, a cache, jobs on "set"): each rebalancing makes them work through the whole
#     slot as if it was new, and those that count or enqueue do it twice.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

valkey_cluster --notify-keyspace-events KEA

echo "version: $(version valkey-9.1.2), valkey-py 6.2.0"
echo "behaviour: four keys of a slot move to the other server of a cluster, by MIGRATE and by CLUSTER MIGRATESLOTS; nobody writes"
seen=$(python - "${ports[@]}" <<'EOF'
import sys, time
import valkey

former, new = servers = [valkey.Valkey(port=int(port), decode_responses=True) for port in sys.argv[1:]]
ids = [server.execute_command("CLUSTER", "MYID") for server in servers]

def migrate(slot: int, keys: list[str]) -> None:
    """The way of Redis Cluster: key by key."""
    new.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[0])
    former.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[1])
    former.migrate("127.0.0.1", int(sys.argv[2]), keys, 0, 5000)
    for server in (new, former):
        server.execute_command("CLUSTER", "SETSLOT", slot, "NODE", ids[1])

def migrate_slots(slot: int, keys: list[str]) -> None:
    former.execute_command("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", ids[1])
    while former.execute_command("CLUSTER", "COUNTKEYSINSLOT", slot):
        time.sleep(0.05)

def show(name: str, move) -> None:
    keys = [f"{{{name}}} {kind}" for kind in ("string", "hash", "list", "stream")]
    former.set(keys[0], "value", ex=1000)
    former.hset(keys[1], mapping={"field": "value"})
    former.rpush(keys[2], "element")
    former.xadd(keys[3], {"field": "value"})
    listeners = []
    for server in servers:
        listener = server.pubsub()
        listener.psubscribe("__keyevent@0__:*")
        listener.get_message(timeout=1)
        listeners.append(listener)
    move(former.execute_command("CLUSTER", "KEYSLOT", keys[0]), keys)
    time.sleep(1)
    for where, listener in zip(("former", "new"), listeners):
        events = []
        while got := listener.get_message(timeout=0.5):
            events.append(f"{got['channel'].partition(':')[2]} {got['data'].split()[-1]}")
        print(f"{name}, the {where} server says: {', '.join(events) or 'nothing'}")
        listener.close()

show("MIGRATE", migrate)
show("MIGRATESLOTS", migrate_slots)
EOF
)
verdict "$seen" "MIGRATE, the former server says: del string, del hash, del list, del stream
MIGRATE, the new server says: restore string, restore hash, restore list, restore stream
MIGRATESLOTS, the former server says: nothing
MIGRATESLOTS, the new server says: set string, expire string, hset hash, rpush list, xadd stream, xsetid stream"
