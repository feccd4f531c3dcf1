# SPDX-License-Identifier: Apache-2.0
"""What every view store owes the master, on every store; then what is the file's own."""

import json
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainredis.etcd.client import Access, Connection, is_modified_at
from chainredis.etcd.url import parse_url
from chainredis.etcd.view_store import EtcdStore
from chainredis.protocol.errors import Deposed, EtcdAway, StoreError
from chainredis.protocol.reconfiguration import Configuration
from chainredis.protocol.view import Kind, Member, View
from chainredis.storage import view_store
from chainredis.storage.ab_file import SLOT_BYTES
from chainredis.storage.view_store import (
    FORMAT,
    FileStore,
    MemoryStore,
    ViewStore,
    configuration_from_text,
    configuration_to_text,
)
from chainredis.transport.waiting import wait_until
from etcd.conftest import shared_etcd, url

__all__ = ["shared_etcd", "url"]

MEMBERS = tuple(Member(f"host{n}", f"10.0.0.{n}", 6370 + n, f"{n:040x}") for n in range(3))
CHANGE = Configuration(
    View("0a" * 16, 7, MEMBERS[:2], "0b" * 16, Kind.ALL), leaving=MEMBERS[2:], pending=True, lease_ms=15000,
    awaited=MEMBERS[1:], fallen=MEMBERS[:1], durable=(MEMBERS[1].run_id,), formed_from="c" * 40,
)  # fmt: skip
NEXT = Configuration(replace(CHANGE.view, epoch=8, members=MEMBERS[:1]))


# ------------------------------------------------------------------------------------- the contract of all stores

Reopen = Callable[[], ViewStore]


@pytest.fixture(params=["memory", "file", "etcd"])
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Reopen]:
    """Gives the same store again and again, as a master does that starts anew."""
    if request.param == "etcd":
        with elections(request.getfixturevalue("url")) as lead:
            yield lead
        return
    memory = MemoryStore()
    stores: dict[str, Reopen] = {"memory": lambda: memory, "file": lambda: FileStore(tmp_path)}
    yield stores[request.param]


@contextmanager
def elections(url: str) -> Iterator[Callable[[], EtcdStore]]:
    """Each call is another master's victory: it has put the leader's key anew."""
    where = parse_url(url)
    with closing(Connection(Access(where.endpoints), 5)) as connection:

        def lead() -> EtcdStore:
            term = connection.put_if([], where.keys.leader, "somebody")
            assert term
            return EtcdStore(connection, where.keys, term, "somebody")

        yield lead


def test_nothing_is_stored_at_first(reopen: Reopen) -> None:
    assert reopen().load() is None


def test_what_was_saved_is_loaded_whole(reopen: Reopen) -> None:
    reopen().save(CHANGE)
    assert reopen().load() == CHANGE


def test_the_last_one_counts(reopen: Reopen) -> None:
    store = reopen()
    store.save(CHANGE)
    store.save(NEXT)
    assert store.load() == NEXT
    assert reopen().load() == NEXT


# ----------------------------------------------------------------------------------------------------- in etcd


def test_who_has_lost_the_lead_changes_nothing(url: str) -> None:
    with elections(url) as lead:
        before = lead()
        before.save(CHANGE)
        after = lead()
        with pytest.raises(Deposed):
            before.save(NEXT)
        assert after.load() == CHANGE
        after.save(NEXT)
        with pytest.raises(Deposed):
            before.save(CHANGE)
        assert after.load() == NEXT


def test_a_term_begins_with_what_its_first_revision_has(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    where = parse_url(url)
    with elections(url) as lead, closing(Connection(Access(where.endpoints), 5)) as connection:
        for stored in (None, CHANGE):
            if stored:
                lead().save(stored)
            begun = connection.put_and_read([], where.keys.leader, "somebody", 0, where.keys.view)
            assert begun
            store = EtcdStore(connection, where.keys, begun[0], "somebody", begun[1])
            with monkeypatch.context() as patch:
                patch.setattr(Connection, "read", None)
                assert store.load() == stored
            assert store.load() == stored
        store.save(NEXT)
        assert lead().load() == NEXT
        never = [is_modified_at(where.keys.leader, 1)]
        assert connection.put_and_read(never, where.keys.leader, "another", 0, where.keys.view) is None


def test_a_leader_that_has_not_read_overwrites_nothing(url: str) -> None:
    with elections(url) as lead:
        lead().save(CHANGE)
        with pytest.raises(StoreError, match="changed by somebody else"):
            lead().save(NEXT)
        assert lead().load() == CHANGE


def test_a_save_that_is_carried_out_twice_has_succeeded(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer to the first attempt was lost on its way."""
    put_if = Connection.put_if

    def put_twice(*arguments: Any) -> int | None:
        put_if(*arguments)
        return put_if(*arguments)

    with elections(url) as lead:
        store = lead()
        store.save(CHANGE)
        monkeypatch.setattr(Connection, "put_if", put_twice)
        store.save(NEXT)
        monkeypatch.undo()
        assert store.load() == NEXT
        store.save(CHANGE)


def test_a_request_that_failed_may_be_under_way(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until something else is stored, which keeps it from being carried out."""

    def fail(*arguments: Any) -> None:
        raise EtcdAway("no answer in time")

    with elections(url) as lead:
        store = lead()
        store.save(CHANGE)
        seen = [store.is_certain]
        monkeypatch.setattr(Connection, "put_if", fail)
        with pytest.raises(StoreError):
            store.save(NEXT)
        monkeypatch.undo()
        assert store.load() == CHANGE
        seen.append(store.is_certain)
        store.save(CHANGE)
        assert [*seen, store.is_certain] == [True, False, True]


def test_a_term_of_the_same_number_in_an_etcd_that_was_restored_is_another(url: str) -> None:
    """It counts its revisions anew, and another master may get the number that this one's term had."""
    where = parse_url(url)
    with elections(url) as lead, closing(Connection(Access(where.endpoints), 5)) as connection:
        lead().save(CHANGE)
        term = connection.read(where.keys.leader).entries[where.keys.leader].modified
        former = EtcdStore(connection, where.keys, term, "somebody else")
        assert former.load() == CHANGE
        with pytest.raises(Deposed):
            former.save(NEXT)


def test_what_is_not_the_leaders_own_is_seen(url: str) -> None:
    where = parse_url(url)
    with elections(url) as lead, closing(Connection(Access(where.endpoints), 5)) as somebody:
        store = lead()
        assert store.is_newest(None)
        store.save(NEXT)
        assert store.is_newest(somebody.read(where.keys.view).entries[where.keys.view])
        somebody.put_if([], where.keys.view, configuration_to_text(CHANGE))
        assert not store.is_newest(somebody.read(where.keys.view).entries[where.keys.view])
        assert not store.is_newest(None)


# ----------------------------------------------------------------------------------------------------- the file


def test_only_the_owner_may_read_the_secret(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        store = FileStore(tmp_path)
        store.save(CHANGE)
    finally:
        os.umask(old)
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600


def test_durable_before_it_takes_the_old_ones_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """File written, file synced, file renamed, folder synced: in this order."""
    steps = noted(monkeypatch)
    FileStore(tmp_path).save(CHANGE)
    assert steps == ["fsync file", "rename", "fsync folder"]


def noted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What makes things durable, as it happens on this thread. A store of an earlier test may still write its file."""
    steps: list[str] = []
    own = threading.get_ident()
    rename, fsync, fdatasync = Path.rename, os.fsync, os.fdatasync

    def note(step: str) -> None:
        if threading.get_ident() == own:
            steps.append(step)

    def note_rename(path: Path, target: Path) -> Path:
        note("rename")
        return rename(path, target)

    def note_fsync(descriptor: int) -> None:
        note("fsync folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "fsync file")
        fsync(descriptor)

    def note_fdatasync(descriptor: int) -> None:
        note("fdatasync")
        fdatasync(descriptor)

    monkeypatch.setattr(Path, "rename", note_rename)
    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "fdatasync", note_fdatasync)
    return steps


def test_a_later_change_is_durable_without_a_new_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FileStore, "_catch_up_later", lambda *_: None)
    store = FileStore(tmp_path)
    store.save(CHANGE)
    store.save(NEXT)
    steps = noted(monkeypatch)
    store.save(CHANGE)
    assert steps == ["fdatasync"]
    assert FileStore(tmp_path).load() == CHANGE


def test_the_file_that_people_read_catches_up(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    for epoch in range(1, 20):
        store.save(at_epoch(epoch))
    wait_until(lambda: configuration_from_text(store.path.read_text()) == at_epoch(19), 10)


def test_a_change_does_not_wait_for_the_file_that_people_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That file has just got its new name, and a busy disk takes its time to make the name durable."""
    store, is_named, may_go_on = FileStore(tmp_path), threading.Event(), threading.Event()
    store.save(at_epoch(1))

    def take_time(folder: Path) -> None:
        is_named.set()
        may_go_on.wait(5)

    monkeypatch.setattr(view_store, "CATCH_UP_AFTER_S", 0.0)
    monkeypatch.setattr(view_store, "sync_folder", take_time)
    store.save(at_epoch(2))
    assert is_named.wait(10)
    steps = noted(monkeypatch)
    store.save(at_epoch(3))
    may_go_on.set()
    assert steps == ["fdatasync"]
    wait_until(lambda: configuration_from_text(store.path.read_text()) == at_epoch(3), 10)


def test_no_change_waits_for_a_thread_to_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as that takes, members would wait for the view."""
    begun: list[threading.Thread] = []
    monkeypatch.setattr(threading.Thread, "start", begun.append)
    monkeypatch.setattr(view_store, "CATCH_UP_AFTER_S", 0.0)
    store = FileStore(tmp_path)
    store.save(at_epoch(1))
    store.save(at_epoch(2))
    wait_until(lambda: configuration_from_text(store.path.read_text()) == at_epoch(2), 10)
    assert not begun


def test_a_readable_file_that_cannot_be_written_is_written_with_the_next_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(folder: Path) -> None:
        monkeypatch.undo()
        raise RuntimeError("nobody has thought of this")

    store = FileStore(tmp_path)
    store.save(at_epoch(1))
    monkeypatch.setattr(view_store, "CATCH_UP_AFTER_S", 0.0)
    monkeypatch.setattr(view_store, "sync_folder", fail)
    store.save(at_epoch(2))
    wait_until(lambda: "nobody has thought of this" in caplog.text and store._behind is None, 10)
    store.save(at_epoch(3))
    wait_until(lambda: configuration_from_text(store.path.read_text()) == at_epoch(3), 10)


def at_epoch(epoch: int) -> Configuration:
    return replace(CHANGE, view=replace(CHANGE.view, epoch=epoch))


@pytest.fixture
def ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FileStore:
    """The file has epoch 1, the slots 2 and 3."""
    monkeypatch.setattr(FileStore, "_catch_up_later", lambda *_: None)
    store = FileStore(tmp_path)
    for epoch in (1, 2, 3):
        store.save(at_epoch(epoch))
    return store


@pytest.mark.parametrize("cut", [0, 1, 80, 500])
def test_a_slot_that_was_written_in_part_leaves_the_one_before(ahead: FileStore, cut: int) -> None:
    slots = ahead.path.with_suffix(".slots")
    data = bytearray(slots.read_bytes())
    start = SLOT_BYTES  # of the one with epoch 3
    data[start + cut : start + cut + 512] = bytes(512)
    slots.write_bytes(data)
    assert FileStore(ahead.path.parent).load() == at_epoch(2)


def test_slots_of_another_history_mean_nothing(ahead: FileStore) -> None:
    other = replace(CHANGE, view=replace(CHANGE.view, history="0c" * 16))
    ahead.save(other)
    assert FileStore(ahead.path.parent).load() == other
    later = replace(other, pending=False)
    ahead.save(later)
    assert FileStore(ahead.path.parent).load() == later


def test_to_move_the_file_away_is_to_begin_anew(ahead: FileStore) -> None:
    ahead.path.unlink()
    store = FileStore(ahead.path.parent)
    assert store.load() is None
    anew = replace(CHANGE, view=replace(CHANGE.view, history="0c" * 16, epoch=1))
    store.save(anew)
    assert FileStore(ahead.path.parent).load() == anew


def test_a_file_that_was_repaired_by_hand_counts(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    store.save(CHANGE)
    store.save(NEXT)
    wait_until(lambda: configuration_from_text(store.path.read_text()) == NEXT, 10)
    store.path.write_text(store.path.read_text().replace("10.0.0.0", "10.0.0.9"))
    loaded = FileStore(tmp_path).load()
    assert loaded and loaded.view.head.address == "10.0.0.9"


def test_a_change_that_is_too_long_for_a_slot_is_an_error(ahead: FileStore) -> None:
    crowd = tuple(Member("h" * 255, "10.0.0.1", 1, f"{n:040x}") for n in range(1000))
    with pytest.raises(StoreError, match="has no room"):
        ahead.save(replace(CHANGE, awaited=crowd))
    assert FileStore(ahead.path.parent).load() == at_epoch(3)


@pytest.mark.parametrize("is_first", [True, False])
def test_a_write_cut_short_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_first: bool) -> None:
    store = FileStore(tmp_path)
    if not is_first:
        store.save(at_epoch(1))
    store.save(CHANGE)

    def full_disk(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full_disk)
        patch.setattr(os, "pwrite", lambda descriptor, data, at: full_disk(descriptor))
        with pytest.raises(StoreError, match="No space left"):
            store.save(NEXT)
    assert FileStore(tmp_path).load() == CHANGE
    store.save(NEXT)
    assert FileStore(tmp_path).load() == NEXT


def damaged() -> dict[str, str]:
    whole = configuration_to_text(CHANGE)
    fields = json.loads(whole)

    def changed(**new: object) -> str:
        return json.dumps(fields | new)

    def view_changed(**new: object) -> str:
        return changed(view=fields["view"] | new)

    return {
        "empty": "",
        "cut short": whole[:100],
        "another kind": "[]",
        "deep": "[" * 100_000,
        "a later format": changed(format=FORMAT + 1),
        "a field too many": changed(more=1),
        "a lease without end": changed(lease_ms=10**9),
        "a lease below nothing": changed(lease_ms=-1),
        "durable, but who": changed(durable=[1]),
        "no view": changed(view={}),
        "epoch as text": view_changed(epoch="7"),
        "epoch as a truth value": view_changed(epoch=True),
        "an unknown kind": view_changed(kind="some"),
        "epoch 0": view_changed(epoch=0),
        "nobody": view_changed(members=[]),
        "member without port": view_changed(members=[{"host": "h"}]),
        "short secret": view_changed(secret="0b"),
        "secret of other digits": view_changed(secret="zz" * 16),
    }


@pytest.mark.parametrize("damage", damaged())
def test_damage_in_etcd_is_never_taken_for_nothing_stored(url: str, damage: str) -> None:
    with elections(url) as lead:
        store = lead()
        store._connection.put_if([], store._keys.view, damaged()[damage])
        with pytest.raises(StoreError, match="is damaged") as caught:
            store.load()
    assert CHANGE.view.secret not in str(caught.value)


@pytest.mark.parametrize("damage", damaged())
def test_damage_is_never_taken_for_nothing_stored(tmp_path: Path, damage: str) -> None:
    store = FileStore(tmp_path)
    store.path.write_text(damaged()[damage])
    with pytest.raises(StoreError, match="is damaged") as caught:
        store.load()
    assert CHANGE.view.secret not in str(caught.value)


@pytest.mark.parametrize("trouble", ["a folder", "not text", "no folder at all"])
def test_what_cannot_be_read_is_an_error(tmp_path: Path, trouble: str) -> None:
    store = FileStore(tmp_path / "none" if trouble == "no folder at all" else tmp_path)
    if trouble == "a folder":
        store.path.mkdir()
    elif trouble == "not text":
        store.path.write_bytes(b"\xff\xfe")
    with pytest.raises(StoreError):
        store.load()


@given(st.text())
def test_any_text_is_a_change_or_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        configuration_from_text(text)


def test_two_masters_never_share_a_folder(tmp_path: Path) -> None:
    FileStore(tmp_path).save(CHANGE)
    script = "import sys, pathlib, chainredis.storage.view_store as s; s.FileStore(pathlib.Path(sys.argv[1])).load()"
    command = [sys.executable, "-c", script, str(tmp_path)]
    here = Path(__file__).parents[2]
    other = subprocess.run(command, cwd=here, capture_output=True, text=True, timeout=60, check=False)
    assert "StoreError: another master uses the folder" in other.stderr


NEW_IN_2 = {"number": 0, "lease_ms": 0, "awaited": (), "fallen": ()}
NEW_IN_3 = {"durable": (), "formed_from": ""}


@pytest.mark.parametrize(("version", "lacks"), [(1, {**NEW_IN_2, **NEW_IN_3}), (2, NEW_IN_3), (4, {})])
def test_a_file_of_an_earlier_version_is_read(version: int, lacks: dict[str, Any]) -> None:
    data = json.loads(configuration_to_text(CHANGE))
    for name in lacks:
        del data[name]
    del data["view"]["kind"]
    before = replace(CHANGE, view=replace(CHANGE.view, kind=Kind.PUT))
    filled = replace(before, **{name: value for name, value in lacks.items() if name != "number"})
    assert configuration_from_text(json.dumps(data | {"format": version})) == filled
