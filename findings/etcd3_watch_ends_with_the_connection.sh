#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A watch of python-etcd3 hears nothing more after etcd was away, while the same client goes on working.
#
# Most expect: a watch with a callback goes on when the server is back, from the revision it had reached, as with etcd's
#     own Go client; or its end is raised somewhere.
# What happens: at the first break the callback is called once with a gRPC error in place of a response, and the watch
#     is forgotten. A callback that reads response.events raises AttributeError then, which the client only logs. get()
#     and put() of the same client connect again by themselves, so all looks well.
# Version: python-etcd3 0.12.0 (its newest) against etcd 3.5.1, 2026-11-28.
# Where it matters: a coordinator that follows its peers by a watch is blind after the first restart of etcd. One has to
#     set the watch anew at each error, from the last revision seen.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

etcd_and_client
start etcd-3.5.1 "$port"

echo "version: python-etcd3 0.12.0, $(version etcd-3.5.1)"
echo "behaviour: the second event never comes, though the client that watches wrote it itself"
mkfifo "$tmp/go"
python - "$port" "$tmp/go" >"$tmp/seen" 2>"$tmp/trouble" <<'EOF' &
import sys, time
import etcd3, grpc

calls = []
def on_event(response: object) -> None:
    calls.append("a gRPC error" if isinstance(response, grpc.RpcError) else [event.value.decode() for event in response.events])

client = etcd3.client(port=int(sys.argv[1]))
client.add_watch_callback("key", on_event)
client.put("key", "before")
while len(calls) < 1:
    time.sleep(0.05)
with open(sys.argv[2], "w") as go:      # etcd is killed and started again now
    go.write("restart")
open(sys.argv[2]).read()
for attempt in range(100):
    try:
        client.put("key", "after")
        break
    except etcd3.exceptions.ConnectionFailedError:
        time.sleep(0.1)
time.sleep(3)
print(f"the callback was called with: {calls}\nget() says: {client.get('key')[0].decode()}")
EOF
watcher=$!
echo "$watcher" >>"$tmp/pids"
cat "$tmp/go" >/dev/null
stop "$pid"
start etcd-3.5.1 "$port"
echo "back" >"$tmp/go"
wait "$watcher" || cat "$tmp/trouble" >&2
verdict "$(cat "$tmp/seen")" "the callback was called with: [['before'], 'a gRPC error']
get() says: after"
