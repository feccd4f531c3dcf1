#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Everybody holds the same lock of cashews at once, while its Redis is away.
#
# Most expect: what needs the lock fails, or waits, when the server that keeps the lock cannot be reached. A cache may be silent
#     about a lost server, since its user computes the value anew; a lock may not.
# What happens: cache.lock() enters the block without an error and without a lock, however many others are inside. The
#     decorators that run one computation at a time do the same. With suppress=False in setup(), it raises.
# Version: cashews 7.6.0, 2026-11-30.
# Where it matters: what the lock is for (a payment, a job that runs once) is done by each at the moment of a fail-over.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

redis_and_client cashews==7.6.0

cat >"$tmp/inside.py" <<'EOF'
import asyncio, logging, sys
from cashews import Cache

logging.disable()

async def most_inside(**options: bool) -> str:
    """How many of three tasks are within one lock's block at the same time."""
    cache, inside, most = Cache(), 0, 0
    cache.setup(f"redis://127.0.0.1:{sys.argv[1]}", **options)

    async def work() -> None:
        nonlocal inside, most
        async with cache.lock("key", expire="10s"):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0.5)
            inside -= 1

    outcomes = await asyncio.gather(*(work() for _ in range(3)), return_exceptions=True)
    errors = {type(error).__name__ for error in outcomes if error}
    await cache.close()
    return f"{most} inside at once, {'raises ' + ', '.join(errors) if errors else 'no error'}"

print(f"{sys.argv[2]}: {asyncio.run(most_inside())}; with suppress=False: {asyncio.run(most_inside(suppress=False))}")
EOF

echo "version: cashews 7.6.0, $(version redis-8.2.3)"
echo "behaviour: three tasks take one lock of cashews, first with a server and then with none"
seen=$(
    python "$tmp/inside.py" "$port" "with a server"
    stop "$pid"
    python "$tmp/inside.py" "$port" "without one"
)
verdict "$seen" "with a server: 1 inside at once, no error; with suppress=False: 1 inside at once, no error
without one: 3 inside at once, no error; with suppress=False: 0 inside at once, raises CacheBackendInteractionError"
