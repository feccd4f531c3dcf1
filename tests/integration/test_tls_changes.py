# SPDX-License-Identifier: Apache-2.0
"""Links with TLS whose certificates, settings or peers change, and what the servers and the command line say of it."""

import shutil
from pathlib import Path

import pytest

from certificates import Certificates
from chainredis.cli.main import main
from chainredis.local_cluster.certificates import openssl
from chainredis.local_cluster.cluster import MEMBER, Cluster
from chainredis.local_cluster.ports import free_port
from chainredis.local_cluster.server import Server
from chainredis.transport.waiting import wait_until
from integration.conftest import StartChain, StartServer
from integration.helpers import PATIENT, Talk, ask, assert_serves, info, member_number
from integration.test_fake_peers import liar, swallow, view_with
from integration.test_tls_links import by, put
from servers import needs_tls

pytestmark = needs_tls()


def own_files(folder: Path) -> dict[str, str]:
    return {"tls-client-cert-file": f"{folder}/own.crt", "tls-client-key-file": f"{folder}/own.key"}


def renew(certificates: Certificates, folder: Path, name: str, *parts: str) -> None:
    """Put another certificate in the place of the server's own, as a program that renews certificates does."""
    for part in parts or ("crt", "key"):
        shutil.copy(certificates.folder / f"{name}.{part}", folder / f"new.{part}")
        (folder / f"new.{part}").rename(folder / f"own.{part}")


def part(*servers: Server) -> None:
    """End all connections of others with these servers."""
    for server in servers:
        ask(server, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


def link_error(member: Server) -> str:
    return info(member, "member").get("member_link_up_error", "")


def test_renewed_files_are_read(chain: StartChain, certificates: Certificates, tmp_path: Path) -> None:
    """Redis itself reads the files of its port when CONFIG SET names them again. These are the files of links."""
    renew(certificates, tmp_path, "client")
    c = chain(1, tls=by(certificates), master_config=PATIENT | own_files(tmp_path))
    c.add(c.spare(**{name.replace("-", "_"): value for name, value in own_files(tmp_path).items()}))
    assert_serves(c)
    renew(certificates, tmp_path, "ended")
    part(c.head)
    wait_until(lambda: "certificate expired" in link_error(c.tail), 10)
    wait_until(lambda: "certificate expired" in info(c.master, "master")["master_state"] or
               "certificate expired" in c.master.log(), 10)
    renew(certificates, tmp_path, "good")
    assert_serves(c)
    assert link_error(c.tail) == ""
    # Amid the next renewal the new certificate stands beside the old key.
    renew(certificates, tmp_path, "client", "crt")
    part(c.head)
    wait_until(lambda: "what was read before is used" in c.tail.log(), 10)
    wait_until(lambda: "what was read before is used" in c.master.log(), 10)
    assert_serves(c)


def test_a_copy_is_made_with_renewed_files(chain: StartChain, certificates: Certificates, tmp_path: Path) -> None:
    """In a chain of PUTs Redis itself connects to the old tail. It reads the files when a setting is set."""
    c = chain(1, tls=by(certificates), commands="put")
    assert_serves(c)
    renew(certificates, tmp_path, "ended")
    newcomer = c.spare(**{name.replace("-", "_"): value for name, value in own_files(tmp_path).items()})
    renew(certificates, tmp_path, "good")
    c.add(newcomer)
    assert_serves(c)
    assert member_number(newcomer, "joins_by_copy") == 1


def test_a_key_may_have_a_password(chain: StartChain, certificates: Certificates, tmp_path: Path) -> None:
    key, cert = f"{tmp_path}/own.key", certificates.identity("client").cert
    openssl(tmp_path, "ec", "-in", certificates.identity("client").key, "-aes128", "-passout", "pass:xyz", "-out", key)
    own = {"tls-client-cert-file": cert, "tls-client-key-file": key, "tls-client-key-file-pass": "xyz"}
    assert_serves(chain(2, tls=by(certificates), master_config=own, member_config=own))


def turn_on(c: Cluster, server: Server, certificates: Certificates) -> None:
    """As docs/operations.md says: the port that the view names becomes that with TLS, and the plain one another."""
    settings = {
        **certificates.identity().server, "port": str(free_port()), "tls-port": str(server.port),
        "tls-replication": "yes",
    }  # fmt: skip
    words = [word for pair in settings.items() for word in pair]
    assert ask(server, "CONFIG", "SET", *words) == b"OK"
    server.tls, server._tls_port, server._port = by(certificates), server.port, int(settings["port"])


@pytest.mark.parametrize("kind", ["put", "all"])
def test_tls_is_turned_on_in_a_running_chain(chain: StartChain, certificates: Certificates, kind: str) -> None:
    c = chain(2, commands=kind)
    before = ask(c.master, "MASTER.GET_CHAIN")
    for server in (*c.members, c.master):
        turn_on(c, server, certificates)
        put(c, "changed", str(server))
    part(*c.members)
    put(c, "all", "changed")
    c.tls = by(certificates)
    c.add(c.spare())
    put(c, "one", "more")
    assert ask(c.master, "MASTER.GET_CHAIN")[:2] == before


def test_a_handshake_that_hangs_holds_nothing_up(server: StartServer, certificates: Certificates) -> None:
    only = server(MEMBER, tls_port=str(free_port()), tls_replication="yes", **certificates.identity().server)
    with liar(swallow) as (port, connections), Talk(only) as talk:
        assert talk("CHAIN.ADOPT", *view_with(only, port, 0, 2).wire())[0] == b"ADOPTED"
        answered = 0
        while "TLS: no answer in time" not in link_error(only):
            assert talk("PING") == b"PONG"
            answered += 1
        assert answered > 10
        wait_until(lambda: len(connections) > 1, 10)


def test_the_command_line_talks_with_tls(
    chain: StartChain, certificates: Certificates, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    c = chain(1, tls=by(certificates))
    other = c.spare()
    master, head, newcomer = (str(server.link_endpoint) for server in (c.master, c.head, other))
    options = certificates.identity().cli

    def run(*words: str) -> tuple[int, str]:
        status = main(list(words))
        said = capsys.readouterr()
        return status, (said.out + said.err).replace("\n", " ")

    assert run("add", master, newcomer, *options)[0] == 0
    assert run("status", head, *options)[0] == 0
    status, said = run("doctor", head, *options)
    assert status == 1
    assert f"{head}: its certificate ends in 2 days" in said
    assert run("status", head)[1].count("perhaps that is its TLS port") == 1
    said = run("status", head, *options[:3])[1]
    assert "certificate required" in said or "wants another certificate" in said
    assert "is not accepted" in run("status", head, "--tls")[1]
    assert "go with --tls" in run("status", head, "--cacert", "x")[1]
    assert "No such file" in run("status", head, "--tls", "--cacert", "x")[1]
    plain = str(other.endpoint)
    assert "perhaps that is the port without TLS" in run("remove", plain, newcomer, *options)[1]
    assert run("remove", master, newcomer, *options)[0] == 0
