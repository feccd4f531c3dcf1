# SPDX-License-Identifier: Apache-2.0
"""Chains of five: a report of a member in the middle that is lost is made again, until the head knows."""

from itertools import pairwise

import pytest

from core_extension.core import KIND_ALL, KIND_PUT, Core

from .members import acknowledge, chain, forward, put, shake_hands_again
from .test_effect_stream import execute, write


def apply_everywhere(members: list[Core]) -> int:
    """The head writes, and all others apply it. Returns the newest sn."""
    head = members[0]
    if head.streams:
        write(head, 100)
    else:
        put(head)
    for before, after in pairwise(members):
        forward(before, after)
        if after.streams:
            execute(after)
    return head.applied


@pytest.mark.parametrize("kind", [KIND_PUT, KIND_ALL])
@pytest.mark.parametrize("told_first", [False, True])
@pytest.mark.parametrize("place", [1, 2, 3, 4])
def test_a_lost_report_is_made_again(kind: int, told_first: bool, place: int) -> None:
    """It was lost with its link, and so was what the tail had told the head itself."""
    members = chain("abcde", kind=kind)
    sn = apply_everywhere(members)
    tail = members[-1]
    if told_first:
        tail.take_head_ack()  # lost with its link
    for at in range(4, place, -1):
        acknowledge(members[at], members[at - 1])
    members[place].take_ack()
    tail.head_lost()
    members[place].predecessor_lost()
    shake_hands_again(members[place - 1], members[place], 2)
    forward(members[place - 1], members[place], 2)
    for after, before in zip(members[:0:-1], members[-2::-1], strict=True):
        acknowledge(after, before)
    assert [member.committed for member in members] == [sn] * 5
    assert not any(member.ack_due() for member in members[1:])
