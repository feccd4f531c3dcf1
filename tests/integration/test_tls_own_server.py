# SPDX-License-Identifier: Apache-2.0
"""A member's module and its own server speak TLS where the server's settings ask for it (docs/decisions/0012)."""


import pytest

from certificates import Certificates, Identity
from chainredis.local_cluster.cluster import MEMBER
from chainredis.local_cluster.ports import free_port
from chainredis.local_cluster.server import Server
from chainredis.protocol.view import Kind, Member, View
from chainredis.transport.waiting import wait_until
from integration.conftest import StartServer
from integration.helpers import Talk, ask, state
from integration.test_gate_hold import field
from integration.test_tls_clients import talk_to

ONLY = {"member.commands": "all", "member.lifeline-port": "-1"}


@pytest.fixture
def mine(certificates: Certificates) -> Identity:
    return certificates.identity()


def own_view(only: Server) -> View:
    itself = Member(only.endpoint.host, only.endpoint.host, only.port, state(only).run_id)
    return View("ab" * 16, 1, (itself,), "cd" * 16, Kind.ALL)


# ------------------------------------------------------------------------------------------------- the tap with TLS


@pytest.mark.parametrize("config", [
    {}, {"tls-auth-clients": "no"}, {"tls-protocols": "TLSv1.2"}, {"member.gate": "no"}, {"tls-replication": "yes"},
    {"io-threads": "3", "io-threads-do-reads": "yes"},
], ids=str)  # fmt: skip
def test_a_head_that_has_a_port_with_tls_alone(server: StartServer, mine: Identity, config: dict[str, str]) -> None:
    only = server(MEMBER, **ONLY, **mine.server, **config)
    view = own_view(only)
    with talk_to(only, mine) as talk:
        assert talk("CONFIG", "SET", "port", 0) == b"OK"
        assert talk("CHAIN.ADOPT", *view.wire())[0] == b"ADOPTED"
        assert talk.pipeline([("SET", f"k{i}", i) for i in range(2000)]) == [b"OK"] * 2000
        value = "v" * 3_000_000
        assert talk("SET", "long", value) == b"OK"
        assert talk("EVAL", "for i = 1, 20000 do redis.call('RPUSH', 'list', i) end", 0) is None
        for _ in range(3):      # the tap is closed, and comes back
            wait_until(lambda: talk("CLIENT", "KILL", "TYPE", "replica") == 1, 20)
            assert talk.pipeline([("INCR", "n"), ("GET", "long")])[1] == value.encode()
        assert field(talk, "applied") == field(talk, "committed")
        assert text_field(talk, "link_own_error") == ""
        assert talk("CONFIG", "SET", "port", only.port) == b"OK"


def text_field(talk: Talk, name: str) -> str:
    lines = talk("INFO", "member").decode().splitlines()
    return str(dict(line.split(":", 1) for line in lines if ":" in line)[f"member_{name}"])


# ------------------------------------------------------------------------------- certificates that cannot be used


def test_a_server_that_does_not_accept_itself_is_refused(server: StartServer, certificates: Certificates) -> None:
    """With the reason."""
    ended, stranger = certificates.identity("ended"), certificates.identity("bad", ca="ca")
    reasons = {ended: "certificate has expired", stranger: "unable to get local issuer certificate"}
    for identity, reason in reasons.items():
        only = server(MEMBER, **ONLY, **identity.server, **{"tls-replication": "yes", "tls-port": str(free_port())})
        assert reason in ask(only, "CHAIN.ADOPT", *own_view(only).wire())
