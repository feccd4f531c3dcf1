# SPDX-License-Identifier: Apache-2.0
"""Access to etcd: users and passwords, TLS with certificates of both sides, and the messages about errors."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from certificates import Certificates
from chainredis.etcd.client import Access
from chainredis.local_cluster.etcd_cluster import EtcdChain, EtcdServer, url_of
from chainredis.local_cluster.server import Server
from chainredis.transport.waiting import wait_until
from etcd.conftest import StartChain
from etcd.test_away import etcdctl
from integration.conftest import StartServer
from integration.helpers import Error, ask, assert_serves, await_repair, info

PASSWORD = "correct-horse-battery"
ANOTHER_CHAIN = "chain-of-others"


@pytest.fixture
def guarded(etcd: EtcdServer) -> EtcdServer:
    """An etcd that asks for a password and gives the user `chain` rights to the keys of its own chain only."""
    for words in (
        ["user", "add", "root:root"], ["user", "grant-role", "root", "root"],
        ["user", "add", f"chain:{PASSWORD}"], ["role", "add", "chain"],
        ["role", "grant-permission", "chain", "--prefix=true", "readwrite", "chain/"],
        ["user", "grant-role", "chain", "chain"], ["auth", "enable"],
    ):  # fmt: skip
        etcdctl(etcd, *words)
    return etcd


def let_in(who: str, user: str = "chain", password: str = PASSWORD) -> dict[str, str]:
    return {f"{who}.etcd-user": user, f"{who}.etcd-password": password}


def assert_untold(server: Server, secret: str) -> None:
    shown = [str(ask(server, "INFO", "everything")), str(ask(server, "CONFIG", "GET", "*")), server.log()]
    shown += [str(ask(server, "CONFIG", "GET", name)) for name in ("master.etcd-password", "member.etcd-password")]
    assert not [text for text in shown if secret in text]


def test_a_chain_with_a_password(chain: StartChain, guarded: EtcdServer) -> None:
    c = chain(
        2, url=url_of("chain", guarded), masters=2, member_config=let_in("member"), master_config=let_in("master"),
    )  # fmt: skip
    wait_until(lambda: info(c.leader(), "master")["master_heartbeats"] == "2", 10)
    assert_serves(c)
    # A restart of etcd voids its tokens: the master gets a new one, and does not lose the lead.
    guarded.stop()
    guarded.start()
    c.add(c.spare())
    c.head.kill()
    c.members.pop(0)
    assert_serves_after_repair(c)
    for server in c.servers:
        if server.running:
            assert_untold(server, PASSWORD)


def assert_serves_after_repair(c: EtcdChain) -> None:
    ports = [member.port for member in c.members]
    wait_until(lambda: [int(n.rpartition(b":")[2]) for n in ask(c.leader(), "MASTER.GET_CHAIN")] == ports, 20)
    assert_serves(c)


def test_who_is_not_let_in_says_so_and_stays_up(server: StartServer, guarded: EtcdServer) -> None:
    url, says = url_of("chain", guarded), "see the settings etcd-user and etcd-password"
    for settings in (let_in("master", password="wrong"), let_in("master", user="nobody"), {}):
        master = server(f"etcd/libetcd_master.so {url}", **settings)
        reply = ask(master, "MASTER.ADD", "127.0.0.1", 1)
        assert isinstance(reply, Error)
        assert says in reply
        assert says in master.log()
        assert_untold(master, "wrong")
        member = server("libmember.so 1", **{name.replace("master", "member"): x for name, x in settings.items()})
        assert ask(member, "MEMBER.CONNECT_TO_MASTER", url) == b"OK"
        wait_until(partial(tells_of_no_access, member, says), 10)
        assert says in member.log()
        assert ask(member, "MEMBER.PUT", "a", "1") == 0


def tells_of_no_access(member: Server, says: str) -> bool:
    return says in info(member, "member")["member_heartbeat"]


def test_a_chain_whose_keys_one_may_not_touch(server: StartServer, guarded: EtcdServer) -> None:
    master = server(f"etcd/libetcd_master.so {url_of(ANOTHER_CHAIN, guarded)}", **let_in("master"))
    wait_until(lambda: "permission denied" in info(master, "master").get("master_etcd", ""), 10)


def test_the_right_password_after_a_wrong_one(server: StartServer, guarded: EtcdServer) -> None:
    member = server("libmember.so 1", **let_in("member", password="wrong"))
    url = url_of("chain", guarded)
    ask(member, "MEMBER.CONNECT_TO_MASTER", url)
    wait_until(lambda: "see the settings" in info(member, "member")["member_heartbeat"], 10)
    assert ask(member, "CONFIG", "SET", "member.etcd-password", PASSWORD) == b"OK"
    assert ask(member, "MEMBER.CONNECT_TO_MASTER", url) == b"OK"
    wait_until(lambda: info(member, "member")["member_heartbeat"] == "beating", 10)


# ------------------------------------------------------------------------------------------------------------ TLS


@pytest.fixture
def tls(certificates: Certificates) -> Access:
    """A certificate with a known issuer that is valid for both sides; certificates of others are in the same folder."""
    mine = certificates.identity()
    return Access((), ca=mine.ca, cert=mine.cert, key=mine.key)


@pytest.fixture
def encrypted(tmp_path: Path, tls: Access) -> Iterator[EtcdServer]:
    etcd = EtcdServer(tmp_path / "etcd", tls=tls)
    etcd.start()
    yield etcd
    etcd.kill()


def files(who: str, tls: Access) -> dict[str, str]:
    return {f"{who}.etcd-ca": tls.ca, f"{who}.etcd-cert": tls.cert, f"{who}.etcd-key": tls.key}


def test_a_chain_over_tls(chain: StartChain, encrypted: EtcdServer, tls: Access) -> None:
    c = chain(
        3, url=url_of("chain", encrypted), master_config=files("master", tls),
        member_config=files("member", tls),
    )  # fmt: skip
    wait_until(lambda: info(c.master, "master")["master_heartbeats"] == "3", 10)
    c.members[1].kill()
    await_repair(c, c.members[1])
    assert_serves(c)


def tells_of_trouble(master: Server) -> bool:
    return info(master, "master")["master_etcd"] not in ("connecting", "connected")


def test_wrong_certificates_are_said(server: StartServer, encrypted: EtcdServer, tls: Access) -> None:
    folder = Path(tls.ca).parent
    wrong = {
        "not theirs": replace(tls, ca=f"{folder}/other-ca.crt"),
        "not ours": replace(tls, cert=f"{folder}/bad.crt", key=f"{folder}/bad.key"),
        "none": Access(()),
        "no key": replace(tls, key=""),
        "no ca": replace(tls, ca=""),
        "no such file": replace(tls, ca=f"{folder}/missing"),
        "garbage": replace(tls, ca=f"{folder}/garbage"),
    }
    masters = {
        name: server(f"etcd/libetcd_master.so {url_of('chain', encrypted)}", **files("master", access))
        for name, access in wrong.items()
    }
    for name, master in masters.items():
        said = ask(master, "MASTER.ADD", "127.0.0.1", 1)
        assert isinstance(said, Error)
        assert "etcd cannot be reached" in said or "etcd-ca" in said, name
        wait_until(partial(tells_of_trouble, master), 10)


def test_a_secret_that_goes_to_etcd_in_the_clear_is_warned_of(
    server: StartServer, etcd: EtcdServer, certificates: Certificates,
) -> None:  # fmt: skip
    own = certificates.identity().server
    master = server(f"etcd/libetcd_master.so {url_of('chain', etcd)}", tls_replication="yes", **own)
    assert "goes to etcd without TLS" in master.log()
