# SPDX-License-Identifier: Apache-2.0
"""chainredis.cli.picture: a chain on a terminal."""

import io

import pytest
from rich.console import Console

from chainredis.cli.picture import Rates, picture
from chainredis.operator.chain_status import ChainStatus, MasterStatus, MemberStatus
from chainredis.protocol.view import Endpoint

HEAD, TAIL, MASTER, STANDBY = Endpoint("a", 1), Endpoint("b", 2), Endpoint("m", 1), Endpoint("m", 2)
INFO = {"member_role": "head", "member_serving": "1", "member_kind": "all", "member_epoch": "7", "db0": "keys=3"}
LEADER = MasterStatus(MASTER, {"master_leads": "1", "master_state": "serving"})


def member(endpoint: Endpoint, applied: int, **more: str) -> MemberStatus:
    return MemberStatus(endpoint, INFO | {"member_applied": str(applied)} | more)


def shown(seen: ChainStatus, width: int = 200, **options: object) -> str:
    text = io.StringIO()
    Console(file=text, width=width).print(picture(seen, **options))  # type: ignore[arg-type]
    return text.getvalue()


def test_masters_lag_keys_and_held_replies_are_shown() -> None:
    held = {"member_gate_held_bytes": "120", "member_gate_held_clients": "2", "member_gate_oldest_held_ms": "9"}
    standby = MasterStatus(STANDBY, {"master_leads": "0", "master_state": "another master leads"})
    text = shown(ChainStatus(7, [member(HEAD, 50, **held), member(TAIL, 45)], [standby, LEADER]))
    assert "master m:1: leads, serving" in text
    assert "master m:2: stands by" in text
    assert "bytes behind" in text
    assert [line.split()[3:5] for line in text.splitlines() if line.strip().startswith("b:2")] == [["5", "3"]]
    assert "a:1 holds 120 bytes of replies to 2 clients, for up to 9 ms" in text
    assert "all is well" in text


def test_who_does_not_serve_is_told_with_its_role() -> None:
    text = shown(ChainStatus(7, [member(HEAD, 50), member(TAIL, 45, member_serving="0", member_role="tail")], [LEADER]))
    assert "tail, does not serve" in text
    assert "head, does not serve" not in text


def test_a_terminal_of_80_columns_shows_it_whole() -> None:
    far, position = Endpoint("192.168.100.101", 16370), 1_234_567_890
    members = [member(far, position, member_committed=str(position)), member(TAIL, position - 50)]
    text = shown(ChainStatus(7, members, [LEADER]), width=80, rates={far: 123_456.0, TAIL: 1.0})
    assert text.count(str(position)) == 2, "a number is whole, and in one line"
    for whole in (str(far), "committed", "123456", "50"):
        assert whole in text


def test_what_is_dead_is_shown_with_what_to_do() -> None:
    dead = MasterStatus(STANDBY, trouble="m:2: nobody listens there")
    silent = MemberStatus(TAIL, trouble="b:2: nobody listens there")
    text = shown(ChainStatus(7, [member(HEAD, 50), silent], [LEADER, dead]), advice=["Start it so"])
    assert "master m:2: does not answer" in text
    assert text.count("does not answer") == 2
    assert "Start this one again" in text
    assert "Start its server again" in text
    assert "- Start it so" in text
    assert "all is well" not in text


def test_rates_are_what_positions_grow_by(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([100.0, 102.0])
    monkeypatch.setattr("chainredis.cli.picture.time.monotonic", lambda: next(clock))
    rates = Rates()
    assert rates.of(ChainStatus(7, [member(HEAD, 50)])) == {}
    assert rates.of(ChainStatus(7, [member(HEAD, 90), member(TAIL, 90)])) == {HEAD: 20.0}
