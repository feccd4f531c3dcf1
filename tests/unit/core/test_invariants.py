"""An INVARIANT that is broken is noticed, and told once."""

from core_extension.core import Core, take_broken_invariants

from .members import ROOMY, entry, put, view


def test_a_head_that_assigns_although_it_is_fenced_breaks_an_invariant() -> None:
    head = Core("a", ROOMY)
    head.adopt(view(1, "ab"))
    put(head)
    assert take_broken_invariants() == []
    head.judge_epoch(2)
    assert not head.takes_writes()
    head.assign(entry())
    assert any("a head that is fenced assigns nothing" in text for text in take_broken_invariants())
    assert take_broken_invariants() == []
