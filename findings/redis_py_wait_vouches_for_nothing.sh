#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# wait(1) of redis-py says that a replica has the write, while no replica has it.
#
# Most expect: client.set() and then client.wait(1, …) of one client: the answer counts the replicas that have what was set.
# What happens: WAIT counts for the connection on which it comes. A client takes a connection of its pool for each command: when another
#     thread has got the one that wrote, or it was lost and made anew, WAIT comes on a connection that has written nothing, and
#     every replica that is connected has that. It answers 1 at once.
# Version: redis-py 8.1.0, Redis 8.2.3, 2026-11-30. WAITAOF asks for the connection's writes, too.
# Where it matters: each write that is to survive a fail-over, in a program with threads or tasks. A pipeline with both, or
#     single_connection_client=True without a reconnect between, asks for what was written.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

redis_8_2_3
packages redis==8.1.0
start_pair redis-8.2.3

echo "version: redis-py 8.1.0, $(version redis-8.2.3)"
echo "behaviour: client.set() and client.wait(1, 500) while the replica is stopped, in four circumstances"
seen=$(python - "$primary" "$replica" <<'EOF'
import os, signal, sys, threading, time
import redis

primary, replica = map(int, sys.argv[1:])
operator = redis.Redis(port=primary, decode_responses=True)
while not operator.info("replication").get("slave0", {}).get("state") == "online":
    time.sleep(0.05)
stopped = redis.Redis(port=replica).info("server")["process_id"]

def show(name: str, write_and_wait) -> None:
    client = redis.Redis(port=primary)
    operator.wait(1, 0)
    os.kill(stopped, signal.SIGSTOP)
    print(f"{name}: wait(1) answers {write_and_wait(client)}, and no replica has the write")
    os.kill(stopped, signal.SIGCONT)

def alone(client: redis.Redis) -> int:
    client.set("key", "value")
    return client.wait(1, 500)

def beside_a_thread(client: redis.Redis) -> int:
    client.set("key", "value")
    thread = threading.Thread(target=client.blpop, args=("queue", 2))
    thread.start()
    while not operator.info("clients")["blocked_clients"]:
        time.sleep(0.01)
    answer = client.wait(1, 500)
    thread.join()
    return answer

def reconnected(client: redis.Redis) -> int:
    client.set("key", "value")
    operator.client_kill_filter(_type="normal", skipme=True)
    return client.wait(1, 500)

def pipeline(client: redis.Redis) -> int:
    return client.pipeline(transaction=False).set("key", "value").wait(1, 500).execute()[1]

show("alone", alone)
show("while another thread waits for a queue", beside_a_thread)
show("when the connection was lost in between", reconnected)
show("in one pipeline", pipeline)
EOF
)
verdict "$seen" "alone: wait(1) answers 0, and no replica has the write
while another thread waits for a queue: wait(1) answers 1, and no replica has the write
when the connection was lost in between: wait(1) answers 1, and no replica has the write
in one pipeline: wait(1) answers 0, and no replica has the write"
