#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A sharded subscription of valkey-py's cluster client ends when its slot moves, and says that it stands.
#
# Most expect: the client that finds moved slots for every command takes its subscriptions along to the slot's new server, or
#     raises; the server tells each subscriber that its subscription has ended.
# What happens: the server's word (sunsubscribe, which nobody asked for) is passed on as the reply to an unsubscription would be. Nothing
#     is subscribed at the new server, `subscribed` remains True, and get_sharded_message() returns None for ever: what is
#     published reaches nobody.
# Version: valkey-py 6.2.0, Valkey 9.1.2, 2026-11-30. redis-py 8.1.0 subscribes at the new server, or raises MovedError.
# Where it matters: each resharding. A listener of valkey-py has to look for a message of the type sunsubscribe, and then call
#     ssubscribe().
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

valkey_cluster

echo "version: valkey-py 6.2.0, $(version valkey-9.1.2)"
echo "behaviour: a subscriber of a channel in a cluster of two, before and after the channel's slot moves to the other server"
seen=$(python - "${ports[@]}" <<'EOF'
import sys, time
import valkey
from valkey.cluster import ClusterNode, ValkeyCluster

ports = [int(port) for port in sys.argv[1:]]
first, second = (valkey.Valkey(port=port, decode_responses=True) for port in ports)

client = ValkeyCluster(startup_nodes=[ClusterNode("127.0.0.1", ports[0])], decode_responses=True)
subscriber = client.pubsub()
subscriber.ssubscribe("news")

def hears() -> str:
    """What the subscriber gets in two seconds."""
    heard, end = [], time.monotonic() + 2
    while time.monotonic() < end:
        if got := subscriber.get_sharded_message(timeout=0.2):
            heard.append(f"{got['type']} {got['data']}")
    return ", ".join(heard) or "nothing"

def published(message: str) -> str:
    return f"received by {client.spublish('news', message)}, the subscriber gets {hears()}"

print(f"subscribed: {hears()}; published: {published('one')}")
slot = client.keyslot("news")
receiver = second.execute_command("CLUSTER", "MYID")
for server in (second, first):
    server.execute_command("CLUSTER", "SETSLOT", slot, "NODE", receiver)
print(f"the slot has moved: {hears()}; published: {published('two')}; subscribed is {subscriber.subscribed}")
EOF
)
verdict "$seen" "subscribed: ssubscribe 1; published: received by 1, the subscriber gets smessage one
the slot has moved: sunsubscribe 0; published: received by 0, the subscriber gets nothing; subscribed is True"
