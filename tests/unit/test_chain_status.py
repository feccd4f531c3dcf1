# SPDX-License-Identifier: Apache-2.0
"""chainredis.operator: what `chainredis status` makes of the servers' INFO."""

import argparse
import json

import pytest

from chainredis.cli.addresses import address
from chainredis.operator.chain_status import ChainStatus, MasterStatus, MemberStatus
from chainredis.protocol.view import Endpoint

HEAD, TAIL, MASTER, STANDBY = Endpoint("a", 1), Endpoint("b", 2), Endpoint("m", 1), Endpoint("m", 2)
WELL = {"member_role": "head", "member_serving": "1", "member_kind": "all", "member_epoch": "7", "member_applied": "9"}


def chain(*members: MemberStatus, **master: str) -> ChainStatus:
    return ChainStatus(7, members, [MasterStatus(MASTER, master)] if master else [])


def test_nothing_is_found_in_a_chain_that_is_well() -> None:
    seen = chain(MemberStatus(HEAD, WELL), MemberStatus(TAIL, WELL | {"member_role": "tail"}), master_state="serving")
    assert (seen.findings(), seen.kind, seen.fallen) == ([], "all", [])


@pytest.mark.parametrize(
    ("seen", "text"),
    [
        (chain(), "no members"),
        (ChainStatus(7, [], outsider=MemberStatus(TAIL, {"member_role": "alone"})), "b:2: is in no chain (role alone)"),
        (chain(MemberStatus(HEAD, WELL), master_state="no chain"), "the master says: no chain"),
        (chain(MemberStatus(HEAD, trouble="a:1: nobody listens there")), "nobody listens there. The master"),
        (chain(MemberStatus(HEAD, WELL | {"member_serving": "0"})), "does not serve (role head)"),
        (chain(MemberStatus(HEAD, WELL | {"member_epoch": "6"})), "epoch 6, the chain in that of 7"),
        (chain(MemberStatus(HEAD, WELL | {"member_broken_invariants": "2"})), "2 broken invariants"),
        (chain(MemberStatus(HEAD, WELL | {"member_checkpoint_error": "disk"})), "its checkpoints fail: disk"),
        (chain(MemberStatus(HEAD, WELL), master_fallen="b:2,c:3"), "c:3: was taken out after a fault"),
    ],
)
def test_what_is_wrong_is_found(seen: ChainStatus, text: str) -> None:
    assert text in " ".join(seen.findings())


def test_one_of_several_masters_leads() -> None:
    leader = MasterStatus(MASTER, {"master_leads": "1", "master_state": "serving"})
    standby = MasterStatus(STANDBY, {"master_leads": "0", "master_state": "another master leads"})
    dead = MasterStatus(STANDBY, trouble="m:2: nobody listens there")
    member = MemberStatus(HEAD, WELL)
    assert ChainStatus(7, [member], [standby, leader]).findings() == []
    (found,) = ChainStatus(7, [member], [dead, leader]).findings()
    assert "Another master leads" in found
    (found,) = ChainStatus(7, [member], [dead]).findings()
    assert "No master repairs the chain" in found


def test_the_lag_is_what_the_head_has_and_the_member_has_not() -> None:
    late = MemberStatus(TAIL, WELL | {"member_applied": "4"})
    assert chain(MemberStatus(HEAD, WELL), late).lag(late) == 5
    assert chain(late, MemberStatus(HEAD, WELL)).lag(MemberStatus(HEAD, WELL)) == 0
    assert chain(MemberStatus(HEAD, trouble="silent"), late).lag(late) is None


def test_keys_are_those_of_all_databases() -> None:
    assert MemberStatus(HEAD, WELL | {"db0": "keys=3,expires=0", "db7": "keys=4,expires=1"}).keys == 7


def test_programs_get_numbers() -> None:
    seen = chain(MemberStatus(HEAD, WELL), MemberStatus(TAIL, trouble="silent"))
    told = json.loads(json.dumps(seen.to_json()))
    assert told["members"][0]["applied"] == 9
    assert told["members"][1] == {"address": "b:2", "role": "", "serving": False, "lag": None, "trouble": "silent"}


@pytest.mark.parametrize("text", ["", "a", "a:", ":1", "a:0", "a:65536", "a b:1"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="HOST:PORT"):
        address(text)


def test_addresses() -> None:
    assert address("10.0.0.1:6370") == Endpoint("10.0.0.1", 6370)
