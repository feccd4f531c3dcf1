#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# python-etcd3's lock works until somebody else holds it.
#
# Most expect: acquire(timeout=2) of a lock that another one holds waits for two seconds and returns False.
# What happens: with the tenacity that pip installs today it raises TypeError at once. python-etcd3 asks for tenacity of
#     any version from 6.1 on, and hands it a waiting function of the old shape (attempt, delay), which newer ones call
#     with one argument; that function is needed only when the first try failed. So each test with one process passes,
#     `with client.lock(...)` too, and the lease of the failed try stays behind.
# Versions: python-etcd3 0.12.0 (its newest) with tenacity 9.2.1 against etcd 3.5.1, 2026-11-28.
# Where it matters: leader election with client.lock(): the second candidate dies instead of waiting.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

etcd_and_client
start etcd-3.5.1 "$port"

echo "version: python-etcd3 0.12.0, tenacity 9.2.1, $(version etcd-3.5.1)"
echo "behaviour: a free lock is acquired; one that is held raises TypeError instead of returning False after two seconds"
seen=$(python - "$port" <<'EOF'
import sys
import etcd3

client = etcd3.client(port=int(sys.argv[1]))
print(f"free: {client.lock('leader', ttl=60).acquire(timeout=2)}")
try:
    print(f"held: {client.lock('leader', ttl=60).acquire(timeout=2)}")
except TypeError as error:
    print(f"held: TypeError, {str(error).rpartition(') ')[2]}")
EOF
)
verdict "$seen" "free: True
held: TypeError, missing 1 required positional argument: 'delay_since_first_attempt'"
