# SPDX-License-Identifier: Apache-2.0
"""Views that only some members get, and views that arrive while a message is being sent."""

from dataclasses import replace

from chainredis.local_cluster.cluster import Cluster
from chainredis.transport.waiting import wait_until
from integration.conftest import StartChain
from integration.helpers import (
    PATIENT,
    Talk,
    ask,
    assert_serves,
    member_number,
    paused,
    proven,
    settled,
    state,
    stored_view,
)

MIB = 1024 * 1024


def tell_next_view(cluster: Cluster, *places: int) -> int:
    """Send a view of the next epoch to the members at these places, with the secret proved; returns the epoch."""
    view = stored_view(cluster)
    following = replace(view, epoch=state(cluster.head).epoch + 1)
    for place in places:
        link = proven(cluster.members[place], view)
        link.adopt(following)
        link.close()
    return following.epoch


def test_a_view_change_amid_a_long_value(chain: StartChain) -> None:
    """The head's messages of the new view come after the value that it is sending, not inside it."""
    cluster = chain(3, member_config={"member.write-timeout": "60000"}, master_config=PATIENT)
    value = bytes(range(256)) * (MIB // 4)
    with Talk(cluster.head, 60) as writer:
        with paused(cluster.members[1]):
            writer.send("MEMBER.PUT", "long", value)
            wait_until(lambda: member_number(cluster.head, "uncommitted_bytes") > len(value), 30)
            epoch = tell_next_view(cluster, 0)
        assert writer.receive() == 0
    assert [state(member).epoch for member in cluster.members] == [epoch] * 3
    assert ask(cluster.tail, "READ", "long") == value
    assert [member_number(member, "link_failures") for member in cluster.members] == [0, 0, 0]
    assert_serves(cluster)


def test_a_view_that_one_member_hears_reaches_them_all(chain: StartChain) -> None:
    """A member whose message is refused as old gets the view from its neighbours (rule 2), whichever has it first."""
    cluster = chain(3)
    for place in (1, 2, 0):
        epoch = tell_next_view(cluster, place)
        assert_serves(cluster)
        wait_until(lambda epoch=epoch: all(state(each).epoch == epoch for each in cluster.members), 10)  # type: ignore[misc]
    settled(cluster)
