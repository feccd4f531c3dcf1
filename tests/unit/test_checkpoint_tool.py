# SPDX-License-Identifier: Apache-2.0
"""`chainredis checkpoint`: databases made here, sound and damaged ones, and what is said of them."""

import errno
import json
import os
import pkgutil
import re
import struct
import subprocess
import sys
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import plyvel  # type: ignore[import-untyped]
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chainredis.checkpoint_tool.database import opened
from chainredis.checkpoint_tool.records import FormatError, parse_meta, parse_record_key
from chainredis.cli.main import main

Update = tuple[bytes, bytes | None]

META = b"format 1\nhistory %s\nafter -1\ncheckpointed %d\nothers 0\nrecords 9\nswept 0\nboundary 0 1\n"
A_LINE = '{"key": "a", "value": "new", "sn": 1}\n'
KEYS = st.one_of(st.binary(max_size=12), st.sampled_from([b"", b"\0", b"\0\0", b"\0\1", b"\0\xff", b"a", b"a\0"]))
UPDATES = st.lists(st.tuples(KEYS, st.none() | st.binary(max_size=20)), max_size=40)


def record_key(key: bytes, sn: int) -> bytes:
    return b"\1" + key.replace(b"\0", b"\0\xff") + b"\0\1" + struct.pack(">Q", ~(sn + 1) & (1 << 64) - 1)


def meta(watermark: int) -> bytes:
    return META % (b"0a" * 16, watermark)


def chunk(after: int, watermark: int, *record_keys: bytes) -> bytes:
    return struct.pack(">qq", after, watermark) + b"".join(struct.pack(">I", len(key)) + key for key in record_keys)


class Database:
    """A checkpoint of sn 0 to 2, which may be given more."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.items = {
            b"\0meta": meta(2),
            record_key(b"a", 0): b"vold",
            record_key(b"a", 1): b"vnew",
            record_key(b"b\0\xff", 2): b"d",
        }

    def write(self, database: plyvel.DB | None = None) -> None:
        with database or plyvel.DB(str(self.folder), create_if_missing=True) as opened:
            for name, value in self.items.items():
                opened.put(name, value)

    def write_table(self) -> Path:
        """In a table, not in LevelDB's log."""
        database = plyvel.DB(str(self.folder), create_if_missing=True)
        for name, value in self.items.items():
            database.put(name, value)
        database.compact_range()
        database.close()
        (table,) = self.folder.glob("*.ldb")
        return table


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(tmp_path / "checkpoint")


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], database: Database) -> Run:
    """The subcommand on that database: its status, and what it wrote to both outputs."""

    def call(action: str, *arguments: str) -> tuple[int, str, str]:
        status = main(["checkpoint", action, str(database.folder), *arguments])
        return status, *capfd.readouterr()

    return call


def figures(output: str) -> dict[str, str]:
    return dict(re.split(r"  +", line.strip()) for line in output.splitlines() if "  " in line.strip())


# -------------------------------------------------------------------------------------------- sound ones


def parsed(line: str) -> Update:
    found: dict[str, Any] = json.loads(line)
    name, value = (
        found[name].encode() if name in found else b64decode(found[f"{name}_base64"]) for name in ("key", "value")
    )
    return name, value


@settings(deadline=None, max_examples=60)
@given(UPDATES, UPDATES, st.booleans())
def test_what_counts_at_the_watermark_is_exported(updates: list[Update], later: list[Update], finished: bool) -> None:
    with TemporaryDirectory() as folder:
        database = Database(Path(folder) / "checkpoint")
        database.items = {record_key(key, sn): value_of(value) for sn, (key, value) in enumerate(updates)}
        watermark = len(updates) - 1
        torn = {record_key(key, watermark + 1 + i): value_of(value) for i, (key, value) in enumerate(later)}
        if finished:
            database.items[b"\0meta"] = meta(watermark) if updates else meta(-1).replace(b"boundary 0 1\n", b"")
        else:
            torn |= database.items
            watermark, updates = -2, []
        if torn:
            database.items[b"\0chunk\0\0\0\0"] = chunk(watermark, 10**6, *torn)
        database.items |= torn
        database.write()
        output = Path(folder) / "output"
        assert main(["checkpoint", "export", str(database.folder), "--output", str(output)]) == 0
        exported = [parsed(line) for line in output.read_text().splitlines()]
        assert exported == sorted((key, value) for key, value in dict(updates).items() if value is not None)
        assert main(["checkpoint", "verify", str(database.folder)]) == 0


def value_of(value: bytes | None) -> bytes:
    return b"d" if value is None else b"v" + value


def test_a_line_is_a_json_object(database: Database, run: Run) -> None:
    database.items[record_key(b"b\0\xff", 1)] = b"v"  # which sn 2 has deleted
    database.items[record_key(b"\xfe", 2)] = b"v\xff\0"
    database.write()
    assert run("export") == (0, A_LINE + '{"key_base64": "/g==", "value_base64": "/wA=", "sn": 2}\n', "")


def test_verify_says_what_there_is(database: Database, run: Run) -> None:
    database.items[record_key(b"torn", 3)] = b"vx"
    database.items[b"\0chunk\0\0\0\0"] = chunk(2, 9, record_key(b"torn", 3))
    database.write()
    status, output, errors = run("verify")
    assert (status, errors) == (0, "")
    assert figures(output) == {
        "history": "0a" * 16, "watermark": "2", "keys": "1", "bytes": "4", "deletions": "1", "superseded records": "1",
        "records of an unfinished checkpoint": "1",
    }  # fmt: skip


@pytest.mark.parametrize(
    "chunks", [{b"\0chunk\0\0\0\0": chunk(-1, 9, record_key(b"a", 0))}, {}], ids=["a checkpoint", "a copy"]
)
def test_what_is_unfinished_holds_nothing(database: Database, run: Run, chunks: dict[bytes, bytes]) -> None:
    database.items = {record_key(b"a", 0): b"vx"} | chunks
    database.write()
    assert run("export") == (0, "", "")
    status, output, _ = run("verify")
    assert status == 0
    assert figures(output)["watermark"] == "none"
    assert figures(output)["records of an unfinished checkpoint"] == "1"


@pytest.mark.parametrize("in_table", [True, False])
def test_nothing_is_changed(database: Database, run: Run, tmp_path: Path, in_table: bool) -> None:
    (database.write_table if in_table else database.write)()
    before = {file.name: (file.read_bytes(), file.stat().st_mtime_ns) for file in database.folder.iterdir()}
    assert run("export")[0] == run("verify")[0] == 0
    assert {file.name: (file.read_bytes(), file.stat().st_mtime_ns) for file in database.folder.iterdir()} == before
    assert list(tmp_path.iterdir()) == [database.folder]


def test_a_server_may_have_it_again_while_it_is_read(database: Database) -> None:
    database.write_table()
    with opened(database.folder) as checkpoint:
        items = checkpoint.items()
        first = next(items)
        with plyvel.DB(str(database.folder)) as server:
            for name, _ in list(server):
                server.delete(name)
            server.compact_range()
        assert dict([first, *items]) == database.items


@pytest.mark.parametrize("call", ["tempfile.mkdtemp", "pathlib.Path.hardlink_to"])
def test_where_nothing_can_be_written_it_is_copied_elsewhere(
    database: Database, run: Run, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    database.write_table()
    module, _, name = call.rpartition(".")
    genuine = getattr(pkgutil.resolve_name(module), name)

    def only_elsewhere(*arguments: Any, dir: Path | None = None, **options: Any) -> Any:  # noqa: A002 - its name there
        if dir or not options:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return genuine(*arguments, **options)

    monkeypatch.setattr(call, only_elsewhere)
    assert run("export") == (0, A_LINE, "")


def test_a_reader_that_has_enough_is_no_error(database: Database, tmp_path: Path) -> None:
    database.items |= {record_key(b"%06d" % n, 2): b"v" + bytes(100) for n in range(10_000)}
    database.write()
    command = [sys.executable, "-m", "chainredis", "checkpoint", "export", str(database.folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout and process.stderr
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 0
    assert list(tmp_path.iterdir()) == [database.folder]


def test_a_bar_shows_how_far_it_is(database: Database, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    database.write()
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    status, output, errors = run("export")
    assert (status, output) == (0, A_LINE)
    assert "exporting" in errors
    assert "3/9" in errors


# ------------------------------------------------------------------------------------------ damaged ones


@pytest.mark.parametrize(
    ("items", "fault"),
    [
        ({record_key(b"x", 3): b"v"}, "1 records are above the watermark; unfinished checkpoints name 0"),
        ({b"\0chunk\0\0\0\0": chunk(2, 9, record_key(b"x", 3))}, "which is not there"),
        ({b"\0chunk\0\0\0\0": chunk(2, 9, record_key(b"a", 1))}, "which is none of its own"),
        ({b"\0chunk\0\0\0\0": chunk(2, 3, record_key(b"a", 4)), record_key(b"a", 4): b"v"}, "which is none of its own"),
        ({b"\0chunk\0\0\0\0": chunk(2, 9, b"\1" + bytes(8))}, "is no record's key"),
        ({b"\0chunk\0\0\0\0": chunk(2, 9, record_key(b"x", 3))[:-1]}, "is cut off"),
        ({b"\0chunk\0\0\0\0": b"short"}, "is no chunk record"),
        ({b"\0chunk": chunk(2, 9)}, "is no chunk record"),
        ({record_key(b"x", 2): b""}, "is neither a value nor a deletion"),
        ({record_key(b"x", 2): b"dx"}, "is neither a value nor a deletion"),
        ({record_key(b"x", 2)[:-1]: b"v"}, "is no record's key"),
        ({b"\1x\0y\0\1" + bytes([255]) * 8: b"v"}, "it is not escaped"),
        ({b"\1x\0\0\1" + bytes([255]) * 8: b"v"}, "it is not escaped"),
        ({b"\1x\0\1" + bytes(8): b"v"}, "there is no such version"),
        ({record_key(b"x", 2): b"f" + bytes(19)}, "is neither a value nor a deletion"),
        ({record_key(b"x", 2): b"f" + bytes(20)}, "values/00000000: No such file or directory"),
        ({b"\0file\0\0\0\1": b"\0\0\0\0"}, "values/00000001: No such file or directory"),
        ({b"\0file\0\0\0\1": b""}, "is no record of a file"),
        ({b"\0file\0\0\1": bytes(4)}, "is no record of a file"),
        ({b"other": b""}, "is nothing that a checkpoint has"),
        ({b"\0meta2": b""}, "is nothing that a checkpoint has"),
    ],
)  # fmt: skip
def test_verify_finds_what_does_not_belong(database: Database, run: Run, items: dict[bytes, bytes], fault: str) -> None:
    database.items |= items
    database.write()
    status, output, errors = run("verify")
    assert status == 1
    assert fault in output
    assert "faults" in errors


def test_verify_names_some_of_many_faults(database: Database, run: Run) -> None:
    database.items |= {b"other %d" % n: b"" for n in range(100)}
    database.write()
    status, output, errors = run("verify")
    assert status == 1
    assert output.count("is nothing that a checkpoint has") == 20
    assert "100 faults" in errors


@pytest.mark.parametrize("action", ["export", "verify"])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"format 1", b"format 3"), (b"0a0a", b"0a0A"), (b"after -1", b"after 3"), (b"ed 2", b"ed -2"),
        (b"ed 2", b"ed 2\r"), (b"others 0", b"others 2"), (b"records 9", b"records -9"), (b"swept 0\n", b""),
        (b"boundary 0 1", b"boundary 3 1"), (b"boundary 0 1\n", b""), (b"0 1\n", b"0 1\nboundary 0 2\n"),
        (b"0 1\n", b"0 1\nboundary 1 1\n"), (b"0 1\n", b"0 1"), (b"0 1\n", b"0 1\nmore\n"), (b"0 1", b"0 \xff"),
    ],
)  # fmt: skip
def test_a_meta_record_that_is_none_is_an_error(
    database: Database, run: Run, action: str, old: bytes, new: bytes
) -> None:
    assert old in database.items[b"\0meta"]
    database.items[b"\0meta"] = database.items[b"\0meta"].replace(old, new)
    database.write()
    status, output, errors = run(action)
    assert (status, output) == (1, "")
    assert errors.startswith("error: the meta record")


@pytest.mark.parametrize("action", ["export", "verify"])
def test_a_flipped_bit_is_found_by_its_checksum(database: Database, run: Run, action: str) -> None:
    table = database.write_table()
    content = bytearray(table.read_bytes())
    content[20] ^= 1
    table.write_bytes(content)
    status, _, errors = run(action)
    assert status == 1
    assert errors.startswith("error: LevelDB says: Corruption: ")


LONG = b"long value" * 20


def with_values_apart(database: Database) -> Path:
    """Put two values into a file. Behind them is what an unfinished checkpoint has left."""
    (database.folder / "values").mkdir(parents=True)
    file = database.folder / "values/0000000a"
    file.write_bytes(LONG + LONG[::-1] + b"torn")
    database.items[b"\0meta"] = meta(2).replace(b"format 1", b"format 2")
    database.items[b"\0file\0\0\0\x0a"] = struct.pack(">I", 2 * len(LONG))
    for number, value in enumerate((LONG, LONG[::-1])):
        checksum = int.from_bytes(value) % (2**64 - 59)
        place = struct.pack(">IIIQ", 10, number * len(LONG), len(LONG), checksum)
        database.items[record_key(b"long%d" % number, number)] = b"f" + place
    database.write()
    return file


def test_values_that_are_apart_are_exported(database: Database, run: Run, tmp_path: Path) -> None:
    file = with_values_apart(database)
    before = file.read_bytes(), file.stat().st_mtime_ns
    status, output, errors = run("export")
    assert (status, errors) == (0, "")
    assert [parsed(line) for line in output.splitlines()] == [
        (b"a", b"new"), (b"long0", LONG), (b"long1", LONG[::-1]),
    ]  # fmt: skip
    status, output, errors = run("verify")
    assert (status, errors, figures(output)["bytes"]) == (0, "", str(4 + 2 * len(LONG) + 10))
    assert (file.read_bytes(), file.stat().st_mtime_ns) == before
    assert list(tmp_path.iterdir()) == [database.folder]


@pytest.mark.parametrize("damage", ["missing", "short", "another", "a bit"])
def test_a_damaged_value_is_an_error_and_no_other_value(database: Database, run: Run, damage: str) -> None:
    file = with_values_apart(database)
    if damage == "missing":
        file.unlink()
    elif damage == "short":
        os.truncate(file, 2 * len(LONG) - 1)
    elif damage == "another":
        file.write_bytes(LONG * 2)
    else:
        file.write_bytes(LONG + LONG[:0:-1] + b"m")
    for action in ("export", "verify"):
        status, output, errors = run(action)
        assert status == 1
        assert LONG[:0:-1].decode() not in output
        assert "values/0000000a" in output + errors


@pytest.mark.parametrize("action", ["export", "verify"])
@pytest.mark.parametrize("damage", ["missing", "short", "empty"])
def test_a_table_that_is_not_whole_is_an_error(database: Database, run: Run, action: str, damage: str) -> None:
    table = database.write_table()
    if damage == "missing":
        table.unlink()
    else:
        os.truncate(table, table.stat().st_size - 10 if damage == "short" else 0)
    status, _, errors = run(action)
    assert status == 1
    assert errors.startswith("error: LevelDB says: ")


def test_what_was_torn_from_the_log_was_not_written_yet(database: Database, run: Run) -> None:
    database.write()
    (log,) = database.folder.glob("*.log")
    os.truncate(log, log.stat().st_size - 1)
    assert run("export") == (0, A_LINE, "")


def test_what_is_in_use_is_left_alone(database: Database, run: Run) -> None:
    database.write()
    hold = "import fcntl, sys; f = open(sys.argv[1], 'r+'); fcntl.lockf(f, fcntl.LOCK_EX); print(flush=True); input()"
    command = [sys.executable, "-c", hold, str(database.folder / "LOCK")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout
        holder.stdout.readline()
        status, output, errors = run("export")
        holder.communicate(b"\n")
    assert (status, output) == (1, "")
    assert "is in use: shut down the server that has it open" in errors
    assert run("export")[0] == 0


def test_a_copy_without_the_lock_is_readable(database: Database, run: Run) -> None:
    database.write()
    (database.folder / "LOCK").unlink()
    assert run("verify")[0] == 0


def test_what_is_no_database_is_an_error(database: Database, run: Run, tmp_path: Path) -> None:
    assert run("verify") == (1, "", f"error: {database.folder} holds no LevelDB database\n")
    database.folder.write_text("a file")
    assert run("export") == (1, "", f"error: {database.folder} holds no LevelDB database\n")
    database.folder = tmp_path / ("long" * 100)
    assert run("export") == (1, "", f"error: {database.folder}: File name too long\n")


def test_what_cannot_be_written_is_an_error(database: Database, run: Run) -> None:
    database.write()
    status, _, errors = run("export", "--output", "/dev/full")
    assert status == 1
    assert "not all is there" in errors


@given(KEYS, KEYS, st.integers(-1, 2**62), st.integers(-1, 2**62))
def test_records_are_ordered_by_key_and_then_the_newest_first(one: bytes, other: bytes, sn: int, later: int) -> None:
    assert parse_record_key(record_key(one, sn)) == (one, sn)
    assert (record_key(one, sn) < record_key(other, later)) == ((one, -sn) < (other, -later))


@given(st.binary())
def test_junk_is_refused_and_nothing_else_happens(junk: bytes) -> None:
    for parse in (parse_meta, parse_record_key):
        with pytest.raises(FormatError):
            parse(junk)
