# SPDX-License-Identifier: Apache-2.0
"""Each INVARIANT of the core notices the damage that it is there for, and is told once.

`BREAKS` has a deliberate break for each of them. A new invariant of the core needs a line there.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from core_extension.core import (
    KIND_ALL,
    KIND_PUT,
    NO_LIMIT,
    Core,
    HeldOutput,
    Limits,
    OnceTable,
    corrupt,
    misuse,
    take_broken_invariants,
)

from .members import COST, ROOMY, Member, batch_of, chain, entry, forward, put, receive, view

CORE = Path(__file__).parents[3] / "modules/core"
NO_BACKLOG = Limits(log_bytes=1 << 20, backlog_bytes=0, join_bytes=0)


def alone(updates: int = 0, limits: Limits = ROOMY) -> Core:
    """A singleton. Its core is not looked at after the test, since it is damaged."""
    core = Core("a", limits)
    core.adopt(view(1, "a"))
    put(core, updates)
    return core


def pair() -> list[Core]:
    head, tail = chain("ab")
    put(head, 3)
    forward(head, tail)
    return [head, tail]


def damaged(core: Core, field: str, value: int) -> Core:
    corrupt(core, field, value)
    return core


def fenced_head_assigns() -> None:
    head = Core("a", ROOMY)
    head.adopt(view(1, "ab"))
    head.judge_epoch(2)
    head.assign(entry())


def batch_after_damage(field: str, value: int) -> None:
    _, tail = pair()
    corrupt(tail, field, value)
    tail.batch_applied(batch_of(1, 3, 0))


def waiter_is_trimmed() -> None:
    head, _ = chain("ab", limits=NO_BACKLOG)
    head.assign(entry(waiter=1 << 40))
    corrupt(head, "committed", 0)
    corrupt(head, "settled", 0)     # without its waiter being told
    corrupt(head, "unsettled_bytes", 0)
    head.pop_trimmed()


def damaged_batch(field: str, value: int) -> None:
    head, _ = pair()
    corrupt(head, field, value)
    head.doubt()        # the next batch is due, whatever is in it
    head.next_batch(100)


def unrecorded() -> None:
    core = alone(3)
    corrupt(core, "log_first", 2)
    corrupt(core, "recorded", 0)
    core.next_record(100)


def pinned_too_low() -> None:
    core = alone(3)
    core.pin()
    corrupt(core, "pinned", 1)
    corrupt(core, "log_first", 2)
    core.feed("b")


def sleeps(publishes: bool) -> None:
    core = alone()
    core.record(True)
    if publishes:
        core.published = -1
    else:
        corrupt(core, "recorded", 1)
    core.check_sleep(saves=True, flushed=0, wakes=False)


def sleeps_untrimmed() -> None:
    core = alone(3, NO_BACKLOG)
    while core.pop_settled():
        pass
    core.check_sleep(saves=False, flushed=-1, wakes=False)


def held_out_of_order() -> None:
    held = HeldOutput()
    held.hold(0, b"later", 2, 2)
    held.hold(1, b"earlier", 1, 2)


def overtaking() -> None:
    held = HeldOutput()
    held.hold(0, b"held", 1, 1)
    held.keep(0, b"overtakes")


def kept(*commands: tuple[bytes, int, int]) -> OnceTable:
    """A table with these commands: a client, a sequence number and the time."""
    table = OnceTable()
    for client, sequence, now_ms in commands:
        table.put(client, sequence, now_ms=now_ms)
    return table


def miscounted() -> None:
    table = kept((b"a", 1, 0))
    table.miscount(1)
    table.give_up(b"a")


BREAKS: dict[str, Callable[[], object]] = {
    "rule 1: the log has the update that is looked up": lambda: misuse(alone(3), "log_at", 3),
    "rule 1: what the log has is of the chain's kind": lambda: misuse(alone(3), "membership_enter", 2, 0, KIND_ALL),
    "rule 1: the stream of effects does not go back": lambda: misuse(alone(), "tickets_close", 3, 2),
    "rule 1: epochs do not go back, and each begins with an update of its own":
        lambda: misuse(alone(3), "log_note_epoch", 3, 0),
    "rule 1: the log ends with the newest update that is applied": lambda: batch_after_damage("log_end", 2),
    "rule 1: a member with a predecessor acknowledges, and no other": lambda: Core.take_ack(pair()[0]),
    "rule 1: the successor is sent what the log has, without a gap":
        lambda: damaged_batch("log_first", 4),
    "rule 1: only a member that is alone has what its log lacks": lambda: Core.continue_alone(pair()[0]),
    "rule 1: updates are recorded in order, and each once":
        lambda: misuse(alone(3), "durability_note_recorded", 1, 1),
    "rule 2: a head that is fenced assigns nothing": fenced_head_assigns,
    "rule 2: no member goes back to an older view of its history":
        lambda: misuse(alone(), "membership_enter", 0, 1, KIND_PUT),
    "rule 2: a member has one place in its view, and a learner has none":
        lambda: misuse(alone(), "membership_enter", 2, 0, KIND_PUT),
    "rule 3: a successor that heeds nothing gets nothing that a member may lose": lambda: damaged_batch("next_sn", 5),
    "rule 3: settled updates are committed, and committed updates are applied":
        lambda: damaged(alone(3), "settled", 7).saved(NO_LIMIT),
    "rule 3: only what is applied is acknowledged": lambda: damaged(pair()[1], "committed", 7).take_ack(),
    "rule 3: a tail acknowledges only what it has settled": lambda: Core.take_ack(pair()[1]),
    "rule 3: only the tail tells the head what is committed":
        lambda: misuse(pair()[0], "replication_take_head_ack"),
    "rule 3: committed updates are settled before the loop sleeps":
        lambda: alone(3).check_sleep(saves=False, flushed=-1, wakes=False),
    "rule 3: the log keeps what the append-only file lacks": unrecorded,
    "rule 3: the log has what it is pinned for": pinned_too_low,
    "rule 4: only what was asked in this epoch is answered": lambda: batch_after_damage("answered", 7),
    "rule 4: a READ waits for the answer to a question that was asked": lambda: alone().is_answered(1, 0),
    "rule 4: what is held is asked for in the order in which it was read": held_out_of_order,
    "rule 4: bytes do not overtake those that are held before them": overtaking,
    "rule 5: a history has one kind": lambda: misuse(alone(), "membership_enter", 2, 0, KIND_ALL),
    "rule 5: an epoch names one view": lambda: misuse(alone(), "membership_enter", 1, 1, KIND_PUT),
    "rule 6: a waiter is answered before its update leaves the log": waiter_is_trimmed,
    "rule 6: the sequence numbers of a client grow": lambda: kept((b"a", 2, 0), (b"a", 2, 0)),
    "rule 6: clients are kept in the order of their newest commands": lambda: kept((b"a", 1, 5), (b"b", 1, 4)),
    "rule 9: the bytes of kept replies are counted": miscounted,
    "rule 7: the table has the entry that is looked up": lambda: misuse(alone(), "memtable_at"),
    "rule 8: acknowledgements that are kept back go out in another pass": lambda: sleeps(publishes=True),
    "rule 8: what is recorded is on the disk, or another pass follows": lambda: sleeps(publishes=False),
    "rule 9: the log is within its limits before the loop sleeps": sleeps_untrimmed,
    "rule 9: the bytes of uncommitted updates are counted":
        lambda: damaged(alone(3), "unsettled_bytes", COST - 1).pop_settled(),
    "rule 9: a log that begins anew has given its entries back": lambda: alone(3).forget(),
    "rule 9: a log drops only bytes that it has": lambda: misuse(alone(), "log_drop", 1),
    "rule 9: the caller has reserved room for the entry":
        lambda: misuse(damaged(alone(3), "log_slots", 0), "log_append"),
    "rule 9: the bytes of the log are counted": lambda: misuse(damaged(alone(3), "log_bytes", 1), "log_take_first"),
    "rule 9: the bytes of the table are counted": lambda: misuse(alone(), "memtable_set", 2, 1),
}


def invariants() -> set[str]:
    """The texts of the core's invariants."""
    text = "\n".join(path.read_text() for path in CORE.rglob("*.pxd") if path.name != "invariant.pxd")
    found = re.findall(r"INVARIANT\((?:[^\"]|\n)*?\"(rule \d: [^\"]+)\"\)", text)
    assert len(found) == len(re.findall(r"^ +INVARIANT\(", text, re.MULTILINE))
    return set(found)


def test_each_invariant_has_a_break() -> None:
    assert set(BREAKS) == invariants()


@pytest.mark.parametrize("text", BREAKS)
def test_a_break_is_noticed_and_told_once(text: str) -> None:
    take_broken_invariants()
    BREAKS[text]()
    Member.made.clear()     # the damaged members are not looked at again
    assert any(told.startswith(text) for told in take_broken_invariants())
    assert take_broken_invariants() == []


def test_a_batch_that_follows_breaks_nothing() -> None:
    _, tail = pair()
    receive(tail, batch_of(1, 3, 2))
    assert take_broken_invariants() == []
