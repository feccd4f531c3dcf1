# SPDX-License-Identifier: Apache-2.0
"""The pure parts of checkpoints: the table of newer keys, the records, and what a restart makes of what it finds."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core_extension.core import (
    NOTHING,
    Candidates,
    Core,
    Distinct,
    Memtable,
    Meta,
    RecordKind,
    Recovery,
    ValuePlace,
    get_place,
    parse_record_key,
    put_place,
    read_meta,
    record_key,
    record_kind,
    value_checksum,
    weigh_recovery,
    write_meta,
)

from .members import HISTORY, OTHER, ROOMY, Member

keys = st.one_of(st.binary(max_size=12), st.binary(max_size=3).map(lambda key: key + b"\0\0\1\xff"))
sns = st.integers(-1, 1 << 40)

# ----------------------------------------------------------------------------------------------------- the table


@given(st.integers(0, (1 << 64) - 1), st.sampled_from([0, 5000]), st.lists(st.tuples(keys, sns)))
def test_the_table_is_a_dictionary(seed: int, expected: int, updates: list[tuple[bytes, int]]) -> None:
    table, model = Memtable(seed, expected), dict(updates)
    for key, sn in updates:
        table.put(key, sn)
    assert len(table) == len(model)
    assert all(table.find(key) == sn for key, sn in model.items())
    assert table.find(b"never put") is None
    assert table.entries() == list(model.items())


@given(st.lists(keys, min_size=1, unique=True))
def test_the_table_has_its_own_copies_of_the_keys(found: list[bytes]) -> None:
    table = Memtable(7)
    for key in found:
        buffer = bytearray(key)
        table.put(buffer, 5)
        buffer[:] = b"\xee" * len(buffer)
    assert table.entries() == [(key, 5) for key in found]


def test_the_table_grows_a_bucket_at_a_time() -> None:
    table = Memtable(7)
    before = table.buckets
    for n in range(20_000):
        table.put(b"key:%d" % n, n)
        assert before <= table.buckets <= before + 1
        before = table.buckets
        assert n < 3 * table.buckets
    assert table.buckets <= 20_000 // 3 + 1
    assert all(table.find(b"key:%d" % n) == n for n in range(20_000))


# keys that differ in the eighth byte, or behind it
alike = st.tuples(
    st.sampled_from([b"", b"12345", b"123456", b"1234567", b"12345678"]),
    st.lists(st.sampled_from([b"\0", b"a", b"b"]), max_size=3).map(b"".join),
).map(b"".join)


@given(st.binary(max_size=9), st.lists(keys | alike, unique=True))
@example(b"", [b"", b"\0", b"\0\0"])
@example(b"", [b"1234567b", b"1234567a", b""])
@example(b"", [b"12345678b", b"12345678a", b""])
@example(b"common", [b"", b"\0\0\0\0\0\0\0\0", b"12345678b", b"12345678", b"12345678a"])
def test_a_checkpoint_gets_its_records_in_order(common: bytes, found: list[bytes]) -> None:
    table = Memtable(7)
    for key in found:
        table.put(common + key, 5)
    in_order = table.in_order()
    assert in_order == sorted(common + key for key in found)
    assert [record_key(key, 5) for key in in_order] == sorted(record_key(key, 5) for key in in_order)


PAGE = 64 * 1024
sizes = st.one_of(st.integers(0, 100), st.integers(PAGE // 4, PAGE), st.just(3 * PAGE))
# what happens to candidates: a key of so many bytes comes, the oldest is dropped (None), or all are (False)
happenings = st.lists(st.one_of(sizes, st.none(), st.none(), st.just(False)), max_size=80)


def candidates_bytes(found: deque[tuple[bytes, int]]) -> int:
    return sum(12 + len(key) for key, _ in found)


@given(happenings, st.sampled_from([0, 50, 1000, PAGE, 10 * PAGE]))
@example([10, None, 3 * PAGE, 10, None, None], 10 * PAGE)
@example([40, 40, 40, None, 0, 0, 60], 150)
def test_candidates_are_the_newest_keys_that_have_room(happenings: list[int | None], most: int) -> None:
    queue, model = Candidates(), deque[tuple[bytes, int]]()
    for number, happening in enumerate(happenings):
        if happening is False:
            queue.clear()
            model.clear()
        elif happening is not None:
            model.append((bytes([number]) * happening, 1 << 40 | number))
            queue.add(*model[-1], most)
            while candidates_bytes(model) > most:
                model.popleft()
        elif model:
            queue.drop()
            model.popleft()
        assert queue.size == candidates_bytes(model)
        assert queue.look(3) == list(model)[:3]
        assert queue.look(64) == list(model)[:64]


@pytest.mark.parametrize("name", ["%d", "key:%012d", "%d:" + "x" * 40, "%08x"])
@pytest.mark.parametrize("seed", [0, 1, 0x9E3779B97F4A7C15])
def test_different_keys_are_counted_roughly_and_once(name: str, seed: int) -> None:
    found = Distinct(seed)
    for number in range(50_000):
        found.note((name % number).encode())
    for _ in range(2):
        assert not found.at_most(45_000)
        assert found.at_most(55_000)
        for number in range(0, 50_000, 2):
            found.note((name % number).encode())


# --------------------------------------------------------------------------------------------------- the records


@given(keys, sns)
@example(b"", -1)
@example(b"\0", 0)
def test_a_records_key_comes_back(key: bytes, sn: int) -> None:
    assert parse_record_key(record_key(key, sn)) == (key, sn)


@given(st.lists(st.tuples(keys, sns), unique=True))
def test_records_are_in_the_order_of_keys_and_the_newest_is_first(found: list[tuple[bytes, int]]) -> None:
    in_order = [parse_record_key(record) for record in sorted(record_key(key, sn) for key, sn in found)]
    assert in_order == sorted(found, key=lambda each: (each[0], -each[1]))


@given(st.binary(max_size=40))
@example(b"\1\0" + b"x" * 8)
@example(b"\1\0\xff" + b"\0\1" + b"x" * 8)
def test_what_is_no_records_key_is_told_from_one(junk: bytes) -> None:
    found = parse_record_key(junk)
    assert found is None or record_key(*found) == junk or found[1] > 1 << 62 or found[1] < -1


META = Meta(1, HISTORY.hex(), 3, 7, others=False, records=12, swept=0, boundaries=((0, 1), (5, 4)))


@pytest.mark.parametrize(
    "meta",
    [
        META,
        META._replace(format=2),
        META._replace(after=-1, watermark=-1, boundaries=(), others=True),
        META._replace(watermark=1 << 50, records=1 << 40, boundaries=tuple((n, n) for n in range(1024))),
    ],
)
def test_a_meta_record_comes_back(meta: Meta) -> None:
    assert read_meta(write_meta(meta)) == meta


@given(st.data())
def test_what_is_no_meta_record_is_told_from_one(data: st.DataObject) -> None:
    text = write_meta(META)
    at = data.draw(st.integers(0, len(text) - 1))
    text = text[:at] + data.draw(st.binary(max_size=3)) + text[at + data.draw(st.integers(0, 5)) :]
    found = read_meta(text)
    assert found is None or read_meta(write_meta(found)) == found


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"format 2\n",
        write_meta(META._replace(format=0)),
        write_meta(META._replace(format=3)),
        write_meta(META).replace(b"checkpointed 7", b"checkpointed -2"),
        write_meta(META).replace(b"checkpointed 7", b"checkpointed 4"),  # below a boundary
        write_meta(META).replace(b"boundary 5 4", b"boundary 5 1"),
        write_meta(META).replace(b"boundary 0 1\n", b"").replace(b"boundary 5 4\n", b""),
        write_meta(META)[:-1],
        write_meta(META) + b"more\n",
    ],
)
def test_impossible_meta_records(text: bytes) -> None:
    assert read_meta(text) is None


# ------------------------------------------------------------------------------------------------------ restarts

BOUNDARIES = [(0, 1), (5, 4)]


def loaded(applied: int, boundaries: list[tuple[int, int]] = BOUNDARIES) -> Core:
    member = Member("a", ROOMY)
    member.restore(HISTORY, applied, [each for each in boundaries if each[0] <= applied])
    return member


def weigh(
    member: Core,
    meta: Meta | None,
    *,
    since: int | None = None,
    incomplete: bool = False,
    others: bool = False,
) -> Recovery:
    """since: the watermark of the checkpoint whose newer keys were loaded. None if they were not loaded."""
    return weigh_recovery(member, since is not None, NOTHING if since is None else since, incomplete, others, meta)


@pytest.mark.parametrize(("since", "applied"), [(7, 7), (7, 20), (3, 20), (-1, 20)])
@pytest.mark.parametrize("incomplete", [False, True])
def test_memory_and_checkpoint_belong_together(since: int, applied: int, incomplete: bool) -> None:
    """The checkpoint may be newer than the one that was known when the memory was saved."""
    assert weigh(loaded(applied), META, since=since, incomplete=incomplete) == Recovery.BOTH


@pytest.mark.parametrize("since", [None, -1, 3])
@pytest.mark.parametrize("applied", [-1, 0, 6])
@pytest.mark.parametrize("incomplete", [False, True])
def test_the_checkpoint_is_ahead(since: int | None, applied: int, incomplete: bool) -> None:
    assert weigh(loaded(applied), META, since=since, incomplete=incomplete) == Recovery.AHEAD


@pytest.mark.parametrize(
    ("member", "meta", "since", "others"),
    [
        (loaded(20), None, 7, False),  # there is none
        (loaded(20), META._replace(history=OTHER.hex()), 7, False),
        (loaded(20), META, 8, False),  # an older one than the memory was saved with
        (loaded(20), META, None, False),  # what is newer is not known
        (loaded(20, [(0, 1), (5, 3)]), META, 7, False),  # of another epoch: the chain went on otherwise
        (loaded(6, [(0, 1), (5, 3)]), META, 3, False),
        (loaded(6), META, 3, True),  # keys that the newer checkpoint has not
        (loaded(6), META._replace(others=True), 3, False),
    ],
)
def test_what_does_not_belong_together(member: Core, meta: Meta | None, since: int | None, others: bool) -> None:
    """Memory alone counts if it has everything."""
    assert weigh(member, meta, since=since, others=others) == Recovery.ANEW
    assert weigh(member, meta, since=since, others=others, incomplete=True) == Recovery.LOST


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (b"v", RecordKind.VALUE), (b"vd", RecordKind.VALUE), (b"d", RecordKind.DELETED),
        (b"", RecordKind.DAMAGED), (b"dv", RecordKind.DAMAGED), (b"x", RecordKind.DAMAGED),
        (b"\0v", RecordKind.DAMAGED), (b"f" + bytes(20), RecordKind.APART), (b"f" + bytes(19), RecordKind.DAMAGED),
        (b"f" + bytes(21), RecordKind.DAMAGED),
    ],
)  # fmt: skip
def test_what_a_record_says(value: bytes, kind: RecordKind) -> None:
    """The database may have any bytes, or none."""
    assert record_kind(value) == kind


# -------------------------------------------------------------------------------------------- values that are apart

PRIME = (1 << 64) - 59


@given(st.binary(max_size=200) | st.integers(0, 40).map(lambda times: (PRIME**times).to_bytes(8 * times + 1)))
@example(b"")
@example((PRIME - 1).to_bytes(8))
@example(PRIME.to_bytes(8))
@example((PRIME + 1).to_bytes(8))
@example(b"\xff" * 31)
@example(b"\xff" * 32)
@example(b"\xff" * 519)
def test_a_values_checksum_is_what_it_leaves_divided_by_a_prime(value: bytes) -> None:
    assert value_checksum(value) == int.from_bytes(value) % PRIME


@given(st.binary(min_size=1, max_size=600), st.data())
def test_another_value_has_another_checksum(value: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(value) - 1))
    other = value[:at] + data.draw(st.binary(min_size=1, max_size=8)) + value[at:]
    other = other[: len(value)]
    assert (value_checksum(other) == value_checksum(value)) == (other == value)


@given(*[st.integers(0, (1 << 32) - 1)] * 3, st.integers(0, PRIME - 1))
def test_a_values_place_comes_back(file: int, offset: int, length: int, checksum: int) -> None:
    place = ValuePlace(file, offset, length, checksum)
    assert get_place(put_place(place)) == place
