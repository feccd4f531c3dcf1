# SPDX-License-Identifier: Apache-2.0
"""The memory of a member's own tables is in `used_memory`, which operators watch and `member.flush-above` limits."""

from chainredis.local_cluster.server import Server
from chainredis.transport.waiting import wait_until
from integration.conftest import StartChain
from integration.helpers import Talk, info, settled

MIB = 1024 * 1024
KEYS = 60_000


def used(server: Server) -> int:
    return int(info(server, "memory")["used_memory"])


def fill(server: Server) -> int:
    """The growth of memory, in bytes, by a number of short updates."""
    before = used(server)
    with Talk(server) as talk:
        talk.pipeline([("MEMBER.PUT", f"key:{n:08}", "v", "nobody") for n in range(KEYS)])
    return used(server) - before


def test_the_table_of_what_a_checkpoint_lacks_counts(chain: StartChain) -> None:
    """An entry shares its key and value with the keyspace and costs 72 bytes in addition."""
    plain = chain(1, member_config={"member.backlog-limit": "0"})
    keeping = chain(1, member_config={"member.backlog-limit": "0", "member.gcs-mode": "checkpoint"})
    assert fill(keeping.head) - fill(plain.head) > KEYS * 72


def test_room_for_a_long_key_goes_back(chain: StartChain) -> None:
    cluster = chain(3)
    before = [used(member) for member in cluster.members]
    with Talk(cluster.head, timeout_s=60) as talk:
        name = "k" * (20 * MIB)
        assert talk("MEMBER.PUT", name, "v") == 0
        assert talk("MEMBER.DEL", name) == 1
    settled(cluster)
    for member, least in zip(cluster.members, before, strict=True):
        wait_until(lambda member=member, least=least: used(member) < least + 10 * MIB, 20)  # type: ignore[misc]
