# SPDX-License-Identifier: Apache-2.0
"""Endpoints as people type them, views as they travel."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainredis.protocol.view import MAX_MEMBERS, Endpoint, Kind, Member, View, parse_endpoint

HISTORY, SECRET = "0a" * 16, "0b" * 16
MEMBERS = tuple(Member(f"host{n}", f"10.0.0.{n}", 6370 + n, f"{n:040x}") for n in range(2))


def test_wire_form() -> None:
    assert View(HISTORY, 7, MEMBERS, SECRET).wire() == [
        HISTORY.encode(), SECRET.encode(), b"7", b"2",
        b"host0", b"10.0.0.0", b"6370", b"0" * 40,
        b"host1", b"10.0.0.1", b"6371", b"0" * 39 + b"1",
    ]  # fmt: skip


@pytest.mark.parametrize("kind", Kind)
def test_views_travel_whole(kind: Kind) -> None:
    view = View(HISTORY, 7, MEMBERS, SECRET, kind)
    assert View.from_wire(view.wire()) == view
    explicit = [*view.wire()[:3], kind.encode(), *view.wire()[3 + (kind is Kind.ALL) :]]
    assert View.from_wire(explicit) == view
    assert View.from_json(json.loads(json.dumps(view.to_json()))) == view


@pytest.mark.parametrize("at", [2, 3, 4])
def test_what_is_no_view_is_an_error(at: int) -> None:
    arguments = View(HISTORY, 7, MEMBERS, SECRET, Kind.ALL).wire()
    with pytest.raises(ValueError, match=r"."):
        View.from_wire([*arguments[:at], b"x", *arguments[at + 1 :]])
    with pytest.raises(ValueError, match=r"."):
        View.from_wire(arguments[:at])


@given(st.binary(max_size=300), st.binary(max_size=10))
def test_any_bytes_are_an_endpoint_or_an_error(host: bytes, port: bytes) -> None:
    try:
        endpoint = parse_endpoint(host, port)
    except ValueError as error:
        complaint = str(error)
        assert complaint.isprintable()
        return
    assert endpoint.host.encode() == host
    assert endpoint.port == int(port)
    assert 1 <= endpoint.port <= 65535


def test_what_people_type() -> None:
    assert parse_endpoint(b"127.0.0.1", b"6370") == Endpoint("127.0.0.1", 6370)
    assert str(parse_endpoint(b"::1", b"65535")) == "::1:65535"
    assert parse_endpoint(b"h" * 255, b"00001").port == 1


@pytest.mark.parametrize(
    ("members", "epoch", "says"),
    [
        ((), 1, "1 to 32 members"),
        (tuple(Member("h", "h", 1, f"{n:040x}") for n in range(MAX_MEMBERS + 1)), 1, "not 33"),
        ((MEMBERS[0], MEMBERS[0]), 1, "same run_id"),
        (MEMBERS, 0, "epoch 0"),
        (MEMBERS, 2**60, "out of range"),
    ],
)
def test_impossible_views(members: tuple[Member, ...], epoch: int, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        View(HISTORY, epoch, members, SECRET)
