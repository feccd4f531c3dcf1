# SPDX-License-Identifier: Apache-2.0
"""In which order the threads of a master's sessions begin."""

from typing import cast

import pytest

from chainredis.coordinator import session_threads
from chainredis.coordinator.session_threads import Sessions


class FakeSession:
    """Notes what is done with it, in one list for all."""

    def __init__(self, name: str, done: list[str], *, answers: bool = True) -> None:
        self._name = name
        self._done = done
        self._answers = answers

    def hear(self, timeout_s: float) -> bool:
        assert 0 <= timeout_s <= session_threads.ANSWER_S
        self._done.append(f"{self._name} is heard")
        return self._answers

    def pause(self, seconds: float) -> None:
        assert 0 < seconds < session_threads.OTHERS_AFTER_S
        self._done.append("pause")

    def start(self) -> None:
        self._done.append(f"{self._name} begins")


HEARD = ["poll 1 is heard", "poll 2 is heard"]
REST = [f"{what} {number} begins" for number in (1, 2) for what in ("report", "line")]
BEGUN = ["poll 1 begins", "poll 2 begins", *REST]


def done(*answers: bool, is_new_master: bool) -> list[str]:
    found: list[str] = []
    begun = [
        cast("Sessions", (
            FakeSession(f"poll {number}", found, answers=answers[number - 1]),
            FakeSession(f"report {number}", found),
            FakeSession(f"line {number}", found),
        ))
        for number in (1, 2)
    ]  # fmt: skip
    session_threads._begin(begun, is_new_master)
    return found


def test_a_new_master_that_has_heard_all_leaves_the_interpreter_to_commands() -> None:
    assert done(True, True, is_new_master=True) == [*HEARD, "pause", *BEGUN]


@pytest.mark.parametrize("answers", [(True, False), (False, False)])
def test_a_new_master_that_has_not_heard_all_asks_at_once(answers: tuple[bool, bool]) -> None:
    assert done(*answers, is_new_master=True) == [*HEARD, *BEGUN]


def test_a_member_that_is_new_in_a_term_is_polled_at_once() -> None:
    assert done(True, True, is_new_master=False) == [*HEARD, *BEGUN]
