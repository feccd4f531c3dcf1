# SPDX-License-Identifier: Apache-2.0
"""What is logged of a failure that repeats."""

from chainredis.coordinator.complaints import REASONS, SILENCE_S, Complaint


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_reason_is_said_once_and_then_seldom_with_its_count() -> None:
    clock = Clock()
    complaint = Complaint(clock)
    assert complaint.line("it fails") == "it fails"
    assert [complaint.line("it fails") for _ in range(1000)] == [""] * 1000
    clock.now += SILENCE_S
    assert complaint.line("it fails") == "it fails (1000 more failures since the last line)"
    assert complaint.line("it fails") == ""


def test_another_reason_is_news_and_so_is_the_same_one_after_a_success() -> None:
    complaint = Complaint(Clock())
    assert complaint.line("a") == "a"
    assert complaint.line("b") == "b"
    complaint.over()
    assert complaint.line("b") == "b"


def test_reasons_that_alternate_are_limited_and_so_are_successes_between() -> None:
    clock = Clock()
    complaint = Complaint(clock)
    said = 0
    for i in range(1000):
        said += bool(complaint.line(f"reason {i % 2}"))
        if i % 3 == 0:
            complaint.over()
    assert said == REASONS
    clock.now += SILENCE_S
    assert complaint.line("reason 0").startswith("reason 0")
