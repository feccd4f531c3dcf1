# SPDX-License-Identifier: Apache-2.0
"""A member is killed and started on a disk without any room: LevelDB must write to be opened, and cannot.

A preloaded library replaces the calls that write. While the file in NO_ROOM exists, none of them writes to a file of a
checkpoint.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from chainredis.local_cluster.cluster import Cluster
from chainredis.local_cluster.process import LauncherError
from chainredis.local_cluster.server import Server
from chainredis.transport.waiting import wait_until
from integration.conftest import _examine
from integration.helpers import state
from integration.test_checkpoint import FLUSH, checkpoint, flush
from integration.test_checkpoint_failures import refusal, rewrite
from integration.test_checkpoint_restart import ALWAYS, aged, form, read_all
from preloading import NEEDS_PRELOADING, preloading

pytestmark = NEEDS_PRELOADING

SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

static int has_no_room(int fd) {
    char link[64], path[4096];
    if (access(getenv("NO_ROOM"), F_OK))
        return 0;
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof(path) - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    errno = ENOSPC;
    return strstr(path, "/checkpoint-") != NULL;
}

ssize_t write(int fd, const void *bytes, size_t count) {
    ssize_t (*real)(int, const void *, size_t) = dlsym(RTLD_NEXT, "write");
    return has_no_room(fd) ? -1 : real(fd, bytes, count);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    ssize_t (*real)(int, const struct iovec *, int) = dlsym(RTLD_NEXT, "writev");
    return has_no_room(fd) ? -1 : real(fd, parts, count);
}
"""


class Filled(Cluster):
    """Members whose checkpoints have no room from `fill` to `clear`."""

    def fill(self) -> None:
        self._sign(self.folder).touch()

    def clear(self) -> None:
        self._sign(self.folder).unlink()

    @staticmethod
    def _sign(folder: Path) -> Path:
        return folder / "no room"

    def _make_server(self, folder: Path, port: int | None, module: str, config: Mapping[str, str]) -> Server:
        words = preloading(self.folder, SOURCE, NO_ROOM=self._sign(self.folder))
        return Server(folder, port=port, modules=[module], config=config, prefix=words)


@pytest.fixture
def filled(tmp_path: Path) -> Iterator[Filled]:
    with Filled(1, folder=tmp_path, member_config=FLUSH | ALWAYS) as cluster:
        yield cluster
    _examine(cluster.servers)


def flushed(cluster: Cluster) -> dict[str, bytes | None]:
    """Keys that are in the members' checkpoints alone."""
    wanted = aged(cluster)
    checkpoint(cluster)
    flush(cluster)
    for member in cluster.members:
        rewrite(member)
    return wanted


def start_without_room(cluster: Filled, member: Server) -> None:
    cluster.fill()
    member.kill()
    member.start()
    assert "No space left on device): it serves nothing until MASTER.ADD has given it a copy" in member.log()


def test_the_last_member_waits_for_room(filled: Filled) -> None:
    member = filled.head
    wanted = flushed(filled)
    start_without_room(filled, member)
    assert state(member).applied == -1
    wait_until(lambda: "MASTER.FORM" in refusal(filled, "MASTER.ADD"), 20)
    assert "cannot read its checkpoint" in refusal(filled, "MASTER.FORM")
    filled.clear()
    member.stop()
    member.start()
    form(filled, member)
    assert read_all(filled, list(wanted)) == wanted


def test_another_member_gets_a_copy_once_there_is_room(filled: Filled) -> None:
    filled.grow()
    wanted = flushed(filled)
    victim = filled.tail
    start_without_room(filled, victim)
    wait_until(lambda: state(filled.head).role == "singleton" and state(filled.head).serving, 20)
    filled.members.remove(victim)
    with pytest.raises(LauncherError, match="No space left on device"):
        filled.add(victim)
    filled.clear()
    filled.add(victim)
    filled.remove(filled.head)
    assert read_all(filled, list(wanted)) == wanted
