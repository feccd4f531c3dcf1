# SPDX-License-Identifier: Apache-2.0
"""The kinds of chain: who can be in which, and what a chain of kind `all` refuses."""

from pathlib import Path

import pytest

from chainredis.local_cluster.cluster import MEMBER
from chainredis.local_cluster.process import LauncherError
from chainredis.local_cluster.server import Server
from chainredis.protocol.view import Kind
from servers import MIXES_VERSIONS, use

from .conftest import StartChain, StartServer
from .helpers import ask, become_chain, info, settled, state, stored_view

COMMANDS = "member.commands"


def kinds(*servers: Server) -> set[str]:
    return {info(each, "member")["member_kind"] for each in servers}


@pytest.mark.parametrize("commands", ["put", "all", "auto"])
def test_a_chain_has_the_kind_of_its_first_member(chain: StartChain, commands: str) -> None:
    cluster = chain(2, commands=commands)
    kind = "put" if commands == "put" else "all"
    assert kinds(*cluster.members) == {kind}
    assert info(cluster.master, "master")["master_kind"] == kind
    assert stored_view(cluster).kind is Kind(kind)


@pytest.mark.parametrize(("has", "wants"), [("put", "all"), ("all", "put"), ("put", "auto")])
def test_a_server_of_the_other_kind_is_refused(chain: StartChain, has: str, wants: str) -> None:
    cluster = chain(1, commands=has)
    other = cluster.spare(**{COMMANDS: wants})
    with pytest.raises(LauncherError, match=f"start that server with member.commands {has}"):
        cluster.add(other)


def test_a_member_takes_no_view_of_the_other_kind(chain: StartChain, server: StartServer) -> None:
    view = stored_view(chain(1))
    for command in ("CHAIN.ADOPT", "CHAIN.JOIN", "CHAIN.REJOIN"):
        assert "of kind put" in str(ask(server(MEMBER, **{COMMANDS: "all"}), command, *view.wire()))


def test_auto_is_put_where_checkpoints_are_kept(server: StartServer) -> None:
    one = server(MEMBER, **{COMMANDS: "auto"})
    assert state(one).kind == "all"
    for mode, kind in (("checkpoint", "put"), ("normal", "all")):
        assert ask(one, "CONFIG", "SET", "member.gcs-mode", mode) == b"OK"
        assert state(one).kind == kind


def test_auto_is_put_as_long_as_it_has_no_gate(server: StartServer) -> None:
    """The gate begins with the server. Clients that are there before it would see what is not committed."""
    one = server(MEMBER, **{COMMANDS: "auto", "member.gcs-mode": "checkpoint"})
    assert state(one).kind == "put"
    assert ask(one, "CONFIG", "SET", "member.gcs-mode", "normal") == b"OK"
    assert state(one).kind == "put"


def test_all_keeps_no_checkpoints(chain: StartChain) -> None:
    cluster = chain(1, commands="all")
    for command in ("TAIL.CHECKPOINT", "HEAD.FLUSH", "LIST.CHECKPOINT"):
        assert "only in a chain of kind put" in str(ask(cluster.head, command))
    assert "only in a chain of kind put" in str(ask(cluster.head, "CONFIG", "SET", "member.gcs-mode", "checkpoint"))
    assert ask(cluster.head, "CONFIG", "SET", "member.gcs-mode", "normal") == b"OK"


def test_auto_keeps_its_kind_once_it_is_in_a_chain(chain: StartChain) -> None:
    cluster = chain(1, commands="auto")
    assert "only in a chain of kind put" in str(ask(cluster.head, "CONFIG", "SET", "member.gcs-mode", "checkpoint"))


def test_all_with_checkpoints_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(LauncherError, match="gcs-mode is not normal"):
        Server(tmp_path, modules=[MEMBER], config={COMMANDS: "all", "member.gcs-mode": "checkpoint"}).start()


@pytest.mark.parametrize("commands", ["put", "all"])
def test_data_of_the_other_kind_is_not_served(tmp_path: Path, commands: str) -> None:
    one = Server(tmp_path, modules=[MEMBER], config={COMMANDS: commands})
    one.start()
    become_chain(one, Kind(commands))
    one.stop()
    one.config[COMMANDS] = "auto"
    one.start()
    assert state(one).kind == commands
    one.stop()
    one.config[COMMANDS] = "put" if commands == "all" else "all"
    with pytest.raises(LauncherError, match=f"a chain of kind {commands}"):
        one.start()


def test_lifetimes_and_databases_may_begin_a_chain_of_kind_all(server: StartServer) -> None:
    for commands, fits in (("put", False), ("all", True)):
        one = server(MEMBER, **{COMMANDS: commands})
        assert ask(one, "SET", "k", "v", "EX", 1000) == b"OK"
        assert (state(one).unfit == "") == fits
        two = server(MEMBER, **{COMMANDS: commands})
        assert ask(two, "SWAPDB", 0, 1) == b"OK"
        assert ask(two, "SET", "k", "v") == b"OK"
        assert ask(two, "SWAPDB", 0, 1) == b"OK"
        assert (state(two).unfit == "") == fits


def test_servers_of_a_chain_of_kind_all_are_alike(chain: StartChain, foreign_module: str, tmp_path: Path) -> None:
    lines = tmp_path / "lines.conf"
    lines.write_text('rename-command FLUSHALL ""\n')
    cluster = chain(1, commands="all")
    with pytest.raises(LauncherError, match="databases 16"):
        cluster.add(cluster.spare(databases="4"))
    with pytest.raises(LauncherError, match="other write commands"):
        cluster.add(cluster.spare(include=str(lines)))
    with pytest.raises(LauncherError, match="the module foreign"):
        cluster.add(cluster.spare(loadmodule=foreign_module))


def test_what_a_server_tells_of_itself(server: StartServer, foreign_module: str) -> None:
    one = server(MEMBER, foreign_module, databases="5")
    traits = state(one).traits
    assert traits.family
    assert traits.databases == 5
    assert "foreign" in dict(traits.modules)
    assert len(traits.writes) == 16
    assert "version" not in str(ask(one, "CHAIN.POLL", 0, 0, 0))


@MIXES_VERSIONS
def test_a_later_server_follows_an_earlier_one_and_none_the_other_way_round(
    chain: StartChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = chain(1, commands="all")
    earlier = cluster.head
    with monkeypatch.context() as patch:
        use("valkey-9.1", patch)
        cluster.grow()
    assert state(cluster.tail).traits.family == ("valkey", (9, 1))
    cluster.remove(earlier)
    with pytest.raises(LauncherError, match=r"Redis 7.0, and .* is Valkey 9.1, .*: start .* with that version"):
        cluster.add(earlier, "DISCARD")


def test_nobody_but_clients_goes_through_the_gate(chain: StartChain) -> None:
    """Replies of members and masters that waited for a commit would hold up the commit itself."""
    cluster = chain(3, commands="all")
    for member in cluster.members:
        found = info(member, "member")
        assert int(found["member_gate_handed_back"]) >= 2  # the master's, at least
        assert int(found["member_gate_clients"]) - int(found["member_gate_unheld_clients"]) <= 1  # who asks this
    assert settled(cluster) is not None
