# SPDX-License-Identifier: Apache-2.0
"""A member's module and its own server speak TLS where the server's settings ask for it (docs/decisions/0012)."""

import re
import shutil
from pathlib import Path

import pytest

from certificates import Certificates, Identity
from chainredis.local_cluster.cluster import MEMBER
from chainredis.local_cluster.ports import free_port
from chainredis.local_cluster.server import Server
from chainredis.protocol.view import Kind, Member, View
from chainredis.transport.tls import Tls
from chainredis.transport.waiting import wait_until
from commands.run import same_data
from integration.conftest import StartChain, StartServer
from integration.helpers import Error, Talk, ask, each_dies_and_returns, info, state
from integration.test_gate_hold import field
from integration.test_tls_clients import talk_to
from integration.test_tls_links import by
from servers import needs_tls

pytestmark = needs_tls()

ONLY = {"member.commands": "all", "member.lifeline-port": "-1"}
RETURNING = {"master.auto-return": "yes"}


@pytest.fixture
def tls(certificates: Certificates) -> Tls:
    return by(certificates)


@pytest.fixture
def mine(certificates: Certificates) -> Identity:
    return certificates.identity()


def own_view(only: Server) -> View:
    itself = Member(only.endpoint.host, only.endpoint.host, only.port, state(only).run_id)
    return View("ab" * 16, 1, (itself,), "cd" * 16, Kind.ALL)


def own_link_error(server: Server) -> str:
    return info(server, "member")["member_link_own_error"]


def serves_all(server: Server, tail: Server, key: str) -> None:
    assert ask(server, "SET", key, "v") == b"OK"
    wait_until(lambda: ask(tail, "GET", key) == b"v", 20)


# ------------------------------------------------------------------------------------------- replica of its module


def test_a_chain_of_all_commands(chain: StartChain, tls: Tls) -> None:
    """Copies, long effects, fail-overs and returns. Each server is a replica of its own module, with TLS."""
    c = chain(3, commands="all", tls=tls, master_config=RETURNING, member_config={"enable-debug-command": "yes"})
    value = "v" * 3_000_000
    with Talk(c.head) as talk:
        assert talk.pipeline([("SET", f"k{i}", i) for i in range(1000)]) == [b"OK"] * 1000
        assert talk("SET", "long", value) == b"OK"
        assert talk("EVAL", "for i = 1, 20000 do redis.call('RPUSH', 'list', i) end", 0) is None
    c.add(c.spare())
    assert ask(c.tail, "GET", "long") == value.encode()
    for moment in each_dies_and_returns(c):
        serves_all(c.head, c.tail, moment)
    same_data(c.members)
    assert {own_link_error(member) for member in c.members} == {""}
    for member in c.members[1:]:
        assert b"flags=M" in ask(member, "CLIENT", "LIST")
        assert info(member, "replication")["master_link_status"] == "up"


def own_link_drops(member: Server) -> None:
    """Let the server connect to its module anew."""
    assert ask(member, "CLIENT", "KILL", "TYPE", "master") == 1


def test_the_setting_changes_while_they_talk(chain: StartChain, tls: Tls) -> None:
    """What the own server speaks is told from the first byte that it sends."""
    c = chain(2, commands="all", tls=tls)
    for number, setting in enumerate(("no", "yes", "no", "yes")):
        assert ask(c.tail, "CONFIG", "SET", "tls-replication", setting) == b"OK"
        own_link_drops(c.tail)
        serves_all(c.head, c.tail, f"k{number}")
    assert own_link_error(c.tail) == ""


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
        wait_until(lambda: talk("SET", "k", 0) == b"OK", 20)     # without a gate nothing waits until the server leads
        assert talk.pipeline([("SET", f"k{i}", i) for i in range(2000)]) == [b"OK"] * 2000
        value = "v" * 3_000_000
        assert talk("SET", "long", value) == b"OK"
        assert talk("EVAL", "for i = 1, 20000 do redis.call('RPUSH', 'list', i) end", 0) is None
        for _ in range(3):      # the tap is closed, and comes back
            wait_until(lambda: talk("CLIENT", "KILL", "TYPE", "replica") == 1, 20)
            assert talk.pipeline([("INCR", "n"), ("GET", "long")])[1] == value.encode()
        # Without a gate the last replies do not wait until the tap is back.
        wait_until(lambda: text_field(talk, "link_own_error") == "", 20)
        wait_until(lambda: field(talk, "applied") == field(talk, "committed"), 20)
        assert talk("CONFIG", "SET", "port", only.port) == b"OK"


def text_field(talk: Talk, name: str) -> str:
    lines = talk("INFO", "member").decode().splitlines()
    return str(dict(line.split(":", 1) for line in lines if ":" in line)[f"member_{name}"])


# ------------------------------------------------------------------------------- certificates that cannot be used


def own_files(folder: Path, *identities: Identity) -> Identity:
    """Files that are this server's alone, with the certificate of the first one. `give` replaces it by another one."""
    folder.mkdir(exist_ok=True)
    own = Identity(*(str(folder / name) for name in ("ca.crt", "own.crt", "own.key")))
    give(own, identities[0])
    return own


def give(own: Identity, other: Identity) -> None:
    for source, target in ((other.ca, own.ca), (other.key, own.key), (other.cert, own.cert)):
        copy = Path(f"{target}.new")
        shutil.copy(source, copy)
        copy.rename(target)


def test_a_server_that_does_not_accept_itself_is_refused(
    chain: StartChain, server: StartServer, certificates: Certificates, tls: Tls, tmp_path: Path
) -> None:
    """Before anything of it is discarded, with the reason."""
    ended, stranger = certificates.identity("ended"), certificates.identity("bad", ca="ca")
    reasons = {ended: "certificate has expired", stranger: "unable to get local issuer certificate"}
    for identity, reason in reasons.items():
        only = server(MEMBER, **ONLY, **identity.server, **{"tls-replication": "yes", "tls-port": str(free_port())})
        assert reason in ask(only, "CHAIN.ADOPT", *own_view(only).wire())
    c = chain(1, commands="all", tls=tls)
    own = own_files(tmp_path / "own", ended)
    spare = c.spare(**own.server)
    endpoint = c.endpoint_of(spare)
    assert ask(spare, "SET", "mine", "v") == b"OK"
    answer = ask(c.master, "MASTER.ADD", endpoint.host, endpoint.port, "DISCARD")
    assert isinstance(answer, Error)
    assert "expired" in answer
    assert ask(spare, "GET", "mine") == b"v"
    give(own, certificates.identity())
    for name, value in own.server.items():
        assert ask(spare, "CONFIG", "SET", name, value) == b"OK"    # as Redis wants it, to read the files anew
    c.add(spare, "DISCARD")
    serves_all(c.head, spare, "k")


def test_a_certificate_ends_and_is_renewed(
    chain: StartChain, certificates: Certificates, tls: Tls, tmp_path: Path
) -> None:
    c = chain(1, commands="all", tls=tls)
    own = own_files(tmp_path / "own", certificates.identity())
    c.add(c.spare(**own.server))
    serves_all(c.head, c.tail, "before")
    give(own, certificates.identity("ended"))
    serves_all(c.head, c.tail, "goes on")       # over the connection of before
    own_link_drops(c.tail)
    wait_until(lambda: "expired" in own_link_error(c.tail), 20)
    alert = r"TLS of this server with its own module: TLS: (sslv3|ssl/tls) alert certificate expired"
    assert re.search(alert, c.tail.log())
    with Talk(c.head) as writer:
        writer.send("SET", "late", "v")
        assert writer.is_silent()
        give(own, certificates.identity())
        assert writer.receive() == b"OK"
    assert own_link_error(c.tail) == ""
    # What cannot be read is not used, and what was read before is.
    Path(own.cert).write_text("no certificate")
    own_link_drops(c.tail)
    serves_all(c.head, c.tail, "with what was read before")
    wait_until(lambda: "cannot use the certificate" in c.tail.log(), 20)
