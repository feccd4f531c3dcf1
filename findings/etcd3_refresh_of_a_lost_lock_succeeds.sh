#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# With python-etcd3 the refresh of a lock that one has lost returns as if it were held.
#
# Most expect: Lock.refresh() and Lease.refresh() raise, or return something false, when the lease has expired; the loop
#     "refresh every second, and step down when that fails" is safe.
# What happens: etcd answers a keep-alive of a lease that is gone with a response whose TTL is 0, and the client hands
#     it on in a list, which is true as ever. Nothing is raised, even while another client holds the lock.
# Version: python-etcd3 0.12.0 (its newest) against etcd 3.5.1, 2026-11-28; etcd 3.4.23 answers alike.
# Where it matters: leaders that were paused for longer than their lease go on as leaders beside the new one. Look at
#     the TTL in each response, or at is_acquired().
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

etcd_and_client
start etcd-3.5.1 "$port"

echo "version: python-etcd3 0.12.0, $(version etcd-3.5.1)"
echo "behaviour: a lock expires, another client takes it, and the first one's refresh() tells nothing of it"
seen=$(python - "$port" <<'EOF'
import sys, time
import etcd3

client = etcd3.client(port=int(sys.argv[1]))
first, second = client.lock("leader", ttl=3), client.lock("leader", ttl=60)

def refresh() -> str:
    responses = first.refresh()
    return f"refresh() returns {'a true value' if responses else 'a false value'}, TTL {'0' if not responses[0].TTL else 'above 0'}"

first.acquire()
print(f"held: {refresh()}")
while first.is_acquired():
    time.sleep(0.5)
print(f"taken by another: {second.acquire()}; {refresh()}")
EOF
)
verdict "$seen" "held: refresh() returns a true value, TTL above 0
taken by another: True; refresh() returns a true value, TTL 0"
