# SPDX-License-Identifier: Apache-2.0
"""A member's file cannot grow, as on a full disk: the member must not keep all updates in memory (rule 9)."""

import resource
from collections.abc import Mapping
from pathlib import Path

from chainredis.local_cluster.cluster import Cluster
from chainredis.local_cluster.server import Server
from chainredis.transport.waiting import wait_until
from integration.disks import EVERY_SECOND
from integration.helpers import Talk, ask, assert_serves, info, settled

LIMIT = 1 << 20
VALUE = "x" * 10_000


class LimitedCluster(Cluster):
    """A cluster whose servers get an error at a limit of their files' size, and not a signal that ends them."""

    def _make_server(self, folder: Path, port: int | None, module: str, config: Mapping[str, str]) -> Server:
        prefix = ["sh", "-c", 'trap "" XFSZ; exec "$@"', "sh"]
        return Server(folder, port=port, modules=[module], config=config, prefix=prefix)


def limit_files(server: Server, limit_bytes: int) -> None:
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (limit_bytes, resource.RLIM_INFINITY))


def buffered(server: Server) -> int:
    return int(info(server, "persistence")["aof_buffer_length"])


def put(cluster: Cluster, count: int) -> list[object]:
    with Talk(cluster.head) as talk:
        return talk.pipeline([("MEMBER.PUT", "key", VALUE, "me")] * count)


def test_a_tail_whose_disk_is_full_holds_everything_back(tmp_path: Path) -> None:
    """No member keeps more than the head's log permits, and writes continue when there is room again."""
    config = {**EVERY_SECOND, "member.log-limit": str(LIMIT), "member.write-timeout": "300"}
    with LimitedCluster(2, folder=tmp_path, member_config=config) as cluster:
        limit_files(cluster.tail, 100_000)
        put(cluster, 20)
        wait_until(lambda: info(cluster.tail, "persistence")["aof_last_write_status"] == "err", 10)
        wait_until(lambda: isinstance(put(cluster, 20)[-1], str), 30)
        before = buffered(cluster.tail)
        replies = put(cluster, 3) + put(cluster, 3)
        assert all(str(reply).startswith("ERR not written: held back") for reply in replies)
        assert buffered(cluster.tail) == before < 10 * LIMIT
        limit_files(cluster.tail, resource.RLIM_INFINITY)
        wait_until(lambda: buffered(cluster.tail) == 0, 10)
        settled(cluster)
        assert_serves(cluster)


def test_without_the_member_whose_disk_is_full_the_chain_goes_on(tmp_path: Path) -> None:
    with LimitedCluster(3, folder=tmp_path, member_config={**EVERY_SECOND, "member.write-timeout": "300"}) as cluster:
        middle = cluster.members[1]
        limit_files(middle, 100_000)
        put(cluster, 20)
        wait_until(lambda: str(ask(cluster.head, "MEMBER.PUT", "key", "value")).startswith("UNKNOWN "), 30)
        cluster.remove(middle)
        assert_serves(cluster)
