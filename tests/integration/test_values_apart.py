# SPDX-License-Identifier: Apache-2.0
"""Long values of a checkpoint, in files of their own: found again, given back, and never taken for others."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path

import plyvel  # type: ignore[import-untyped]
import pytest

from chainredis.cli.main import main
from chainredis.local_cluster.cluster import Cluster
from chainredis.local_cluster.server import Server
from chainredis.transport.waiting import wait_until
from integration.conftest import StartChain
from integration.helpers import Error, Talk, ask, member_number, proven, settled, state, stored_view
from integration.test_checkpoint import FLUSH, checkpoint, flush, list_pages
from integration.test_checkpoint_failures import limit_files, undeterred  # noqa: F401 - a fixture
from integration.test_checkpoint_restart import ALWAYS, folder, form

SHORTEST = 128  # bytes; of a value that is apart
UNDONE = "ERR the checkpoint, where that key may be, cannot be read"


def value_of(number: int, length: int, version: str = "") -> bytes:
    return (b"%s:%d:" % (version.encode(), number)).ljust(length, bytes([97 + number % 26]))


def put(cluster: Cluster, values: dict[str, bytes]) -> None:
    with Talk(cluster.head) as talk:
        replies = talk.pipeline([("MEMBER.PUT", key, value, "writer") for key, value in values.items()])
        assert all(isinstance(reply, int) for reply in replies), replies
    settled(cluster)


def made(count: int, length: int, version: str = "", prefix: str = "key") -> dict[str, bytes]:
    return {f"{prefix}:{n}": value_of(n, length, version) for n in range(count)}


def save(cluster: Cluster, values: dict[str, bytes]) -> None:
    put(cluster, values)
    checkpoint(cluster)
    flush(cluster)


def read(cluster: Cluster, keys: Iterable[str]) -> dict[str, bytes]:
    keys = list(keys)
    with Talk(cluster.tail) as talk:
        return dict(zip(keys, talk.pipeline([("READ", key) for key in keys]), strict=True))


def value_files(server: Server) -> list[Path]:
    return sorted((folder(server) / "values").glob("*"))


def format_of(server: Server) -> bytes:
    with closing(plyvel.DB(str(folder(server)))) as database:
        return bytes(database.get(b"\0meta")).split(b"\n")[0]


def again(cluster: Cluster, member: Server) -> None:
    """Start the server that has ended, as the chain."""
    member.start()
    form(cluster, member)


# ------------------------------------------------------------------------------------------------------ found again


def test_short_values_stay_in_their_records_and_in_the_former_format(chain: StartChain) -> None:
    cluster = chain(1, member_config=FLUSH)
    save(cluster, made(5, SHORTEST - 1))
    assert value_files(cluster.head) == []
    cluster.stop()
    assert format_of(cluster.head) == b"format 1"


@pytest.mark.parametrize("killed", [False, True])
def test_long_values_are_found_after_a_restart_too(chain: StartChain, killed: bool, tmp_path: Path) -> None:
    cluster = chain(1, member_config=FLUSH | ALWAYS)
    member = cluster.head
    wanted: dict[str, bytes] = {}
    for round_, length in enumerate((SHORTEST, 5000, SHORTEST - 1, 2_000_000, SHORTEST + 1)):
        values = made(20, length, str(round_), prefix=f"round {round_}") | made(5, length, str(round_))
        save(cluster, values)
        wanted |= values
        assert read(cluster, wanted) == wanted
        if killed:
            member.kill()
        else:
            member.stop()
        again(cluster, member)
        flush(cluster)
        assert read(cluster, wanted) == wanted
        assert {key.decode(): value for key, value in list_pages(member)} == wanted
    assert len(value_files(member)) == 2  # the long round fills the first one
    member.stop()
    assert format_of(member) == b"format 2"
    assert main(["checkpoint", "verify", str(folder(member))]) == 0
    assert main(["checkpoint", "export", str(folder(member)), "--output", str(tmp_path / "output")]) == 0
    assert len((tmp_path / "output").read_text().splitlines()) == len(wanted)


def test_a_new_tail_gets_records_that_have_their_values_in_them(chain: StartChain) -> None:
    """So that members of earlier versions can copy them."""
    cluster = chain(1, member_config=FLUSH)
    wanted = made(50, 1000)
    save(cluster, wanted)
    epoch = state(cluster.head).epoch
    with Talk.over(cluster.head, proven(cluster.head, stored_view(cluster))) as talk:
        cursor, records = talk("CHAIN.PAGE", epoch, "")
    assert cursor == b"" and b"format 1\n" in records
    assert all(b"v" + value in records for value in wanted.values())
    newcomer = cluster.grow()
    assert sum(file.stat().st_size for file in value_files(newcomer)) == 50 * 1000
    cluster.remove(cluster.head)
    assert read(cluster, wanted) == wanted
    save(cluster, made(5, 1000, "newer"))
    assert read(cluster, wanted) == wanted | made(5, 1000, "newer")


# ------------------------------------------------------------------------------------------------------- given back


def test_files_go_when_little_is_left_of_them(chain: StartChain) -> None:
    cluster = chain(1, member_config=FLUSH)
    kept = made(200, 10_000, "kept", prefix="kept")  # in the first file, in whose place another has them in the end
    save(cluster, kept)
    for round_ in range(5):
        put(cluster, made(20_000, 1000, str(round_)))
        checkpoint(cluster)
    wait_until(lambda: member_number(cluster.head, "checkpoint_sweeps") == 1, 60)
    files = value_files(cluster.head)
    assert files[0].name != "00000001"
    assert sum(file.stat().st_size for file in files) < 2 * 22_000_000 + 33_000_000  # half live, and the one that grows
    flush(cluster)
    wanted = kept | made(20_000, 1000, "4")
    assert read(cluster, wanted) == wanted
    cluster.stop()
    assert main(["checkpoint", "verify", str(folder(cluster.head))]) == 0


def test_files_stay_while_a_learner_copies_what_names_them(chain: StartChain) -> None:
    cluster = chain(1, member_config=FLUSH)
    former = made(20_000, 1000, "0")
    save(cluster, former)
    epoch = state(cluster.head).epoch
    with Talk.over(cluster.head, proven(cluster.head, stored_view(cluster))) as talk:
        cursor, records = talk("CHAIN.PAGE", epoch, "")
        for round_ in range(1, 5):
            put(cluster, made(20_000, 1000, str(round_)))
            checkpoint(cluster)
        wait_until(lambda: member_number(cluster.head, "checkpoint_sweeps") == 1, 60)
        copied = records
        while cursor:
            cursor, records = talk("CHAIN.PAGE", epoch, cursor)
            copied += records
        assert all(b"v" + value in copied for value in list(former.values())[::200])
        assert copied.count(b"v0:") == 20_000
    assert value_files(cluster.head)[0].name == "00000001"
    for round_ in range(5, 10):  # the next sweep finds them
        put(cluster, made(20_000, 1000, str(round_)))
        checkpoint(cluster)
    wait_until(lambda: member_number(cluster.head, "checkpoint_sweeps") == 2, 60)
    assert value_files(cluster.head)[0].name != "00000001"
    assert read(cluster, ["key:7", "key:19999"]) == {n: made(20_000, 1000, "9")[n] for n in ("key:7", "key:19999")}


# ------------------------------------------------------------------------------------------ what was not finished


def test_what_an_end_at_any_step_has_left_is_removed(chain: StartChain) -> None:
    """Values without the batch that was to name them, a torn checkpoint's, and files that are no longer listed."""
    cluster = chain(1, member_config=FLUSH | ALWAYS)
    member = cluster.head
    wanted = made(50, 1000)
    save(cluster, wanted)
    member.stop()
    (file,) = value_files(member)
    with file.open("ab") as growing:
        growing.write(b"torn" * 1000)
    for number in (2, 7):
        (file.parent / f"{number:08x}").write_bytes(b"unlisted" * 100)
    (file.parent / "0x000001").write_bytes(b"somebody's own")
    record = b"\1torn\0\1" + (2**64 - 1 - 51).to_bytes(8)
    torn = b"f" + b"".join(number.to_bytes(4) for number in (1, 50_000, 1000)) + bytes(8)
    with closing(plyvel.DB(str(folder(member)))) as database:
        database.put(record, torn)
        names = len(record).to_bytes(4) + record
        database.put(b"\0chunk\0\0\0\0", (49).to_bytes(8) + (99).to_bytes(8) + names)
    again(cluster, member)
    flush(cluster)
    assert [each.name for each in value_files(member)] == [file.name, "0x000001"]
    assert file.stat().st_size == 50 * 1000
    assert read(cluster, wanted) == wanted
    more = made(50, 1000, "more", prefix="more")
    save(cluster, more)
    assert file.stat().st_size == 100 * 1000
    assert read(cluster, wanted | more) == wanted | more


def test_a_full_disk_leaves_nothing_behind(undeterred: Cluster) -> None:  # noqa: F811
    cluster, member = undeterred, undeterred.head
    wanted = made(20, 2000)
    save(cluster, wanted)
    kept = made(50, 2000, prefix="kept")
    put(cluster, kept)
    for limit in (60_000, 39_000, 20_000):
        limit_files(member, limit)
        assert isinstance(ask(member, "TAIL.CHECKPOINT"), Error)
        assert [file.stat().st_size for file in value_files(member)] == [20 * 2000]
        assert state(member).keys == 50
        assert read(cluster, wanted | kept) == wanted | kept
    limit_files(member, -1)
    save(cluster, {})
    assert [file.stat().st_size for file in value_files(member)] == [70 * 2000]
    assert read(cluster, wanted | kept) == wanted | kept


def test_what_a_failed_checkpoint_has_appended_goes_at_once(undeterred: Cluster) -> None:  # noqa: F811
    """Else it might be what fills the disk, and LevelDB needs some room to be opened again."""
    cluster, member = undeterred, undeterred.head
    wanted = made(20, 2000)
    save(cluster, wanted)
    put(cluster, made(350, 100_000, prefix="first"))
    put(cluster, made(1, 40_000_000, prefix="last"))  # in a second file, which may not grow so much
    limit_files(member, 36_000_000)
    assert isinstance(ask(member, "TAIL.CHECKPOINT"), Error)
    assert [(file.name, file.stat().st_size) for file in value_files(member)] == [("00000001", 20 * 2000)]
    assert read(cluster, wanted) == wanted
    limit_files(member, -1)
    checkpoint(cluster)
    flush(cluster)
    assert read(cluster, wanted | made(1, 40_000_000, prefix="last")) == wanted | made(1, 40_000_000, prefix="last")


def test_a_cleared_checkpoint_has_no_files(chain: StartChain) -> None:
    cluster = chain(2, member_config=FLUSH)
    save(cluster, made(50, 1000))
    tail = cluster.tail
    cluster.remove(tail)
    put(cluster, made(10, 1000, "newer"))
    cluster.add(tail, "DISCARD")
    checkpoint(cluster)
    wanted = made(50, 1000) | made(10, 1000, "newer")
    assert read(cluster, wanted) == wanted


# ---------------------------------------------------------------------------------------------------------- damage


def test_a_damaged_value_is_an_error_and_never_another_value(
    chain: StartChain, capfd: pytest.CaptureFixture[str]
) -> None:
    cluster = chain(1, member_config=FLUSH | ALWAYS)
    member = cluster.head
    wanted = made(100, 1000)
    save(cluster, wanted)
    member.kill()
    (file,) = value_files(member)
    content = bytearray(file.read_bytes())
    at = content.index(wanted["key:33"])
    content[at + 700] ^= 1
    at = content.index(wanted["key:44"])
    content[at : at + 1000] = wanted["key:45"]
    file.write_bytes(content)
    again(cluster, member)
    flush(cluster)
    found = read(cluster, wanted)
    assert {key for key in wanted if found[key] != wanted[key]} == {"key:33", "key:44"}
    for key in ("key:33", "key:44"):
        assert str(found[key]).startswith(UNDONE) and "a value is another than was written" in str(found[key])
    assert "a value is another than was written" in ask(member, "LIST.CHECKPOINT", "0")
    member.stop()
    assert main(["checkpoint", "verify", str(folder(member))]) == 1
    assert "the value of key b'key:33' and sn 33 is damaged" in capfd.readouterr().out


def test_a_file_with_a_damaged_value_stays_and_others_go(chain: StartChain) -> None:
    cluster = chain(1, member_config=FLUSH)
    kept = made(200, 10_000, "kept", prefix="kept")  # in the first file
    save(cluster, kept)
    with value_files(cluster.head)[0].open("r+b") as file:
        file.write(b"something else")  # at the first value, that of kept:0
    for round_ in range(5):
        put(cluster, made(20_000, 1000, str(round_)))
        checkpoint(cluster)
    wait_until(lambda: member_number(cluster.head, "checkpoint_sweeps") == 1, 60)
    names = [file.name for file in value_files(cluster.head)]
    assert names[0] == "00000001" and "00000002" not in names
    assert "keeps what is superseded: the checkpoint is damaged: a value is another than" in cluster.head.log()
    flush(cluster)
    assert str(read(cluster, ["kept:0"])["kept:0"]).startswith(UNDONE)
    wanted = kept | made(20_000, 1000, "4")
    some = [key for key in wanted if key != "kept:0"][::20]
    assert read(cluster, some) == {key: wanted[key] for key in some}


def cut(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.truncate(file.stat().st_size - 1)


def remove(file: Path) -> None:
    file.unlink()


def remove_all(file: Path) -> None:
    shutil.rmtree(file.parent)


@pytest.mark.parametrize("damage", [cut, remove, remove_all])
def test_a_checkpoint_that_lacks_a_file_is_none(chain: StartChain, damage: Callable[[Path], None]) -> None:
    """The member claims nothing, and gets a copy."""
    cluster = chain(2, member_config=FLUSH | ALWAYS)
    wanted = made(100, 1000)
    save(cluster, wanted)
    victim = cluster.tail
    assert not isinstance(ask(victim, "BGREWRITEAOF"), Error)
    wait_until(lambda: b"aof_rewrite_in_progress:0" in ask(victim, "INFO", "persistence"), 20)
    victim.kill()
    damage(value_files(victim)[0])
    wait_until(lambda: state(cluster.head).serving and state(cluster.head).role == "singleton", 20)
    cluster.members.remove(victim)
    victim.start()
    assert state(victim).applied == -1 and "until MASTER.ADD has given it a copy" in victim.log()
    cluster.add(victim)
    cluster.remove(cluster.head)
    assert read(cluster, wanted) == wanted


def test_a_file_that_vanishes_under_a_servers_hands(chain: StartChain) -> None:
    cluster = chain(1, member_config=FLUSH)
    wanted = made(20, 1000)
    save(cluster, wanted)
    member = cluster.head
    value_files(member)[0].unlink()
    for reply in read(cluster, wanted).values():
        assert str(reply).startswith(UNDONE)
    put(cluster, made(20, 1000))
    assert read(cluster, wanted) == wanted


# ----------------------------------------------------------------------------------------------------- many ends


@pytest.mark.parametrize("seed", range(3))
def test_killed_at_any_moment(chain: StartChain, seed: int) -> None:
    """While checkpoints follow one another, and sweeps rewrite files."""
    cluster = chain(1, member_config=FLUSH | ALWAYS | {"member.checkpoint-interval": "1"})
    member = cluster.head
    wanted: dict[str, bytes] = {}
    for end in range(4):
        for part in range(3 + seed):
            values = made(5_000, 700 + seed, f"{end}.{part}", prefix="abc"[part % 3])
            put(cluster, values)
            wanted |= values
        member.kill()
        again(cluster, member)
        checkpoint(cluster)
        flush(cluster)
        assert read(cluster, wanted) == wanted
    member.stop()
    assert main(["checkpoint", "verify", str(folder(member))]) == 0
