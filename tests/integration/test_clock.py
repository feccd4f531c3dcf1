# SPDX-License-Identifier: Apache-2.0
"""The wall clock is set back, as by time servers and resumed virtual machines: then Redis's timers stop."""

import os
from collections.abc import Mapping
from pathlib import Path
from time import monotonic

from chainredis.local_cluster.cluster import Cluster
from chainredis.local_cluster.server import Server
from chainredis.transport.waiting import wait_until
from integration.helpers import ask, assert_serves, await_repair, paused
from preloading import preloading

# Redis uses no other function for the time of day.
WALL_CLOCK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/time.h>
#include <unistd.h>

int gettimeofday(struct timeval *now, void *zone)
{
    int (*original)(struct timeval *, void *) = dlsym(RTLD_NEXT, "gettimeofday");
    int before = errno, result = original(now, zone);
    if (access(getenv("SET_BACK"), F_OK) == 0)
        now->tv_sec -= 3600;
    errno = before;
    return result;
}
"""


class ClockedCluster(Cluster):
    """A cluster whose clocks are set back by an hour once the file `set_back` exists."""

    @property
    def set_back(self) -> Path:
        return self.folder / "set-back"

    def _make_server(self, folder: Path, port: int | None, module: str, config: Mapping[str, str]) -> Server:
        prefix = preloading(self.folder, WALL_CLOCK, SET_BACK=self.set_back)
        if options := os.environ.get("ASAN_OPTIONS"):
            prefix += (f"ASAN_OPTIONS={options}:verify_asan_link_order=0",)  # ASan's library goes first
        return Server(folder, port=port, modules=[module], config=config, prefix=prefix)


def test_timeouts_and_repairs_go_on_when_the_wall_clock_is_set_back(tmp_path: Path) -> None:
    with ClockedCluster(3, folder=tmp_path, member_config={"member.write-timeout": "300"}) as cluster:
        before = int(ask(cluster.head, "TIME")[0])
        cluster.set_back.touch()
        # Valkey 9.1 counts on by itself for the rest of a millisecond.
        wait_until(lambda: int(ask(cluster.head, "TIME")[0]) < before - 3000, 10)
        with paused(cluster.tail):
            began = monotonic()
            assert ask(cluster.head, "MEMBER.PUT", "key", "value").startswith("UNKNOWN ")
            assert monotonic() - began < 10
        middle = cluster.members[1]
        middle.kill()
        await_repair(cluster, middle)
        assert_serves(cluster)
