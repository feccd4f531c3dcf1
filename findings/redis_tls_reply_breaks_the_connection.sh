#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Redis closes the TLS connection of a client that pipelines requests and is slow to read the replies.
#
# Most expect: replies wait in the client's output buffer, without TLS and with it, until the client reads on.
# What happens: with TLS, pending replies of up to 64 KiB are joined for one SSL_write, which cannot send them now. When
#     further replies make it more than 64 KiB, the next attempt has the first piece alone. That is shorter, and OpenSSL
#     refuses the repetition ("bad length"). The server closes the connection. Replies that were due are lost, and the log
#     says so at level verbose only.
# Version: Redis 7.0.15 of Debian 12 with OpenSSL 3.0, 2026-11-29.
# Where it matters: pipelines of replies that begin small and go on large (PING, then KEYS, EVAL, ZRANGE).
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

command -v openssl >/dev/null || { echo "openssl is missing" >&2; exit 2; }
debian redis-tools=5:7.0.15-1~deb12u7 libjemalloc2 liblzf1
cp "$tmp/debian/usr/bin/redis-check-rdb" "$tmp/redis-7.0.15"        # the same program as redis-server
LD_LIBRARY_PATH=$(find "$tmp/debian" -name '*.so*' -exec dirname {} + | sort -u | paste -sd:)
export LD_LIBRARY_PATH
packages redis==8.1.0
openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=probe -keyout "$tmp/key" -out "$tmp/cert" 2>/dev/null
port=$(free_port)
tls_port=$(free_port)
start redis-7.0.15 "$port" --loglevel verbose --tls-port "$tls_port" --tls-auth-clients no --tls-cert-file "$tmp/cert" \
    --tls-key-file "$tmp/key" --tls-ca-cert-file "$tmp/cert"

echo "version: $(version redis-7.0.15), $(openssl version | cut -d' ' -f1-2)"
echo "behaviour: a client reads its replies when some more of them wait than one SSL_write gets"
seen=$(python - "$port" "$tls_port" <<'EOF'
import socket, ssl, sys
import redis

observer = redis.Redis(port=int(sys.argv[1]))
observer.mset({f"{number:03d} {'x' * 1000}": "" for number in range(40)})
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
ports = {"without TLS": int(sys.argv[1]), "with TLS": int(sys.argv[2])}
one_reply = len(b"+PONG\r\n*40\r\n") + 40 * len(b"$1004\r\n\r\n") + 40 * 1004

def ask(client: socket.socket) -> None:
    done = observer.info("commandstats").get("cmdstat_keys", {"calls": 0})["calls"]
    client.sendall(b"PING\r\nKEYS *\r\n")
    while observer.info("commandstats").get("cmdstat_keys", {"calls": 0})["calls"] == done:
        pass

def waits(client: socket.socket) -> bool:
    here = "%s:%d" % client.getsockname()
    return any(int(each["oll"]) for each in observer.client_list() if each["addr"] == here)

for kind, port in ports.items():
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", port))
    client = context.wrap_socket(client) if kind == "with TLS" else client
    client.settimeout(30)
    asked = 0
    while not waits(client):
        ask(client)
        asked += 1
    for _ in range(3):
        ask(client)
    wanted, got = (asked + 3) * one_reply, 0
    while got < wanted and (piece := client.recv(wanted - got)):
        got += len(piece)
    print(f"{kind}: {'all replies came' if got == wanted else 'the server has closed the connection'}")
EOF
)
seen="$seen
$(grep -o 'SSL routines::bad length' "$tmp/$port/log")"
verdict "$seen" "without TLS: all replies came
with TLS: the server has closed the connection
SSL routines::bad length"
