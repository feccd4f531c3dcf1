# SPDX-License-Identifier: Apache-2.0
"""Append-only files that are cut off, or contain invalid records."""

import pytest

from chainredis.local_cluster.cluster import MEMBER
from chainredis.local_cluster.server import Server
from chainredis.transport.waiting import wait_until
from integration.append_only import an_update, append, data, file_of
from integration.conftest import StartChain, StartServer
from integration.disks import ALWAYS, restart, without_master
from integration.helpers import (
    Talk,
    Word,
    ask,
    ask_removed,
    assert_serves,
    state,
)
from integration.test_aof_load import rewritten


def killed_after(chain: StartChain, updates: int) -> Server:
    """A member that was killed with this number of updates in its file."""
    cluster = without_master(chain(1, member_config=ALWAYS))
    for number in range(updates):
        assert ask(cluster.head, "MEMBER.PUT", f"k{number}", number) == number
    cluster.head.kill()
    return cluster.head


@pytest.mark.parametrize("missing", [1, 5, 30])
def test_a_file_that_was_cut_off(chain: StartChain, missing: int) -> None:
    """The last write was incomplete when the machine lost power: Redis removes the incomplete record."""
    member = killed_after(chain, 3)
    whole = file_of(member).read_bytes()
    file_of(member).write_bytes(whole[:-missing])
    member.start()
    assert (state(member).applied, ask_removed(member, "MGET", "k1", "k2")) == (1, [b"1", None])
    restart(member)
    assert state(member).applied == 1
BAD_RECORDS: dict[str, tuple[Word, ...]] = {
    "gap": ("CHAIN.RECORD", 1, 7, 1, an_update(b"k", b"x")),
    "older-epoch": ("CHAIN.RECORD", 0, 3, 1, an_update(b"k", b"x")),
    "no-payload": ("CHAIN.RECORD", 1, 3, 1, b""),
    "wrong-count": ("CHAIN.RECORD", 1, 3, 2, an_update(b"k", b"x")),
    "no-count": ("CHAIN.RECORD", 1, 3, 0, b""),
    "huge-count": ("CHAIN.RECORD", 1, 3, 2**63 - 1, an_update(b"k", b"x")),
    "no-numbers": ("CHAIN.RECORD", "x", "y", "z", an_update(b"k", b"x")),
    "too-short": ("CHAIN.RECORD", 1, 3, 1),
    "too-long": ("CHAIN.RECORD", 1, 3, 1, an_update(b"k", b"x"), b""),
    "place-too-far": ("CHAIN.RECORD.PLACE", "{history}", 3, 0, b"", 1, "a" * 40, 1),
    "other-chain": ("CHAIN.RECORD.PLACE", "ab" * 16, 2, 0, b"", 1, "a" * 40, 1),
    "no-history": ("CHAIN.RECORD.PLACE", "xy", 2, 0, b"", 1, "a" * 40, 1),
    "no-run-id": ("CHAIN.RECORD.PLACE", "{history}", 2, 0, b"", 1, "a", 1),
    "bad-boundaries": ("CHAIN.RECORD.PLACE", "{history}", 2, 9, b"", 1, "a" * 40, 1),
    "place-too-short": ("CHAIN.RECORD.PLACE", "{history}"),
}


@pytest.mark.parametrize("record", BAD_RECORDS.values(), ids=BAD_RECORDS)
def test_a_record_that_cannot_be_ends_what_is_loaded(chain: StartChain, record: tuple[Word, ...]) -> None:
    """Later records are ignored as well. The file is rewritten at once, without them."""
    member = killed_after(chain, 3)
    history = (member.folder / f"chain.member.{member.port}").read_text().split("history ")[1][:32]
    words = [history if word == "{history}" else word for word in record]
    append(member, words, ("CHAIN.RECORD", 1, 3, 1, an_update(b"k", b"x")))
    member.start()
    after = state(member)
    assert (after.history, after.applied, after.record_durable) == (history, 2, False)
    assert data(member) == {b"k0": b"0", b"k1": b"1", b"k2": b"2"}
    assert member.log().count("holds a record that") == 1
    wait_until(lambda: rewritten(member, 0), 30)
    restart(member)
    assert (state(member).applied, state(member).record_durable) == (2, False)
    assert member.log().count("holds a record that") == 1


def test_records_of_no_history_are_ignored(server: StartServer) -> None:
    one = server(MEMBER, **ALWAYS)
    assert ask(one, "MEMBER.PUT", "k", "v") == 0
    one.kill()
    append(one, ("CHAIN.RECORD", 0, 1, 1, an_update(b"k", b"x")))
    one.start()
    assert (state(one).role, data(one)) == ("alone", {b"k": b"v"})


@pytest.mark.parametrize("words", [("CHAIN.RECORD", 1, 1, 1, an_update(b"k", b"x")), ("CHAIN.RECORD",), *(
    record for name, record in BAD_RECORDS.items() if "place" in name)])  # fmt: skip
def test_clients_write_no_records(chain: StartChain, words: tuple[Word, ...]) -> None:
    cluster = chain(2, member_config=ALWAYS)
    assert ask(cluster.head, "MEMBER.PUT", "k", "v") == 0
    for member in cluster.members:
        assert ask(member, *words).startswith("ERR ")
        with Talk(member) as talk:
            _, _, replies = talk.pipeline([("MULTI",), words, ("EXEC",)])
            assert replies[0].startswith("ERR ")
        assert ask(member, "GET", "k") == b"v"
    assert_serves(cluster)
