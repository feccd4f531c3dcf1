# SPDX-License-Identifier: Apache-2.0
"""A member's backup in servers without the modules: it has all data, or an error names what is missing."""

import shutil
import subprocess
from pathlib import Path

import pytest

from chainredis.backup.plain import make_plain, read_source
from chainredis.cli import main as cli
from chainredis.local_cluster.cluster import Cluster
from chainredis.local_cluster.server import ROOT, Server
from chainredis.protocol.errors import BackupError
from integration.conftest import StartChain, StartServer
from integration.helpers import Talk, ask, settled
from integration.test_backup import back_up
from integration.test_checkpoint import FLUSH, checkpoint, flush, put
from integration.test_checkpoint_restart import aged, folder
from servers import DEFAULT


def loaded(plain: Server, file: Path) -> dict[bytes, bytes]:
    """The data of a server without modules that was started with this file. Also checks the file by redis-check-rdb,
    where there is one of this version.
    """
    plain.stop()
    shutil.copy(file, plain.folder / "dump.rdb")
    plain.start()
    if DEFAULT == "redis-7.0":
        check = subprocess.run(
            [ROOT / "vendor/redis/src/redis-check-rdb", file], capture_output=True, text=True, timeout=60, check=False
        )
        assert check.returncode == 0 and "Checksum OK" in check.stdout and "chain-applied" in check.stdout, check.stdout
    names = ask(plain, "KEYS", "*")
    with Talk(plain) as talk:
        return dict(zip(names, talk.pipeline([("GET", name) for name in names]), strict=True))


def made(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, str]:
    status = cli.main(["backup", *map(str, words)])
    captured = capsys.readouterr()
    return status, captured.out + captured.err


def present(values: dict[str, bytes | None]) -> dict[bytes, bytes]:
    return {key.encode(): value for key, value in values.items() if value is not None}


def test_of_a_member_that_flushed_nothing(
    chain: StartChain, server: StartServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The backup contains data from before the chain as well: other types, functions and long keys."""
    cluster = chain(0)
    first = cluster.spare()
    ask(first, "RPUSH", "list", *map(str, range(300)))
    ask(first, "ZADD", "sorted", 1, "a", 2, "b")
    ask(first, "FUNCTION", "LOAD", "#!lua name=f\nredis.register_function('f', function() return 1 end)")
    cluster.add(first)
    ask(first, "MEMBER.PUT", "k" * 300, "v" * 70_000)
    back_up(first, tmp_path / "backup.rdb")
    status, said = made(capsys, tmp_path / "backup.rdb", "--output", tmp_path / "plain.rdb")
    assert status == 0 and "up to sn 0" in said and "0 keys from the checkpoint" in said
    plain = server()
    assert set(loaded(plain, tmp_path / "plain.rdb")) == {b"list", b"sorted", b"k" * 300}
    assert ask(plain, "LRANGE", "list", -1, -1) == [b"299"] and ask(plain, "FCALL", "f", 0) == 1
    assert ask(plain, "GET", "k" * 300) == b"v" * 70_000


def test_flushed_keys_are_added_from_the_checkpoint(
    chain: StartChain, server: StartServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster = chain(2, member_config=FLUSH)
    wanted = aged(cluster)
    rdb, plain_rdb = tmp_path / "backup.rdb", tmp_path / "plain.rdb"
    back_up(cluster.tail, rdb)
    cluster.stop()
    status, said = made(capsys, rdb, "--output", plain_rdb)
    assert status == 1 and "lacks the keys that its member had flushed" in said and not plain_rdb.exists()
    status, said = made(capsys, rdb, "--output", plain_rdb, "--checkpoint", folder(cluster.tail))
    assert status == 0 and "17 keys from the checkpoint" in said, said
    plain = server()
    assert loaded(plain, plain_rdb) == present(wanted)
    status, said = made(capsys, rdb, "--output", plain_rdb, "--incomplete")
    assert status == 0 and len(loaded(plain, plain_rdb)) == len(present(wanted)) - 17


def test_a_checkpoint_that_is_newer_than_the_rdb_is_all_that_counts(
    chain: StartChain, server: StartServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Records that later checkpoints have replaced may be gone."""
    cluster = chain(1, member_config=FLUSH)
    wanted = aged(cluster)
    rdb, plain_rdb = tmp_path / "backup.rdb", tmp_path / "plain.rdb"
    back_up(cluster.tail, rdb)
    ask(cluster.head, "MEMBER.PUT", "key:20", "newer")
    checkpoint(cluster)
    cluster.stop()
    status, said = made(capsys, rdb, "--output", plain_rdb, "--checkpoint", folder(cluster.tail))
    assert status == 0 and "all keys are from the checkpoint" in said
    assert loaded(server(), plain_rdb) == present(wanted | {"key:20": b"newer"})


def test_a_checkpoint_that_does_not_belong_to_it_is_refused(chain: StartChain, tmp_path: Path) -> None:
    cluster = chain(1, member_config=FLUSH)
    put(cluster, 5)
    checkpoint(cluster)
    flush(cluster)
    other = chain(1, member_config=FLUSH)
    put(other, 5)
    checkpoint(other)
    back_up(cluster.tail, tmp_path / "backup.rdb")
    _refuses("none of this RDB's history", cluster, other, tmp_path)
    shutil.copytree(folder(cluster.tail), tmp_path / "older")
    put(cluster, 5, value="again")
    checkpoint(cluster)
    flush(cluster)
    settled(cluster)
    back_up(cluster.tail, tmp_path / "backup.rdb")
    cluster.stop()
    with pytest.raises(BackupError, match="older than the RDB needs"):
        make_plain(tmp_path / "backup.rdb", tmp_path / "plain.rdb", checkpoint=tmp_path / "older")


def _refuses(says: str, cluster: Cluster, other: Cluster, tmp_path: Path) -> None:
    other.stop()
    with pytest.raises(BackupError, match=says):
        make_plain(tmp_path / "backup.rdb", tmp_path / "plain.rdb", checkpoint=folder(other.tail))


def test_damaged_files_are_refused(chain: StartChain, tmp_path: Path) -> None:
    """The files are cut off anywhere, or any byte of them is changed."""
    cluster = chain(1)
    put(cluster, 3)
    rdb, damaged = tmp_path / "backup.rdb", tmp_path / "damaged.rdb"
    back_up(cluster.head, rdb)
    whole = rdb.read_bytes()
    for at in range(len(whole)):
        for content in (whole[:at], whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :]):
            damaged.write_bytes(content)
            with damaged.open("rb") as file, pytest.raises(BackupError):
                read_source(file)
