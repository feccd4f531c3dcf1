# SPDX-License-Identifier: Apache-2.0
"""chainredis.operator: what `chainredis status` makes of the servers' INFO."""

import argparse
import json

import pytest

from chainredis.cli.addresses import address
from chainredis.operator.chain_status import ChainStatus, MemberStatus
from chainredis.protocol.view import Endpoint

HEAD, TAIL = Endpoint("a", 1), Endpoint("b", 2)
WELL = {"member_role": "head", "member_serving": "1", "member_kind": "all", "member_epoch": "7", "member_applied": "9"}


def chain(*members: MemberStatus, **master: str) -> ChainStatus:
    return ChainStatus(7, members, master)


def test_nothing_is_found_in_a_chain_that_is_well() -> None:
    seen = chain(MemberStatus(HEAD, WELL), MemberStatus(TAIL, WELL | {"member_role": "tail"}), master_state="serving")
    assert (seen.findings(), seen.kind, seen.fallen) == ([], "all", [])


@pytest.mark.parametrize(
    ("seen", "text"),
    [
        (chain(), "no members"),
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


def test_programs_get_numbers() -> None:
    seen = chain(MemberStatus(HEAD, WELL), MemberStatus(TAIL, trouble="silent"))
    told = json.loads(json.dumps(seen.to_json()))
    assert told["members"][0]["applied"] == 9
    assert told["members"][1] == {"address": "b:2", "role": "", "serving": False, "trouble": "silent"}


@pytest.mark.parametrize("text", ["", "a", "a:", ":1", "a:0", "a:65536", "a b:1"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="HOST:PORT"):
        address(text)


def test_addresses() -> None:
    assert address("10.0.0.1:6370") == Endpoint("10.0.0.1", 6370)
