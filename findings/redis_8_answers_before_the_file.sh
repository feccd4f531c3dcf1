#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# With io-threads and appendfsync always, Redis answers writes that are not in the append-only file yet, and may lose them.
#
# Most expect: with appendfsync always a write that was answered is in the file on the disk, whatever else is set: the file
#     is written and synced before replies are sent, once in each pass of the event loop.
# What happens: with io-threads above 1, Redis 8.2 executes what its threads have read meanwhile between the write of the
#     file and the sending of replies. These writes are answered at once, and go into the file in the next pass.
# Versions: Redis 8.2.3, 2026-11-29. Not so: io-threads 1, Redis 8.0.2, Valkey 9.1.2. DEBUG AOF-FLUSH-SLEEP makes the time
#     long in which it can be seen.
# Where it matters: whoever counts on appendfsync always; modules that take the before-sleep event for the last moment
#     before the file is written.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

redis_8_2_3
packages redis==8.1.0

echo "version: $(version redis-8.2.3)"
echo "behaviour: with appendfsync always, the server is killed when one of several SETs was answered, and started again"
seen=$(for threads in 1 3; do
    port=$(free_port)
    settings=(--appendonly yes --appendfsync always --io-threads "$threads" --enable-debug-command yes)
    start redis-8.2.3 "$port" "${settings[@]}"
    python - "$port" "$pid" "$tmp/$port-answered" <<'EOF'
import os, select, signal, socket, sys, time

def connect():
    return socket.create_connection(("127.0.0.1", int(sys.argv[1])))

def ask(connection, command):
    connection.sendall(command + b"\r\n")
    return connection.recv(100)

first, *others = (connect() for _ in range(12))
ask(first, b"CLIENT TRACKING ON")           # the main thread reads from this client itself
for other in others:
    ask(other, b"PING")
ask(first, b"DEBUG AOF-FLUSH-SLEEP 2000000")    # microseconds before each write of the file
first.sendall(b"SET first 1\r\n")
for number, other in enumerate(others):
    time.sleep(0.02)
    other.sendall(b"SET other:%d 1\r\n" % number)
answered = select.select(others, [], [])[0]
os.kill(int(sys.argv[2]), signal.SIGKILL)
with open(sys.argv[3], "w") as file:
    file.writelines(f"other:{others.index(other)}\n" for other in answered)
EOF
    stop "$pid"
    start redis-8.2.3 "$port" "${settings[@]}"
    python - "$port" "$tmp/$port-answered" "$threads" <<'EOF'
import sys
import redis

client = redis.Redis(port=int(sys.argv[1]))
lost = [key for key in open(sys.argv[2]).read().split() if not client.exists(key)]
print(f"io-threads {sys.argv[3]}: {'lost' if lost else 'nothing lost'} of what was answered")
EOF
    stop "$pid"
done)
verdict "$seen" "io-threads 1: nothing lost of what was answered
io-threads 3: lost of what was answered"
