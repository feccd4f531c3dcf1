# SPDX-License-Identifier: Apache-2.0
"""The claim of a disk that no update left the member before it was on disk. A claim that is untrue must be voided."""

import pytest

from chainredis.transport.waiting import wait_until
from integration.conftest import StartChain
from integration.disks import ALWAYS, EVERY_SECOND, restart, without_master
from integration.helpers import Talk, ask, assert_serves, info, member_number, state


@pytest.mark.parametrize("weaker", [
    ("appendfsync", "everysec"), ("appendonly", "no"), ("no-appendfsync-on-rewrite", "yes"),
])  # fmt: skip
def test_a_weaker_setting_voids_the_claim_before_it_is_answered(chain: StartChain, weaker: tuple[str, str]) -> None:
    """The identity file voids the claim, because the append-only file may still contain it."""
    cluster = without_master(chain(2, member_config=ALWAYS))
    member = cluster.tail
    assert ask(cluster.head, "MEMBER.PUT", "k", "v") == 0
    assert state(member).record_durable
    assert ask(member, "CONFIG", "SET", *weaker) == b"OK"
    assert "void 2" in (member.folder / f"chain.member.{member.port}").read_text()
    assert not state(member).record_durable and member_number(member, "waits_for_disk") == 0
    assert ask(cluster.head, "MEMBER.PUT", "k", "w") == 1
    restart(member)
    assert not state(member).record_durable
    assert state(member).record_epoch == 2


def test_a_claim_of_a_former_process_is_void_when_this_one_serves(chain: StartChain) -> None:
    """The setting is weakened before the cold start. After another restart the member must not count as durable."""
    cluster = without_master(chain(1, member_config=ALWAYS))
    member = cluster.head
    assert ask(member, "MEMBER.PUT", "k", "v") == 0
    restart(member)
    assert ask(member, "CONFIG", "SET", "appendonly", "no") == b"OK"
    assert state(member).record_durable
    cluster.master.start()
    wait_until(lambda: state(member).serving, 30)
    cluster.master.kill()
    assert ask(member, "MEMBER.PUT", "k", "w") == 1
    restart(member)
    assert not state(member).record_durable
    cluster.master.start()
    wait_until(lambda: "waiting for" in info(cluster.master, "master")["master_waits_for"], 20)
    assert state(member).role == "removed"


def test_what_cannot_be_made_void_holds_everything_back(chain: StartChain) -> None:
    member = without_master(chain(1, member_config=ALWAYS)).head
    marker = member.folder / f"chain.member.{member.port}"
    in_the_way = marker.with_name(f"{marker.name}.new")
    in_the_way.mkdir()
    assert ask(member, "CONFIG", "SET", "appendfsync", "everysec") == b"OK"
    with Talk(member) as talk:
        talk.send("MEMBER.PUT", "k", "v")
        assert talk.is_silent() and state(member).record_durable
        in_the_way.rmdir()
        assert talk.receive() == 0
    assert "void 1" in marker.read_text() and not state(member).record_durable


def test_what_a_former_process_claimed_and_cannot_be_made_void_holds_everything_back(chain: StartChain) -> None:
    cluster = without_master(chain(1, member_config=ALWAYS))
    member = cluster.head
    restart(member)
    assert ask(member, "CONFIG", "SET", "appendonly", "no") == b"OK"
    in_the_way = member.folder / f"chain.member.{member.port}.new"
    in_the_way.mkdir()
    cluster.master.start()
    wait_until(lambda: state(member).serving, 30)
    with Talk(member) as talk:
        talk.send("MEMBER.PUT", "k", "v")
        assert talk.is_silent()
        in_the_way.rmdir()
        assert talk.receive() == 0
    restart(member)
    assert not state(member).record_durable


def test_an_rdb_claims_nothing(chain: StartChain) -> None:
    """An RDB does not tell which updates came after it."""
    member = without_master(chain(1, member_config=ALWAYS)).head
    assert ask(member, "MEMBER.PUT", "k", "v") == 0
    wait_until(lambda: ask(member, "SAVE") == b"OK", 30)
    assert ask(member, "MEMBER.PUT", "k", "w") == 1
    member.kill()
    member.config["appendonly"] = "no"
    member.start()
    assert (state(member).applied, state(member).record_epoch, state(member).record_durable) == (0, 1, False)
    member.kill()
    member.config["appendonly"] = "yes"
    member.start()
    assert (state(member).applied, state(member).record_epoch, state(member).record_durable) == (1, 1, True)


def test_a_stronger_setting_is_claimed_from_the_next_view_on(chain: StartChain) -> None:
    cluster = chain(2, member_config=EVERY_SECOND)
    member = cluster.head
    assert ask(member, "CONFIG", "SET", "appendfsync", "always") == b"OK"
    assert member_number(member, "waits_for_disk") == 1
    assert not state(member).record_durable
    cluster.grow()
    assert state(member).record_durable
    assert [state(other).record_durable for other in cluster.members[1:]] == [False, False]
    assert_serves(cluster)
