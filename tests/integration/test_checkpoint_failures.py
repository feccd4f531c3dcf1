# SPDX-License-Identifier: Apache-2.0
"""Full disks, damaged files, shared folders: a member reports the error, loses no data, and flushes no key."""

import fcntl
import resource
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from random import Random

import plyvel  # type: ignore[import-untyped]
import pytest

from chainredis.local_cluster.cluster import Cluster
from chainredis.local_cluster.process import LauncherError
from chainredis.local_cluster.server import Server
from chainredis.transport.waiting import wait_until
from integration.conftest import StartChain, _examine
from integration.disks import without_master
from integration.helpers import Error, Talk, ask, assert_serves, info, member_number, state
from integration.test_checkpoint import FLUSH, checkpoint, flush, put
from integration.test_checkpoint_restart import ALWAYS, aged, folder, form, read_all

VALUE = "v" * 2000
# With the signal ignored, a file that may not grow is an error to the server and does not end it.
UNDETERRED = ("sh", "-c", 'trap "" XFSZ; exec "$@"', "sh")


def error_of(server: Server) -> str:
    return info(server, "member")["member_checkpoint_error"]


def fill(cluster: Cluster, name: str, count: int = 50) -> list[str]:
    keys = [f"{name}:{n}" for n in range(count)]
    with Talk(cluster.head) as talk:
        assert all(isinstance(reply, int) for reply in talk.pipeline([("MEMBER.PUT", key, VALUE) for key in keys]))
    return keys


def assert_kept(cluster: Cluster, keys: list[str]) -> None:
    assert set(read_all(cluster, keys).values()) == {VALUE.encode()}


# ------------------------------------------------------------------------------------------------- a full disk


class Undeterred(Cluster):
    def _make_server(self, folder: Path, port: int | None, module: str, config: Mapping[str, str]) -> Server:
        return Server(folder, port=port, modules=[module], config=config, prefix=UNDETERRED)


@pytest.fixture
def undeterred(tmp_path: Path) -> Iterator[Cluster]:
    with Undeterred(1, folder=tmp_path, member_config=FLUSH) as cluster:
        yield cluster
    _examine(cluster.servers)


def limit_files(server: Server, size: int) -> None:
    """Let no file of the server grow beyond `size` bytes, which has the effect of a full disk."""
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def fill_the_disk(cluster: Cluster) -> tuple[list[str], list[str]]:
    """20 keys that were flushed, and 50 in memory for which the checkpoint has no room."""
    flushed = fill(cluster, "flushed", 20)
    checkpoint(cluster)
    assert flush(cluster) == 20
    limit_files(cluster.head, 60_000)
    return flushed, fill(cluster, "kept")


def test_a_full_disk_loses_and_flushes_nothing(undeterred: Cluster) -> None:
    cluster, member = undeterred, undeterred.head
    flushed, kept = fill_the_disk(cluster)
    for _ in range(2):
        reply = ask(member, "TAIL.CHECKPOINT")
        assert isinstance(reply, Error) and reply.startswith("ERR not checkpointed: "), reply
        assert error_of(member) and info(member, "member")["member_checkpoint"] == "failed"
        assert "nothing is flushed while checkpoints fail" in ask(member, "HEAD.FLUSH")
        assert state(member).keys == 50
        assert_kept(cluster, flushed + kept)
    assert_serves(cluster)
    limit_files(member, resource.RLIM_INFINITY)
    assert ask(member, "TAIL.CHECKPOINT") == 51
    assert error_of(member) == ""
    assert flush(cluster) == 51
    assert_kept(cluster, flushed + kept)


def test_flushed_keys_are_read_while_one_checkpoint_after_another_fails(undeterred: Cluster) -> None:
    """Each attempt opens the database again. A READ waits for that."""
    cluster, member = undeterred, undeterred.head
    flushed, _ = fill_the_disk(cluster)
    with Talk(member) as orders, Talk(member) as reader:
        for _ in range(20):
            orders.send("TAIL.CHECKPOINT")
            while orders.is_silent(0):
                assert set(reader.pipeline([("READ", key) for key in flushed])) == {VALUE.encode()}
            assert isinstance(orders.receive(), Error)


def test_writers_do_not_wait_for_a_disk_that_is_full(undeterred: Cluster) -> None:
    """Memory then exceeds its limit, because only keys that are on disk may be flushed."""
    cluster, member = undeterred, undeterred.head
    ask(member, "CONFIG", "SET", "member.checkpoint-interval", "20", "member.flush-above", "3mb")
    limit_files(member, 300_000)
    keys = fill(cluster, "many", 5000)
    wait_until(lambda: error_of(member) != "", 20)
    keys += fill(cluster, "more", 1000)
    assert member_number(member, "writers_held_for_memory") == 0
    assert_kept(cluster, keys)


# ---------------------------------------------------------------------------------------------- damaged files


def cut_log(where: Path, dice: Random) -> None:
    log = max(where.glob("*.log"))
    with log.open("r+b") as file:
        file.truncate(dice.randrange(log.stat().st_size))


def overwrite_log(where: Path, dice: Random) -> None:
    log = max(where.glob("*.log"))
    with log.open("r+b") as file:
        file.seek(dice.randrange(log.stat().st_size - 20))
        file.write(b"\xff" * 20)


def overwrite_manifest(where: Path, dice: Random) -> None:
    next(where.glob("MANIFEST-*")).write_bytes(b"nonsense")


def remove_current(where: Path, dice: Random) -> None:
    (where / "CURRENT").unlink()


def remove(where: Path, dice: Random) -> None:
    shutil.rmtree(where)


def rewrite(server: Server) -> None:
    """Rewrite the append-only file, which then no longer contains flushed keys."""
    assert not isinstance(ask(server, "BGREWRITEAOF"), Error)
    wait_until(lambda: info(server, "persistence")["aof_rewrite_in_progress"] == "0", 20)


def refusal(cluster: Cluster, command: str) -> str:
    """What the master says to a command about the only member, which it must refuse."""
    with pytest.raises(LauncherError) as refused:
        cluster.command(command, cluster.head.endpoint.host, cluster.head.endpoint.port)
    return str(refused.value)


DAMAGES = [cut_log, overwrite_log, overwrite_manifest, remove_current, remove]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_does_not_pass_for_whole(
    chain: StartChain, damage: Callable[[Path, Random], None]
) -> None:
    """The member has lost its flushed keys, and serves nothing until it has got a copy."""
    cluster = chain(2, member_config=FLUSH | ALWAYS)
    wanted = aged(cluster)
    victim = cluster.tail
    rewrite(victim)
    victim.kill()
    damage(folder(victim), Random(5))
    wait_until(lambda: state(cluster.head).serving and state(cluster.head).role == "singleton", 20)
    cluster.members.remove(victim)
    victim.start()
    if damage not in {cut_log, overwrite_log}:  # after these two, LevelDB may have the data in other files
        assert state(victim).applied == -1 and "until MASTER.ADD has given it a copy" in victim.log()
    cluster.add(victim)
    assert read_all(cluster, list(wanted)) == wanted
    cluster.remove(cluster.head)
    assert read_all(cluster, list(wanted)) == wanted
    assert_serves(cluster)


def test_a_checkpoint_that_was_lost_is_begun_anew_when_memory_has_everything(chain: StartChain) -> None:
    cluster = chain(1, member_config={"member.gcs-mode": "checkpoint"} | ALWAYS)
    member = cluster.head
    put(cluster, 10)
    checkpoint(cluster)
    member.kill()
    shutil.rmtree(folder(member))
    member.start()
    form(cluster, member)
    assert ask(member, "READ", "key:3") == b"value:3"
    assert ask(member, "TAIL.CHECKPOINT") == 10


def test_a_checkpoint_that_could_not_be_emptied_is_emptied_later(chain: StartChain) -> None:
    """Some of its files are gone, so LevelDB does not open it. Nothing of it is needed."""
    cluster = chain(1, member_config={"member.gcs-mode": "checkpoint"} | ALWAYS)
    member = cluster.head
    put(cluster, 10)
    checkpoint(cluster)
    without_master(cluster)
    member.kill()
    shutil.rmtree(folder(member))
    member.start()
    obstacle = folder(member) / "999999.ldb"  # LevelDB cannot remove a folder as one of its files
    obstacle.mkdir()
    cluster.master.start()
    form(cluster, member)
    for _ in range(2):
        reply = ask(member, "TAIL.CHECKPOINT")
        assert isinstance(reply, Error) and obstacle.name in reply
    obstacle.rmdir()
    assert ask(member, "TAIL.CHECKPOINT") == 10
    assert error_of(member) == ""


@pytest.mark.parametrize("loaded", [False, True])
def test_a_lone_member_that_cannot_read_its_checkpoint_is_not_formed(chain: StartChain, loaded: bool) -> None:
    """It would be a chain without the flushed keys. With the checkpoint that it had, it is the chain again."""
    cluster = chain(1, member_config=FLUSH | (ALWAYS if loaded else {}))
    member = cluster.head
    wanted = aged(cluster)
    checkpoint(cluster)
    flush(cluster)
    if loaded:
        rewrite(member)
    member.kill()
    where = folder(member)
    with closing(plyvel.DB(str(where))) as database:
        meta = database.get(b"\0meta")
        database.put(b"\0meta", b"nonsense")
    member.start()
    wait_until(lambda: "MASTER.FORM" in refusal(cluster, "MASTER.ADD"), 20)
    assert "cannot read its checkpoint" in refusal(cluster, "MASTER.FORM")
    member.stop()
    with closing(plyvel.DB(str(where))) as database:
        database.put(b"\0meta", meta)
    member.start()
    form(cluster, member)
    assert read_all(cluster, list(wanted)) == wanted


def test_a_read_of_damaged_data_is_an_error(chain: StartChain) -> None:
    """A READ gets neither nil nor a wrong value. Keys in memory are still served."""
    cluster = chain(1, member_config=FLUSH)
    member = cluster.head
    keys = [f"key:{n}" for n in range(5000)]
    put(cluster, 5000)
    checkpoint(cluster)
    flush(cluster)
    member.kill()
    member.start()  # at its start LevelDB turns its log into a table
    form(cluster, member)
    for table in folder(member).glob("*.ldb"):
        with table.open("r+b") as file:
            file.seek(table.stat().st_size // 2)  # where no record of the checkpoint itself is
            file.write(b"\xff" * 200)
    member.kill()
    member.start()
    form(cluster, member)
    with Talk(member) as talk:
        replies = set(talk.pipeline([("READ", key) for key in keys])) - {b"value:%d" % n for n in range(5000)}
    assert replies and all(reply.startswith("ERR the checkpoint, where that key may be") for reply in replies)
    assert_serves(cluster)


def test_a_checkpoint_that_is_removed_under_a_servers_hands(undeterred: Cluster) -> None:
    """The member must not continue with an empty checkpoint as if that contained the flushed keys."""
    cluster, member = undeterred, undeterred.head
    flushed = fill(cluster, "flushed", 5)
    checkpoint(cluster)
    flush(cluster)
    shutil.rmtree(folder(member))
    limit_files(member, 1)
    kept = fill(cluster, "kept", 5)
    assert isinstance(ask(member, "TAIL.CHECKPOINT"), Error)
    limit_files(member, resource.RLIM_INFINITY)
    for _ in range(2):
        assert "it is not what this member left there" in ask(member, "TAIL.CHECKPOINT")
    assert_kept(cluster, kept)
    reply = ask(member, "READ", flushed[0])
    assert isinstance(reply, Error) and reply.startswith("ERR the checkpoint, where that key may be")
    assert state(member).keys == 5


def test_a_compaction_that_fails_says_so_once(chain: StartChain) -> None:
    """What is superseded stays, and the number of records is what it was."""
    cluster = chain(1, member_config=FLUSH)
    member = cluster.head
    put(cluster, 1)
    checkpoint(cluster)
    member.stop()
    with closing(plyvel.DB(str(folder(member)))) as database:
        database.put(b"\1key:9\0\1" + bytes(8), b"neither a value nor a deletion")
    member.start()
    form(cluster, member)
    for _ in range(7):
        put(cluster, 20_000)
        checkpoint(cluster)
    wait_until(lambda: "the checkpoint keeps what is superseded: " in member.log(), 30)
    assert member.log().count("the checkpoint keeps what is superseded: ") == 1
    assert member_number(member, "checkpoint_sweeps") == 0
    assert member_number(member, "checkpoint_records") == 140_001


# -------------------------------------------------------------------------------------------- a shared folder


def test_what_a_torn_checkpoint_has_left_is_gone_when_it_is_opened(chain: StartChain) -> None:
    """Such records would count once the watermark has passed them, and would delete newer ones by compaction."""
    cluster = chain(1, member_config=FLUSH)
    put(cluster, 1)
    assert checkpoint(cluster) == 1
    member, (path,) = cluster.head, cluster.head.folder.glob("checkpoint-*")
    member.stop()
    record = b"\1torn\0\1" + (2**64 - 1 - 10).to_bytes(8)
    names = len(record).to_bytes(4) + record
    torn = {record: b"vx", b"\0chunk\0\0\0\3": (0).to_bytes(8) + (9).to_bytes(8) + names}
    with closing(plyvel.DB(str(path))) as database:
        for name, value in torn.items():
            database.put(name, value)
        before = dict(database)
    member.start()
    member.stop()
    with closing(plyvel.DB(str(path))) as database:
        assert dict(database) == {name: value for name, value in before.items() if name not in torn}


def test_two_servers_with_one_folder(chain: StartChain, tmp_path: Path) -> None:
    shared = FLUSH | {"member.checkpoint-dir": str(tmp_path / "shared")}
    cluster = chain(1, member_config=shared)
    put(cluster, 5)
    assert checkpoint(cluster) == 5
    second = cluster.grow()
    wait_until(lambda: "another server uses this folder" in error_of(second), 20)
    assert "another server uses this folder" in second.log()
    reply = ask(second, "TAIL.CHECKPOINT")
    assert isinstance(reply, Error) and "another server uses this folder" in reply
    assert_serves(cluster)
    assert flush(cluster) == 5
    assert state(second).keys == 6


def test_a_new_tail_without_a_place_for_what_was_flushed(chain: StartChain, tmp_path: Path) -> None:
    cluster = chain(1, member_config=FLUSH | {"member.checkpoint-dir": str(tmp_path / "shared")})
    put(cluster, 5)
    checkpoint(cluster)
    flush(cluster)
    with pytest.raises(LauncherError, match="another server uses this folder"):
        cluster.grow()
    assert_serves(cluster)
    assert ask(cluster.tail, "READ", "key:3") == b"value:3"


@pytest.mark.parametrize("how", ["locked", "not there"])
def test_a_checkpoint_out_of_reach_for_a_while(chain: StartChain, tmp_path: Path, how: str) -> None:
    """Meanwhile the member claims no data, and at the next start it has all of it."""
    cluster = chain(1, member_config=FLUSH | {"save": "3600 1"})
    member = cluster.head
    wanted = aged(cluster)
    checkpoint(cluster)
    ask(member, "MEMBER.PUT", "key:39", "newest")
    wanted["key:39"] = b"newest"
    member.stop()  # saves
    where, aside = folder(member), tmp_path / "aside"
    if how == "locked":
        lock = (where / "LOCK").open("r+b")
        fcntl.lockf(lock, fcntl.LOCK_EX)
    else:
        where.rename(aside)
    member.start()
    after = state(member)
    assert (after.role, after.applied, after.record_epoch) == ("removed", -1, 0)
    assert "until MASTER.ADD has given it a copy" in member.log()
    member.stop()  # saves, too
    if how == "locked":
        lock.close()
    else:
        shutil.rmtree(where)
        aside.rename(where)
    member.start()
    form(cluster, member)
    assert read_all(cluster, list(wanted)) == wanted
