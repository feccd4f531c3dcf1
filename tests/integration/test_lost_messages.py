# SPDX-License-Identifier: Apache-2.0
"""Messages inside a server that do not arrive: the module's to the server, and its main thread's to the gate.

A preloaded library loses the first request of the tap, or all names of clients with replies.
"""

from collections.abc import Mapping
from pathlib import Path

import pytest
import redis

from chainredis.local_cluster.cluster import MEMBER, Cluster
from chainredis.local_cluster.server import Server
from chainredis.protocol.view import Kind
from chainredis.transport.waiting import wait_until
from integration.helpers import Talk, become_chain, state, unheld
from preloading import NEEDS_PRELOADING, preloading

pytestmark = NEEDS_PRELOADING

SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define REQUEST "*2\r\n$9\r\nCHAIN.TAP"
#define CLIENT_CLOSE 4

static int lost;

static int loses(const char *what) { return strcmp(getenv("LOSES"), what) == 0; }

ssize_t send(int fd, const void *bytes, size_t length, int flags) {
    ssize_t (*real)(int, const void *, size_t, int) = dlsym(RTLD_NEXT, "send");
    if (loses("request") && length > strlen(REQUEST) && memcmp(bytes, REQUEST, strlen(REQUEST)) == 0 && lost++ == 0)
        return length;
    return real(fd, bytes, length, flags);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
    ssize_t (*real)(int, const struct msghdr *, int) = dlsym(RTLD_NEXT, "sendmsg");
    const struct iovec *part = message->msg_iov;
    if (loses("names") && message->msg_iovlen == 1 && part->iov_len == 2 * sizeof(int64_t)
            && *(const int64_t *)part->iov_base == CLIENT_CLOSE) {
        errno = ENOBUFS;
        return -1;
    }
    return real(fd, message, flags);
}
"""


def losing(folder: Path, what: str) -> tuple[str, ...]:
    return preloading(folder, SOURCE, LOSES=what)


class LosingCluster(Cluster):
    def _make_server(self, folder: Path, port: int | None, module: str, config: Mapping[str, str]) -> Server:
        prefix = losing(self.folder, "names") if module == MEMBER else ()
        return Server(folder, port=port, modules=[module], config=config, prefix=prefix)


def test_a_tap_whose_request_is_lost_asks_again(tmp_path: Path) -> None:
    prefix = losing(tmp_path, "request")
    server = Server(tmp_path / "server", modules=[MEMBER], config={"member.commands": "all"}, prefix=prefix)
    server.start()
    try:
        become_chain(server, Kind.ALL)
        with unheld(server) as talk:
            assert talk("SET", "key", "value") == b"OK"
        wait_until(lambda: state(server).committed > 0, 20)
        assert "the server does not answer" in server.log()
    finally:
        server.stop()


def test_all_clients_are_closed_when_the_gate_cannot_be_told_which(tmp_path: Path) -> None:
    """A reply that the server has not even written when its member is removed must not be sent later."""
    with LosingCluster(2, folder=tmp_path, commands="all", master_config={"master.auto-return": "no"}) as cluster:
        tail = cluster.tail
        with Talk(cluster.head) as writer, Talk(tail) as slow, Talk(tail) as idle:
            assert writer("SET", "key", "v" * (32 << 20)) == b"OK"
            assert idle("EXISTS", "key") == 1
            slow.send("GET", "key")
            wait_until(lambda: any("omem=0" not in line for line in lines_of(tail, "cmd=get")), 20)
            cluster.remove(tail)
            with pytest.raises(redis.ConnectionError):
                idle("PING")


def lines_of(server: Server, what: str) -> list[str]:
    """The lines of CLIENT LIST about clients that have called this command last."""
    with unheld(server) as talk:
        return [line for line in talk("CLIENT", "LIST").decode().splitlines() if what in line]
