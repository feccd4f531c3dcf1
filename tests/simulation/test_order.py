# SPDX-License-Identifier: Apache-2.0
"""The order of the steps of a pass is a contract: which steps must not be swapped, and which check finds out.

`MUST` is the whole contract: for each of its lines the simulated member runs the two steps in the other order, and
a check of that name fails. Steps that `MUST` does not order commute: the member keeps all
rules in any order that `MUST` allows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain, pairwise, product
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest

from .event_loop import AFTER_SLEEP, BEFORE_SLEEP, NOT_SIMULATED
from .model import BrokenInvariantError
from .node import Node
from .simulation import Simulation
from .walks import setting_of, walk

EVENT_LOOP = Path(__file__).parents[2] / "modules/member/event_loop"
WALKS = 8
STEPS = 1500


class Must(NamedTuple):
    """`before` runs before `after` in each pass. check: words of the check that fails otherwise.

    all_commands: it fails in chains of all commands.
    """

    before: str
    after: str
    why: str
    check: str
    all_commands: bool = False


MUST = [
    Must("forget_publications", "publish_and_answer", "what is published in a pass is acknowledged in the next one",
         "before its publication has left"),
    Must("note_flushed", "note_asleep", "Redis writes the file after the pass that records",
         "as flushed: the file lacks it"),
    Must("note_saved", "publish_and_answer", "saving commits updates at a tail", "committed updates are settled"),
    Must("note_saved", "answer_waits", "saving commits updates at a tail", "committed updates are settled"),
    Must("note_saved", "forward_updates", "the successor is told what is saved", "with a batch due"),
    Must("admit_writers", "record_updates", "admitted updates are applied", "that are not recorded"),
    Must("admit_writers", "forward_updates", "admitted updates go to the successor", "with a batch due"),
    Must("record_updates", "wake_for_disk", "what has just been recorded is on the disk only in another pass",
         "or another pass follows"),
    Must("record_updates", "publish_and_answer", "the log drops only what is recorded", "within its limits before"),
    Must("publish_and_answer", "acknowledge_updates", "a tail publishes before it acknowledges",
         "a tail acknowledges only what it has settled"),
    Must("publish_and_answer", "wake_for_acknowledgements", "what is published is acknowledged in another pass",
         "acknowledgements that are kept back"),
    Must("answer_reads", "acknowledge_updates", "a READ asks a question, which goes with the acknowledgement",
         "with an acknowledgement due"),
    Must("observe_server", "publish_and_answer", "what its server has executed is committed at a tail",
         "committed updates are settled", all_commands=True),
    Must("observe_server", "wake_for_disk", "what its server has executed is on the disk only in another pass",
         "or another pass follows", all_commands=True),
    Must("observe_server", "acknowledge_updates", "what its server has executed is acknowledged",
         "a tail acknowledges only what it has settled", all_commands=True),
    Must("observe_server", "forward_updates", "the successor is told whether this member has clients",
         "with a batch due", all_commands=True),
    Must("note_saved", "release_output", "saving commits updates at a tail", "replies that may go", all_commands=True),
    Must("observe_server", "release_output", "what is committed may be shown", "replies that may go",
         all_commands=True),
    Must("feed_own_server", "note_asleep", "its own server gets what the log has", "that its own server would take",
         all_commands=True),
    *(Must(step, "note_asleep", "the check of a pass comes last", "") for step in BEFORE_SLEEP[:-1]),
]
CHECKED = [line for line in MUST if line.check]
WHOLE_PASS = AFTER_SLEEP + BEFORE_SLEEP


def steps_of(file: str, function: str) -> list[str]:
    """The calls in the body of a function of the member, in their order."""
    text = (EVENT_LOOP / file).read_text()
    body = re.search(rf"^cdef [^\n]*\b{function}\([^\n]*:\n((?:    [^\n]*\n|\n)+)", text, re.MULTILINE)
    assert body
    return re.findall(r"^    (\w+)\(m\)$", body[1], re.MULTILINE)


def fails(order: tuple[str, ...], seed: int, steps: int, all_commands: bool) -> str:
    """What a walk finds wrong with members that run the steps of each pass in this order. Empty: nothing."""
    waking = order.index("AWAKE")

    class Reordered(Node):
        steps_after_sleep = order[:waking]
        steps_before_sleep = order[waking + 1:]

    try:
        walk(seed, Simulation(setting_of(seed, all_commands), Reordered), steps)
    except BrokenInvariantError as error:
        return str(error)
    return ""


def swapped(line: Must) -> Iterator[tuple[str, ...]]:
    """The steps of a pass with the first step right after the second, and with the second right before the first."""
    order = [*AFTER_SLEEP, "AWAKE", *BEFORE_SLEEP]
    first, second = order.index(line.before), order.index(line.after)
    yield (*order[:first], *order[first + 1:second + 1], line.before, *order[second + 1:])
    yield (*order[:first], line.after, *order[first:second], *order[second + 1:])


def any_order(random: Random) -> tuple[str, ...]:
    """The steps before sleep in any order that `MUST` allows."""
    order: list[str] = []
    while len(order) < len(BEFORE_SLEEP):
        rest = [name for name in BEFORE_SLEEP if name not in order]
        free = [name for name in rest if not any(line.after == name and line.before in rest for line in MUST)]
        order.append(random.choice(free))
    return (*AFTER_SLEEP, "AWAKE", *order)


def test_the_simulated_member_has_the_steps_of_the_member() -> None:
    assert steps_of("one_pass.pxi", "after_sleep") == list(AFTER_SLEEP)
    assert steps_of("one_pass.pxi", "before_sleep") == list(BEFORE_SLEEP)


def test_the_contract_is_about_steps_that_there_are_and_follows_their_order() -> None:
    for line in MUST:
        assert WHOLE_PASS.index(line.before) < WHOLE_PASS.index(line.after)
    assert set(NOT_SIMULATED) <= set(WHOLE_PASS)


@pytest.mark.parametrize("line", CHECKED, ids=lambda line: f"{line.before}, then {line.after}")
def test_a_check_fails_when_steps_are_swapped(line: Must) -> None:
    found = [fails(order, seed, STEPS, line.all_commands) for order in swapped(line) for seed in range(WALKS)]
    assert any(line.check in text for text in found), found


@pytest.mark.parametrize(("seed", "all_commands"), [*product(range(12), [False]), *product(range(8), [True])])
def test_all_other_steps_commute(seed: int, all_commands: bool) -> None:
    """With an order drawn for each walk."""
    assert fails(any_order(Random(seed)), seed, STEPS, all_commands) == ""


def test_each_step_that_is_simulated_and_ordered_says_so() -> None:
    """A step that neither the contract nor a reason names would be one that nobody has thought about."""
    named = set(chain.from_iterable((line.before, line.after) for line in CHECKED)) | set(NOT_SIMULATED)
    assert set(WHOLE_PASS) - named == {"read_clock", "start_once"}
    assert list(pairwise(BEFORE_SLEEP))[-1][-1] == "note_asleep"
