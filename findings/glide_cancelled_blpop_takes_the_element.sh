#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A BLPOP that was cancelled in valkey-glide goes on in the server, and takes an element that nobody gets.
#
# Most expect: `asyncio.wait_for(client.blpop(...), 1)` that times out ends the waiting. redis-py does that by closing the
#     connection. What is pushed later waits for the next BLPOP.
# What happens: only the Python future ends. All commands of a client share one connection, which stays open, so the
#     server goes on waiting for it: the next element that is pushed goes to the cancelled command and is thrown away. Until
#     then each other command of that client stands behind it, and fails by its own time-out.
# Versions: valkey-glide 2.6.0 and, for comparison, redis-py 8.1.0, with Redis 8.2.3, 2026-11-29.
# Where it matters: queues whose workers wait with a bound of their own, or are cancelled when a service ends: each
#     such end loses one job.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

redis_and_client valkey-glide==2.6.0

echo "version: valkey-glide 2.6.0, redis-py 8.1.0, $(version redis-8.2.3)"
echo "behaviour: a BLPOP of 10 s is cancelled after half a second; then the same client's GET, and an element that is pushed"
seen=$(python - "$port" <<'EOF'
import asyncio, sys
import redis
from glide import GlideClient, GlideClientConfiguration, Logger, LogLevel, NodeAddress

async def cancel(name: str, client, server: redis.Redis) -> None:
    try:
        await asyncio.wait_for(client.blpop(["queue"], 10), 0.5)
    except asyncio.TimeoutError:
        pass
    try:
        await client.get("key")
        said = "GET is answered"
    except Exception as error:
        said = f"GET raises {type(error).__name__}"
    server.rpush("queue", "job")
    await asyncio.sleep(0.5)
    print(f"{name}: {said}; the queue has {server.lrange('queue', 0, -1)}")
    server.delete("queue")

async def main(port: int) -> None:
    Logger.set_logger_config(LogLevel.OFF)
    server = redis.Redis(port=port, decode_responses=True)
    await cancel("redis-py", redis.asyncio.Redis(port=port), server)
    configuration = GlideClientConfiguration([NodeAddress("127.0.0.1", port)])
    await cancel("valkey-glide", await GlideClient.create(configuration), server)

asyncio.run(main(int(sys.argv[1])))
EOF
)
verdict "$seen" "redis-py: GET is answered; the queue has ['job']
valkey-glide: GET raises TimeoutError; the queue has []"
