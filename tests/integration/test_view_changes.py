"""Views that arrive at awkward moments: told to some members only, and amid what is on its way between them."""

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
    """The members at these places hear of a next epoch, from something that knows the secret; returns that epoch."""
    view = stored_view(cluster)
    following = replace(view, epoch=state(cluster.head).epoch + 1)
    for place in places:
        link = proven(cluster.members[place], view)
        link.adopt(following)
        link.close()
    return following.epoch


def test_a_view_change_amid_a_long_value(chain: StartChain) -> None:
    """What the head says of the new view comes after the value that it is sending, not in the midst of it."""
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
    """Who is refused for being behind is given the view, by its neighbours (rule 2), whoever hears of it first."""
    cluster = chain(3)
    for place in (1, 2, 0):
        epoch = tell_next_view(cluster, place)
        assert_serves(cluster)
        wait_until(lambda epoch=epoch: all(state(each).epoch == epoch for each in cluster.members), 10)  # type: ignore[misc]
    settled(cluster)
