#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A restart of etcd gives each lease its whole time to live again.
#
# Most expect: a lease of thirty seconds that its owner does not keep alive ends thirty seconds later at the latest, or
#     while etcd is down: the keys of a dead process go away within their time to live.
# What happens: what is left of a lease lives in the leader's memory only. After a restart, as after each change of
#     leader, the lease begins anew. If that happens again and again within the time to live, the keys of a dead owner
#     live for ever. (The experimental lease checkpoints are off by default.)
# Version: etcd 3.5.1 with python-etcd3 0.12.0, 2026-11-28; etcd 3.4.23 behaves alike.
# Where it matters: locks and claims of leadership in etcd, whose time to live is counted on to bound a fail-over.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

etcd_and_client

left() {
    python - "$port" "$1" <<'EOF'
import sys, time
import etcd3

client = etcd3.client(port=int(sys.argv[1]))
if sys.argv[2] == "grant":
    client.put("owner", "a process that is dead from now on", lease=client.lease(30, lease_id=7))
    time.sleep(12)
print(f"{sys.argv[2]}: {'less than 20' if client.get_lease_info(7).TTL < 20 else 'at least 28'} of 30 s are left")
EOF
}

echo "version: $(version etcd-3.5.1)"
echo "behaviour: with less than 20 s left etcd is killed and started again, and nearly 30 s are left"
start etcd-3.5.1 "$port"
before=$(left grant)
stop "$pid"
start etcd-3.5.1 "$port"
verdict "$before"$'\n'"$(left restart)" "grant: less than 20 of 30 s are left
restart: at least 28 of 30 s are left"
