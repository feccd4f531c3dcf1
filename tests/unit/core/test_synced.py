# SPDX-License-Identifier: Apache-2.0
"""How far the files of the other members are on their disks, as the head knows it (WAITAOF)."""

from core_extension.core import KIND_ALL, NO_LIMIT, Core, Verdict

from .members import chain, view
from .test_effect_stream import commit, write


def three() -> list[Core]:
    members: list[Core] = chain("abc", kind=KIND_ALL)
    write(members[0], 100)
    commit(members)
    return members


def tell(sender: Core, receiver: Core) -> None:
    assert sender.ack_due()
    assert receiver.on_ack(sender.take_ack(), sender.run_id) == Verdict.ACCEPTED
    assert not sender.ack_due()


def test_the_head_knows_the_least_of_all_others() -> None:
    a, b, c = three()
    c.sync(99)
    tell(c, b)
    assert not b.ack_due()  # its own is not known
    b.sync(49)
    tell(b, a)
    assert a.synced_below() == 49
    b.sync(99)
    tell(b, a)
    assert a.synced_below() == 99


def test_what_was_known_is_forgotten_with_the_view() -> None:
    """A new member in between has told nothing yet."""
    a, b, c = three()
    c.sync(99)
    tell(c, b)
    b.sync(99)
    tell(b, a)
    for member in (a, b, c):
        member.adopt(view(2, "abc", kind=KIND_ALL))
    assert a.synced_below() == b.synced_below() == -1


def test_nobody_has_more_on_its_disk_than_it_was_sent() -> None:
    a, b, _ = three()
    ack = b.take_ack()
    assert a.on_ack(ack._replace(synced=NO_LIMIT - 1), "b") == Verdict.ACCEPTED
    assert a.synced_below() == 99
    assert a.on_ack(ack._replace(synced=-2), "b") == Verdict.NONSENSE
