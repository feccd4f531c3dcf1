# SPDX-License-Identifier: Apache-2.0
"""A backup of a member, and another chain that begins with it (docs/operations.md, "Restore")."""

import shutil
import subprocess
from contextlib import suppress
from pathlib import Path
from threading import Event

import pytest

from chainredis.local_cluster.cluster import MASTER, Cluster
from chainredis.local_cluster.process import LauncherError
from chainredis.local_cluster.server import ROOT, Server
from chainredis.transport.waiting import wait_until
from integration.conftest import StartChain, StartServer
from integration.helpers import Talk, ask, assert_serves, info, member_number, running, settled, state, stored_view
from integration.test_checkpoint import FLUSH, checkpoint, flush, put

KEYS = 50
ALWAYS = {"appendonly": "yes", "appendfsync": "always"}


def back_up(server: Server, file: Path) -> None:
    """Back up the server as docs/operations.md says."""
    cli = [str(ROOT / "vendor/redis/src/redis-cli"), "-p", str(server.port), "--rdb", str(file)]
    subprocess.run(cli, check=True, capture_output=True, timeout=60)


def restored(cluster: Cluster, file: Path, *, checkpoint_of: Server | None = None, **config: str) -> Server:
    """A member in no chain that has loaded this backup."""
    server = cluster.spare(**config)
    server.stop()
    shutil.copy(file, server.folder / "dump.rdb")
    if checkpoint_of:
        copy = server.folder / f"checkpoint-{server.port}"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(checkpoint_of.folder / f"checkpoint-{checkpoint_of.port}", copy)
    server.start()
    return server


def told(cluster: Cluster, server: Server, *words: str) -> str:
    """The error of MASTER.ADD for this server; empty if it succeeds."""
    try:
        cluster.add(server, *words)
    except LauncherError as error:
        return str(error)
    return ""


def after(updates: int) -> dict[str, bytes]:
    """The keys and values after so many updates of `write`."""
    return {f"key:{n % KEYS}": str(n).encode() for n in range(updates)}


def contents(server: Server) -> dict[str, bytes]:
    names = sorted(ask(server, "KEYS", "*"))
    with Talk(server) as talk:
        values = talk.pipeline([("READ", name) for name in names])
    return {name.decode(): value for name, value in zip(names, values, strict=True)}


def test_a_backup_under_load_is_the_beginning_of_another_chain(chain: StartChain, tmp_path: Path) -> None:
    old = chain(3)
    file = tmp_path / "backup.rdb"

    def write(stop: Event) -> None:
        with Talk(old.head) as talk:
            number = 0
            while not stop.is_set():
                assert talk("MEMBER.PUT", f"key:{number % KEYS}", number) == number
                number += 1

    with running(write):
        wait_until(lambda: state(old.tail).applied > 200, 20)
        back_up(old.tail, file)
        position = state(old.tail).applied
    former = stored_view(old)
    old.stop()

    new = chain(0)
    first = restored(new, file)
    copied = state(first).applied
    assert 200 < copied <= position
    assert "MASTER.ADD 127.0.0.1" in told(new, first) and "ADOPT" in told(new, first)
    assert told(new, first, "ADOPT") == ""
    view = stored_view(new)
    assert view.history != former.history and view.secret != former.secret and view.epoch > former.epoch
    assert contents(first) == after(copied + 1)

    assert ask(first, "MEMBER.PUT", "more", "1") == copied + 1
    new.grow()
    assert state(new.tail).history == view.history and contents(new.tail) == {**after(copied + 1), "more": b"1"}
    assert_serves(new)
    assert "this chain has members" in told(new, new.spare(), "ADOPT")


def test_a_former_member_of_the_backed_up_chain_is_never_taken_for_one_of_the_new(
    chain: StartChain, tmp_path: Path
) -> None:
    old = chain(2, member_config=ALWAYS)
    put(old, 5)
    back_up(old.tail, tmp_path / "backup.rdb")
    new = chain(0)
    assert told(new, restored(new, tmp_path / "backup.rdb"), "ADOPT") == ""
    put(old, 5, prefix="later")
    former = old.tail
    former.kill()
    former.start()
    assert "data of another chain" in told(new, former)


@pytest.mark.parametrize("config", [{}, ALWAYS], ids=["RDB", "AOF"])
def test_a_first_member_is_of_the_new_chain_after_its_restart_too(
    chain: StartChain, tmp_path: Path, config: dict[str, str]
) -> None:
    """Its files name the old history until a rewrite replaces them."""
    old = chain(1, member_config=config)
    put(old, 5)
    back_up(old.head, tmp_path / "backup.rdb")
    old.stop()
    new = chain(0, member_config=config)
    first = new.spare()
    first.stop()
    shutil.rmtree(first.folder / "appendonlydir", ignore_errors=True)
    if config:  # the operator's way: load the RDB without an append-only file, then begin one
        first.config.pop("appendonly")
    shutil.copy(tmp_path / "backup.rdb", first.folder / "dump.rdb")
    first.start()
    if config:
        assert ask(first, "CONFIG", "SET", "appendonly", "yes") == b"OK"
        first.config["appendonly"] = "yes"
        wait_until(lambda: info(first, "persistence")["aof_rewrite_in_progress"] == "0", 20)
    assert told(new, first, "ADOPT") == ""
    history = stored_view(new).history
    if config:
        assert ask(first, "MEMBER.PUT", "more", "1") == 5
    first.kill()
    first.start()
    assert state(first).history == history
    assert state(first).applied == (5 if config else 4)
    if config:
        wait_until(lambda: state(first).serving, 20)  # by its own record, by which no data is missing
    else:

        def formed() -> bool:
            with suppress(LauncherError):
                new.command("MASTER.FORM", first.endpoint.host, first.endpoint.port)
            return state(first).serving

        wait_until(formed, 20)
    new.grow()
    assert_serves(new)


def test_flushed_keys_come_with_their_checkpoint_or_are_said_to_be_missing(chain: StartChain, tmp_path: Path) -> None:
    old = chain(2, member_config=FLUSH)
    put(old, 40)
    checkpoint(old)
    flush(old)
    put(old, 10, prefix="late")
    settled(old)
    back_up(old.tail, tmp_path / "backup.rdb")
    old.stop()

    new = chain(0, member_config=FLUSH)
    whole = restored(new, tmp_path / "backup.rdb", checkpoint_of=old.tail)
    assert told(new, whole, "ADOPT") == ""
    tail = new.grow()
    for n in range(40):
        assert ask(tail, "READ", f"key:{n}") == f"value:{n}".encode()
    assert member_number(tail, "applied") == 49
    for member in (tail, whole):  # the copied checkpoint is the new chain's, too
        member.kill()
        member.start()
        assert state(member).applied <= 49 and state(member).history == stored_view(new).history

    other = chain(0, member_config=FLUSH)
    part = restored(other, tmp_path / "backup.rdb")
    said = told(other, part, "ADOPT")
    assert "incomplete: it has 10 keys" in said and "INCOMPLETE" in said
    assert told(other, part, "ADOPT", "INCOMPLETE") == ""
    assert ask(part, "READ", "key:1") is None and ask(part, "READ", "late:1") == b"value:1"
    other.grow()
    assert_serves(other)


def test_data_that_is_no_chains_begins_one_with_and_without_the_word(
    chain: StartChain, server: StartServer, tmp_path: Path
) -> None:
    plain = server()
    ask(plain, "SET", "k", "v")
    back_up(plain, tmp_path / "plain.rdb")
    for words in ([], ["ADOPT"]):
        new = chain(0)
        first = restored(new, tmp_path / "plain.rdb")
        assert told(new, first, *words) == ""
        assert ask(first, "READ", "k") == b"v" and ask(first, "MEMBER.PUT", "k", "w") == 0


def test_a_backup_loads_beside_a_master_too(chain: StartChain, server: StartServer, tmp_path: Path) -> None:
    old = chain(1)
    put(old, 3)
    back_up(old.head, tmp_path / "backup.rdb")
    master = server(MASTER)
    master.stop()
    shutil.copy(tmp_path / "backup.rdb", master.folder / "dump.rdb")
    master.start()
    assert ask(master, "DBSIZE") == 3
