# SPDX-License-Identifier: Apache-2.0
"""Members and masters that talk to each other with TLS: `tls-replication yes`, and certificates of both sides."""

import re
from contextlib import closing
from pathlib import Path

import pytest

from certificates import Certificates
from chainredis.local_cluster.cluster import Cluster
from chainredis.local_cluster.server import Server
from chainredis.protocol.view import Kind
from chainredis.transport.lifeline import SocketLine
from chainredis.transport.settings import Settings
from chainredis.transport.tls import Tls
from integration.conftest import StartChain
from integration.helpers import (
    Error,
    ask,
    assert_serves,
    each_dies_and_returns,
    info,
    settled,
    state,
    stored_view,
)
from integration.recorder import OverheardCluster, Recorder
from servers import needs_tls

pytestmark = needs_tls()


def by(certificates: Certificates, name: str = "good", ca: str = "ca") -> Tls:
    own = certificates.identity(name, ca)
    return Tls(own.ca, own.cert, own.key)


@pytest.fixture
def tls(certificates: Certificates) -> Tls:
    return by(certificates)


def put(c: Cluster, key: str, value: str) -> None:
    """Write and read, by the commands of the chain's kind."""
    if stored_view(c).kind is Kind.ALL:
        assert ask(c.head, "SET", key, value) == b"OK"
    else:
        assert isinstance(ask(c.head, "MEMBER.PUT", key, value), int)
        assert ask(c.tail, "READ", key) == value.encode()
    for member in c.members:
        assert ask(member, "GET", key) == value.encode()


@pytest.mark.parametrize("kind", ["put", "all"])
def test_a_chain_whose_links_have_tls(chain: StartChain, tls: Tls, kind: str) -> None:
    c = chain(3, tls=tls, commands=kind, master_config={"master.auto-return": "yes"})
    put(c, "first", "1")
    value = "v" * 3_000_000
    put(c, "long", value)
    c.add(c.spare())
    assert ask(c.tail, "GET", "long") == value.encode()
    for moment in each_dies_and_returns(c):
        put(c, moment, "1")
    assert ask(c.tail, "GET", "long") == value.encode()
    settled(c)
    assert info(c.head, "member")["member_link_down"] == "ready"


@pytest.mark.parametrize("kind", ["put", "all"])
@pytest.mark.parametrize("is_secret", [True, False], ids=["with TLS", "without"])
def test_what_can_be_read_off_the_network(tmp_path: Path, tls: Tls, is_secret: bool, kind: str) -> None:
    with OverheardCluster(2, folder=tmp_path, commands=kind, tls=tls if is_secret else None) as c:
        put(c, "the-key-of-a-client", "the-value-of-a-client")
        put(c, "long", "a-long-value" * 100_000)
        c.add(c.spare())
        put(c, "more", "1")
        secret = stored_view(c).secret
        words = [b"the-key-of-a-client", b"the-value-of-a-client", b"a-long-value", secret.encode(), b"CHAIN."]
        assert [word in c.heard for word in words] == [not is_secret] * len(words)
        # Lifelines have no TLS, and need none: all that they carry is a nonce and proofs.
        lifelines = Recorder(state(c.head).lifeline)
        line = SocketLine(lifelines.endpoint, secret, state(c.head).run_id, Settings(tmp_path, "f" * 40, 1))
        with closing(line):
            said = b"".join(lifelines.heard)
        lifelines.close()
        assert len(said) == 32 + 64 + 64
        assert secret.encode() not in said
        assert bytes.fromhex(secret) not in bytes.fromhex(said.decode())


@pytest.fixture
def pair(chain: StartChain, tls: Tls) -> Cluster:
    return chain(1, tls=tls)


def newcomer(c: Cluster, tls: Tls | None, **config: str) -> Server:
    """A server that was not added, with its own certificates."""
    c.tls, before = tls, c.tls
    try:
        return c.spare(**config)
    finally:
        c.tls = before


def test_who_cannot_be_added_and_why(pair: Cluster, certificates: Certificates) -> None:
    c = pair
    ask(c.head, "MEMBER.PUT", "k", "v")

    def refusal(server: Server, port: int) -> str:
        ask(server, "SET", "own", "data")
        reply = ask(c.master, "MASTER.ADD", "127.0.0.1", port, "DISCARD")
        assert isinstance(reply, Error)
        assert f"127.0.0.1:{port}" in reply
        assert ask(server, "GET", "own") == b"data", reply
        return reply

    good = newcomer(c, by(certificates))
    assert "perhaps that is the port without TLS" in refusal(good, good.port)
    plain = newcomer(c, by(certificates), tls_replication="no")
    assert "has tls-replication no, and this master has tls-replication yes" in refusal(plain, plain.link_endpoint.port)
    assert ask(c.master, "CONFIG", "SET", "tls-replication", "no") == b"OK"
    assert "this master has tls-replication no" in refusal(good, good.port)
    assert "perhaps that is its TLS port" in refusal(good, good.link_endpoint.port)
    assert ask(c.master, "CONFIG", "SET", "tls-replication", "yes") == b"OK"
    assert ask(c.head, "CONFIG", "SET", "tls-replication", "no") == b"OK"
    assert "and the chain's tail 127.0.0.1" in refusal(good, good.link_endpoint.port)
    assert ask(c.head, "CONFIG", "SET", "tls-replication", "yes") == b"OK"
    for name, ca, why in (
        ("ended", "ca", "certificate has expired"),
        ("bad", "ca", "unable to get local issuer certificate"),
        ("good", "other-ca", "unknown ca|wants another certificate"),     # when the end overtakes the alert
    ):
        server = newcomer(c, by(certificates, name, ca))
        assert re.search(why, refusal(server, server.link_endpoint.port))
    assert_serves(c)
