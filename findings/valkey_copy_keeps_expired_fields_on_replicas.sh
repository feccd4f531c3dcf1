#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# COPY of a hash leaves other data on a replica of Valkey than on its primary, when a field has expired but is not removed yet.
#
# Most expect: a field that has expired is removed before, or copied with its time; either way primary and replica have the same.
# What happens: COPY on the primary leaves expired fields out, tells nobody, and is replicated as COPY. The replica, which may not
#     take anything for expired that its primary has not removed, copies them. The primary never removes what it does not have, so
#     the replica keeps them for good. If all fields have expired, the primary gets a hash without a field, which exists. Each expired
#     field waits for its removal up to a tenth of a second, and longer when many expire. Redis removes before it copies.
# Versions: Valkey 9.1.2 and Redis 8.2.3, 2026-11-29.
# Where it matters: HLEN, EXISTS and memory at replicas, and comparisons of the two. A promoted replica removes the fields, and then,
#     where all have expired, the key that existed on the former primary.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

redis_and_valkey

echo "version: $(version valkey-9.1.2), $(version redis-8.2.3)"
echo "behaviour: two hashes are copied, of which one field, or the only one, has just expired; seconds later"
seen=$(for server in valkey-9.1.2 redis-8.2.3; do
    start_pair "$server"
    python - "$server" "$primary" "$replica" <<'EOF'
import sys, time
import redis

name = sys.argv[1]
primary, replica = (redis.Redis(port=int(port), decode_responses=True) for port in sys.argv[2:])
while replica.info("replication")["master_link_status"] != "up":
    time.sleep(0.05)

def copy(*fields: str) -> str:
    """Copies a hash of these fields when the first one has expired and was not removed before. Returns the copy's name."""
    for attempt in range(1000):
        source = f"{len(fields)} {attempt}"
        primary.hset(source, mapping=dict.fromkeys(fields, "value"))
        primary.hpexpire(source, 5, fields[0])
        time.sleep(0.01)
        with primary.pipeline() as transaction:
            transaction.hlen(source).hget(source, fields[0]).copy(source, f"copy of {source}")
            length, value, _ = transaction.execute(raise_on_error=False)
        if length == len(fields) and value is None:
            return f"copy of {source}"
    sys.exit("no field was there any more when it had expired")

copies = copy("old", "new"), copy("old")
time.sleep(3)
primary.wait(1, 0)
for what, each in zip(("one of two fields", "the only field"), copies):
    states = [f"{'exists' if server.exists(each) else 'does not exist'}, fields: {server.hlen(each)}" for server in (primary, replica)]
    print(f"{name}, {what} had expired: on the primary the copy {states[0]}; on the replica it {states[1]}")
EOF
done)
verdict "$seen" "valkey-9.1.2, one of two fields had expired: on the primary the copy exists, fields: 1; on the replica it exists, fields: 2
valkey-9.1.2, the only field had expired: on the primary the copy exists, fields: 0; on the replica it exists, fields: 1
redis-8.2.3, one of two fields had expired: on the primary the copy exists, fields: 1; on the replica it exists, fields: 1
redis-8.2.3, the only field had expired: on the primary the copy does not exist, fields: 0; on the replica it does not exist, fields: 0"
