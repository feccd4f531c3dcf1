# SPDX-License-Identifier: Apache-2.0
"""The master as a Sentinel: replies and events as Redis's own Sentinel forms them."""

from dataclasses import replace
from typing import Any

import pytest
from redis.sentinel import Sentinel

from chainredis.coordinator.sentinel import Answer, NoQuorum, OtherMaster, Sight, answer, events, info
from chainredis.protocol.errors import CommandError
from chainredis.protocol.member_record import MemberStatus
from chainredis.protocol.view import Endpoint
from unit.stage import A, B, C, member

D = replace(member(3), host="db.example")
OTHER = OtherMaster(Endpoint("10.0.0.9", 6370), "9" * 40)
SIGHT = Sight(
    "mymaster", "f" * 40, 7, (A, B, C), down_after_ms=15000, others=(OTHER,),
    statuses={A.run_id: MemberStatus("alive", 12, -1, "held", 41)},
)  # fmt: skip


def ask(sight: Sight, *words: str) -> Answer:
    return answer(sight, [word.encode() for word in words])


def test_the_head_is_found_by_the_chains_name() -> None:
    assert ask(SIGHT, "get-master-addr-by-name", "mymaster") == ["h", "7000"]
    assert ask(SIGHT, "GET-MASTER-ADDR-BY-NAME", "other") is None
    assert ask(replace(SIGHT, members=()), "GET-MASTER-ADDR-BY-NAME", "mymaster") is None


@pytest.mark.parametrize("word", ["MASTER", "REPLICAS", "SLAVES", "SENTINELS", "CKQUORUM"])
@pytest.mark.parametrize(("sight", "name"), [(SIGHT, "other"), (replace(SIGHT, members=()), "mymaster")])
def test_an_unknown_name_gets_the_error_of_a_sentinel(sight: Sight, word: str, name: str) -> None:
    with pytest.raises(CommandError, match=r"^ERR No such master with that name$"):
        ask(sight, word, name)


def test_the_head_has_the_fields_of_a_sentinels_master_in_their_order() -> None:
    head = ask(SIGHT, "MASTER", "mymaster")
    assert isinstance(head, dict)
    assert list(head) == [
        "name", "ip", "port", "runid", "flags", "link-pending-commands", "link-refcount", "last-ping-sent",
        "last-ok-ping-reply", "last-ping-reply", "down-after-milliseconds", "info-refresh", "role-reported",
        "role-reported-time", "config-epoch", "num-slaves", "num-other-sentinels", "quorum", "failover-timeout",
        "parallel-syncs",
    ]  # fmt: skip
    who = [head[name] for name in ("name", "ip", "port", "runid", "flags")]
    assert who == ["mymaster", "h", "7000", A.run_id, "master"]
    assert (head["num-slaves"], head["num-other-sentinels"], head["config-epoch"]) == ("2", "1", "7")
    assert head["last-ok-ping-reply"] == "12"
    assert ask(SIGHT, "MASTERS") == [head]
    assert ask(replace(SIGHT, members=()), "MASTERS") == []


def test_replicas_are_all_but_the_head_with_those_that_fell() -> None:
    fallen = replace(SIGHT, fallen=(D, replace(B, run_id="b" * 40)))  # B is back as another process
    replicas = ask(fallen, "REPLICAS", "mymaster")
    assert isinstance(replicas, list)
    shown = [(each["name"], each["flags"], each["master-link-status"]) for each in replicas if isinstance(each, dict)]
    assert shown == [
        ("h:7001", "slave", "ok"), ("h:7002", "slave", "ok"), ("db.example:7003", "s_down,slave,disconnected", "err"),
    ]  # fmt: skip
    assert ask(fallen, "SLAVES", "mymaster") == replicas


@pytest.mark.parametrize("word", ["dead", "restarted"])
def test_a_dead_head_is_down_and_redis_py_does_not_take_it(word: str) -> None:
    without_head = replace(SIGHT, statuses={A.run_id: MemberStatus(word, 40, -1, "ended")})
    down = ask(without_head, "MASTER", "mymaster")
    assert isinstance(down, dict)
    assert (down["flags"], down["s-down-time"], down["o-down-time"]) == ("s_down,o_down,master", "40", "40")
    for sight, is_taken in ((SIGHT, True), (without_head, False)):
        fields = ask(sight, "MASTER", "mymaster")
        assert isinstance(fields, dict)
        flags = set(str(fields["flags"]).split(","))
        state = {"is_master": "master" in flags, "is_sdown": "s_down" in flags, "is_odown": "o_down" in flags}
        client: Any = Sentinel([])  # type: ignore[no-untyped-call]
        found = client.check_master_state({**state, "num-other-sentinels": 1}, "mymaster")
        assert found is is_taken


def test_the_other_masters_are_the_other_sentinels() -> None:
    others = ask(SIGHT, "SENTINELS", "mymaster")
    assert isinstance(others, list) and len(others) == 1
    other = others[0]
    assert [other[name] for name in ("name", "ip", "port", "runid", "flags")] == [
        "9" * 40, "10.0.0.9", "6370", "9" * 40, "sentinel",
    ]  # fmt: skip


def test_a_master_that_can_change_nothing_has_no_quorum() -> None:
    said = "OK 2 usable Sentinels. Quorum and failover authorization can be reached"
    assert ask(SIGHT, "CKQUORUM", "mymaster") == said
    with pytest.raises(NoQuorum, match=r"^NOQUORUM 2 usable Sentinels\. etcd is away"):
        ask(replace(SIGHT, trouble="etcd is away"), "CKQUORUM", "mymaster")


def test_words_that_are_no_subcommand_get_an_error() -> None:
    with pytest.raises(CommandError, match="unknown subcommand"):
        ask(SIGHT, "FAILOVER", "mymaster")
    assert ask(SIGHT, "MYID") == b"f" * 40
    assert "SENTINEL" in str(ask(SIGHT, "HELP"))


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ({}, {}, []),
        ({}, {"members": (A, B, C, D)}, [("+slave", "slave db.example:7003 db.example 7003 @ mymaster h 7000")]),
        ({}, {"members": (A, B)}, []),
        ({}, {"members": (A, B), "fallen": (C,)}, [("+sdown", "slave h:7002 h 7002 @ mymaster h 7000")]),
        (
            {},
            {"members": (B, C), "fallen": (A,)},
            [
                ("+sdown", "master mymaster h 7000"),
                ("+switch-master", "mymaster h 7000 h 7001"),
                ("+slave", "slave h:7002 h 7002 @ mymaster h 7001"),
            ],
        ),
        ({}, {"members": (B,)}, [("+switch-master", "mymaster h 7000 h 7001")]),
        (
            {"members": (B, C), "fallen": (A,)},
            {"members": (B, C, replace(A, run_id="a" * 40)), "fallen": ()},
            [("-sdown", "slave h:7000 h 7000 @ mymaster h 7001")],
        ),
        ({}, {"members": (replace(A, run_id="a" * 40), B, C)}, [("+reboot", "master mymaster h 7000")]),
    ],
)
def test_events_are_those_of_a_sentinel(
    before: dict[str, tuple[object, ...]], after: dict[str, tuple[object, ...]], said: list[tuple[str, str]]
) -> None:
    assert list(events(replace(SIGHT, **before), replace(SIGHT, **after))) == said  # type: ignore[arg-type]


def test_info_has_the_line_of_the_chain() -> None:
    assert info(SIGHT)["master0"] == "name=mymaster,status=ok,address=h:7000,slaves=2,sentinels=2"
    assert info(replace(SIGHT, members=()))["sentinel_masters"] == 0
