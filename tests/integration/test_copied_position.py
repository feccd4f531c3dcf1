# SPDX-License-Identifier: Apache-2.0
"""Where a copy is in the chain's stream, whatever the servers' own replication offsets say."""

from chainredis.local_cluster.server import Server
from integration.conftest import StartChain
from integration.disks import ALWAYS
from integration.helpers import Talk, ask, await_repair, member_number, settled

MIB = 1 << 20
COPIES = 7  # the mistake is made when a server has been continued by its own module before the copy: every other time


def advance_offset(server: Server) -> None:
    """Let the server's replication offset be a megabyte ahead: it counts from its first replica on."""
    with Talk(server) as replica, Talk(server) as talk:
        replica.send("SYNC")
        assert talk("SET", "before", "v" * MIB) == b"OK"
        assert talk("DEL", "before") == 1


def test_copies_come_back_by_log_when_their_source_counts_from_elsewhere(chain: StartChain) -> None:
    """A new server gets the source's offset with the copy, and saves it with its data before the copy is over."""
    cluster = chain(0, commands="all", member_config=ALWAYS)
    first = cluster.spare()
    advance_offset(first)
    cluster.add(first)
    assert ask(first, "SET", "k", 1) == b"OK"
    for _ in range(COPIES):
        copy = cluster.grow()
        assert member_number(copy, "joins_by_copy") == 1
        settled(cluster)
        copy.kill()
        await_repair(cluster, copy)
        copy.start()
        cluster.add(copy)
        assert member_number(copy, "joins_by_log") == 1
        assert ask(copy, "GET", "k") == b"1"
        cluster.remove(copy)
        copy.stop()
