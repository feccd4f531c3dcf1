#!/usr/bin/env bash
# A transaction that was carried out raises WatchError, and the loop for that error carries it out again.
#
# Most expect: WatchError means that somebody else changed a watched key and that nothing was done; hence the usual loop
#     "on WatchError read again and try again", which redis-py has as Redis.transaction(). Optimistic locking is the
#     very means against doing a thing twice.
# What happens: when the connection breaks after EXEC was carried out and before its reply, redis-py does not say that
#     the outcome is unknown. A pipeline that had watched raises WatchError, although the only one who wrote the key is
#     the transaction itself; and transaction() repeats it.
# Version: redis-py 8.1.0 against Redis 8.2.3, 2026-11-28.
# Where it matters: balances, sequence numbers and ids that are guarded by WATCH, at each fail-over or restart of a
#     proxy.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

redis_and_client

echo "version: redis-py 8.1.0; $(version redis-8.2.3)"
echo "behaviour: nobody else writes, one reply to EXEC is lost: WatchError, and transaction() pays twice"
seen=$(python - "$port" <<'EOF'
import socket, sys, threading
import redis

server = int(sys.argv[1])
direct = redis.Redis(port=server, decode_responses=True)

def serve(client: socket.socket, losses: list[str]) -> None:
    """Passes commands and replies on by turns; the reply to an EXEC is lost, with the connection, once."""
    with client, socket.create_connection(("127.0.0.1", server)) as upstream:
        while request := client.recv(65536):
            upstream.sendall(request)
            reply = upstream.recv(65536)
            while b"EXEC" in request and b"*1\r\n" not in reply:    # of MULTI, and of what is queued
                reply += upstream.recv(65536)
            if b"EXEC" in request and not losses:
                losses.append("reply")
                return
            client.sendall(reply)

def client() -> redis.Redis:
    listener, losses = socket.create_server(("127.0.0.1", 0)), []
    def accept() -> None:
        while True:
            threading.Thread(target=serve, args=(listener.accept()[0], losses), daemon=True).start()
    threading.Thread(target=accept, daemon=True).start()
    return redis.Redis(port=listener.getsockname()[1], decode_responses=True)

def pay(pipeline: redis.client.Pipeline) -> None:
    balance = int(pipeline.get("balance"))
    pipeline.multi()
    pipeline.set("balance", balance - 10)

direct.set("balance", 100)
with client().pipeline() as pipeline:
    pipeline.watch("balance")
    pay(pipeline)
    try:
        outcome = f"returns {pipeline.execute()}"
    except redis.WatchError:
        outcome = "raises WatchError"
print(f"pipeline: execute() {outcome}, the balance went from 100 to {direct.get('balance')}")

direct.set("balance", 100)
print(f"transaction() returns {client().transaction(pay, 'balance')}, the balance went from 100 to {direct.get('balance')}")
EOF
)
verdict "$seen" "pipeline: execute() raises WatchError, the balance went from 100 to 90
transaction() returns [True], the balance went from 100 to 80"
