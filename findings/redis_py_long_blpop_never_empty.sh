#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A BLPOP of seven seconds takes a minute and never says that the list stayed empty.
#
# Most expect: blpop(key, timeout=7) returns None after seven seconds without an element, as it always did; the client
#     knows that the command blocks.
# What happens: since redis-py 8 a socket waits five seconds for a reply by default, blocking commands not excepted, and
#     a time-out is repeated ten times. So each try is cut short, the server sees eleven BLPOPs (each of them begins to
#     wait at the end of the queue of waiters), and after a minute a TimeoutError is raised. With timeout=4 all is as it
#     was, so a test with a short wait finds nothing. XREAD BLOCK and WAIT with more than five seconds behave alike.
# Version: redis-py 8.1.0 against Redis 8.2.3, 2026-11-28.
# Where it matters: workers that take an empty poll as the moment for their housekeeping; WAIT before an answer is
#     given.
#
# To be done within seconds, the script gives the client one retry instead of ten.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

redis_and_client

echo "version: redis-py 8.1.0; $(version redis-8.2.3)"
echo "behaviour: a BLPOP that waits longer than five seconds is sent again and ends in an exception instead of None"
seen=$(python - "$port" <<'EOF'
import sys, time
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

server = int(sys.argv[1])
default = redis.Redis(port=server)
print(f"by default: {default.get_retry()._retries} retries, a socket time-out of {default.get_connection_kwargs()['socket_timeout']} s")

client = redis.Redis(port=server, retry=Retry(NoBackoff(), 1))
for timeout in 4, 7:
    begun = time.monotonic()
    try:
        outcome = f"returns {client.blpop('queue', timeout=timeout)}"
    except redis.TimeoutError:
        outcome = "raises TimeoutError"
    print(f"blpop(timeout={timeout}) {outcome} after {time.monotonic() - begun:.0f} s")
EOF
)
verdict "$seen" "by default: 10 retries, a socket time-out of 5 s
blpop(timeout=4) returns None after 4 s
blpop(timeout=7) raises TimeoutError after 10 s"
