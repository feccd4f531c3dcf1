# SPDX-License-Identifier: Apache-2.0
"""Passwords of the modules are used, kept by CONFIG REWRITE, and shown nowhere."""

from pathlib import Path

import pytest

from chainredis.local_cluster.cluster import MASTER, MEMBER
from chainredis.local_cluster.process import LauncherError
from chainredis.local_cluster.server import Server
from integration.conftest import StartChain, StartServer
from integration.helpers import Error, Talk, ask, assert_serves

SETTINGS = [(MEMBER, "member.auth-password"), (MEMBER, "member.etcd-password"), (MASTER, "master.auth-password")]
STAND_IN = b"(hidden "


def config_set(talk: Talk, *words: str) -> object:
    return talk("CONFIG", "SET", *words)


def rewritten(talk: Talk, server: Server) -> str:
    """The text of redis.conf after CONFIG REWRITE."""
    assert talk("CONFIG", "REWRITE") == b"OK"
    return (server.folder / "redis.conf").read_text()


def until(monitor: Talk, word: str, talk: Talk) -> str:
    """The output of MONITOR up to now."""
    talk("ECHO", word)
    told = ""
    while word not in told:
        told += str(monitor.receive())
    return told


def shown(server: Server) -> str:
    """All that a user can see of a server, except for the file redis.conf."""
    with Talk(server) as talk:
        replies = [
            talk("CONFIG", "GET", "*"), talk("CONFIG", "GET", "m*.*-password"), talk("SLOWLOG", "GET", -1),
            talk("INFO", "everything"), talk("MODULE", "LIST"), talk("ACL", "LOG"), talk("CLIENT", "LIST"),
        ]  # fmt: skip
    return f"{replies} {server.log()}"


@pytest.mark.parametrize(("module", "name"), SETTINGS, ids=str)
def test_a_password_is_shown_nowhere_and_kept_by_a_rewrite(server: StartServer, module: str, name: str) -> None:
    one = server(module, **{name: "secret-of-the-file", "slowlog-log-slower-than": "0"})
    with Talk(one) as talk, Talk(one) as monitor:
        monitor("MONITOR")
        assert f'{name} "secret-of-the-file"' in rewritten(talk, one)
        assert config_set(talk, name, "secret-of-now") == b"OK"
        assert config_set(talk, name.upper(), "secret of now", "maxmemory", "0") == b"OK"
        for words in (
            [name, "secret", "1"], ["save", name, "secret"], [f"{name}x", "secret"], [name, "x" * 600 + "secret"],
            [name, "secret\0"], ["maxmemory", "x", name, "secret"], [name, "secret", "nonsense", "x"],
            [name, "secret", name, "secret"], ["master.auth_password", "secret"],
        ):  # fmt: skip
            assert isinstance(config_set(talk, *words), Error), words
        assert talk("MULTI") == b"OK"
        talk.pipeline([["CONFIG", "SET", name, "secret of MULTI"], ["CONFIG", "GET", name]])
        assert talk("EXEC")[1][1].startswith(STAND_IN)
        assert f'{name} "secret of MULTI"' in rewritten(talk, one)
        assert talk("CONFIG", "GET", name)[1].startswith(STAND_IN)
        # To set the value that CONFIG GET shows changes nothing. An empty password is possible, too.
        assert config_set(talk, name, talk("CONFIG", "GET", name)[1].decode()) == b"OK"
        assert f'{name} "secret of MULTI"' in rewritten(talk, one)
        assert "secret" not in shown(one) + until(monitor, "that-was-all", talk)
        assert config_set(talk, name, "") == b"OK"
        assert talk("CONFIG", "GET", name)[1] == b""


@pytest.mark.parametrize(("module", "name"), SETTINGS, ids=str)
def test_a_config_set_that_fails_leaves_the_password(server: StartServer, module: str, name: str) -> None:
    one = server(module, **{name: "the-old-one"})
    number = f"{module.removeprefix('lib').removesuffix('.so')}.heartbeat-timeout"
    with Talk(one) as talk:
        for words in ([name, "a-new-one", number, "0"], [number, "0", name, "a-new-one"], [name, "", number, "0"]):
            assert isinstance(config_set(talk, *words), Error)
            assert f'{name} "the-old-one"' in rewritten(talk, one)


def test_a_stand_in_is_no_password(tmp_path: Path) -> None:
    """Inside MULTI the filter cannot tell CONFIG REWRITE from CONFIG GET. A stand-in in redis.conf is refused."""
    one = Server(tmp_path / "one", modules=[MEMBER], config={"member.auth-password": "(hidden 3)"})
    try:
        with pytest.raises(LauncherError):
            one.start()
    finally:
        one.kill()
    assert "give the password itself" in one.log()


def test_credentials_in_a_url_are_refused_and_not_repeated(server: StartServer, tmp_path: Path) -> None:
    settings = {"slowlog-log-slower-than": "0"}
    for one in (server(MEMBER, **settings), server(f"{MEMBER} 1", **settings)):
        for words in (["u:secret@127.0.0.1:1/chain"], ["u:secret@127.0.0.1", "6379"], ["127.0.0.1:1/u:secret@x"]):
            reply = ask(one, "MEMBER.CONNECT_TO_MASTER", *words)
            assert isinstance(reply, Error)
            assert "secret" not in reply + shown(one)
    master = Server(tmp_path / "master", modules=["etcd/libetcd_master.so u:secret@127.0.0.1:1/chain"])
    try:
        with pytest.raises(LauncherError):
            master.start()
    finally:
        master.kill()
    assert "etcd-password" in master.log()
    assert "secret" not in master.log()


def test_a_master_takes_new_credentials_while_it_runs(chain: StartChain) -> None:
    cluster = chain(2)
    with Talk(cluster.members[1]) as member, Talk(cluster.master) as master:
        assert master("MASTER.REMOVE", "127.0.0.1", cluster.members[1].port) == b"OK"
        for word in ("reset", "on", ">right", "~*", "&*", "+@all"):
            assert member("ACL", "SETUSER", "the-master", word) == b"OK"
        assert member("CONFIG", "SET", "requirepass", "wrong") == b"OK"
        add = ("MASTER.ADD", "127.0.0.1", cluster.members[1].port)
        assert isinstance(master(*add), Error)
        assert master("CONFIG", "SET", "master.auth-user", "the-master", "master.auth-password", "wrong") == b"OK"
        assert isinstance(master(*add), Error)
        assert master("CONFIG", "SET", "master.auth-password", "right") == b"OK"
        with Talk(cluster.members[0]) as head:
            for word in ("reset", "on", ">right", "~*", "&*", "+@all"):
                head("ACL", "SETUSER", "the-master", word)
            for name, value in (("member.auth-user", "the-master"), ("member.auth-password", "right")):
                assert head("CONFIG", "SET", name, value) == b"OK"
                assert member("CONFIG", "SET", name, value) == b"OK"
        assert member("CONFIG", "SET", "masterauth", "of others") == b"OK"
        assert master(*add) == b"OK"
        # The credentials that Redis's replication used for the copy have been removed.
        assert member("CONFIG", "GET", "masterauth", "masteruser") in (
            [b"masterauth", b"of others", b"masteruser", b""], [b"masteruser", b"", b"masterauth", b"of others"],
        )  # fmt: skip
        assert member("CONFIG", "SET", "requirepass", "") == b"OK"
    assert_serves(cluster)
