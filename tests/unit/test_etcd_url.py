# SPDX-License-Identifier: Apache-2.0
"""URLs of chains in etcd, and the keys of a chain."""

from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from chainredis.etcd.url import Keys, parse_url
from chainredis.protocol.view import Endpoint


def test_a_url() -> None:
    url = parse_url("127.0.0.1:12379/my_cool_chain")
    assert url.endpoints == (Endpoint("127.0.0.1", 12379),)
    assert url.keys.view == "my_cool_chain/view"
    several = parse_url("a:1,b.example:2,[::1]:3/x-1.y")
    assert [each.host for each in several.endpoints] == ["a", "b.example", "::1"]
    assert str(several) == "a:1,b.example:2,[::1]:3/x-1.y"


@given(st.text())
def test_any_text_is_a_url_or_a_value_error(text: str) -> None:
    with suppress(ValueError):
        url = parse_url(text)
        assert parse_url(str(url)) == url


@given(st.from_regex(r"[A-Za-z0-9_.-]{1,20}", fullmatch=True), st.from_regex(r"[A-Za-z0-9_.-]{1,20}", fullmatch=True))
def test_no_chain_has_another_ones_keys(one: str, other: str) -> None:
    if one != other:
        keys = Keys(other)
        assert not [key for key in (keys.view, keys.leader, keys.heartbeats) if key.startswith(Keys(one).prefix)]
