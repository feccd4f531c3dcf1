# SPDX-License-Identifier: Apache-2.0
"""The blocks in which the entries of a log lie (modules/core/log.pxd)."""

from hypothesis import example, given
from hypothesis import strategies as st

from core_extension.core import Core, Limits, log_blocks

from .members import COST, entry, settle, view

BLOCK = 1024


def keeping(updates: int) -> Core:
    """A singleton whose log keeps so many short updates."""
    core = Core("a", Limits(log_bytes=1 << 30, backlog_bytes=updates * COST, join_bytes=0))
    core.adopt(view(1, "a"))
    return core


def assert_keeps(core: Core, keys: list[int]) -> None:
    """keys: of all updates ever made."""
    kept = range(core.log_first, len(keys))
    assert [core.entry_at(sn).key for sn in kept] == keys[core.log_first :]
    whole = {sn // BLOCK for sn in kept}
    # The block of the next update may be there already.
    assert len(whole) <= log_blocks(core) <= len(whole | {len(keys) // BLOCK})


STEP = st.tuples(st.integers(1, 4 * BLOCK), st.sampled_from([10, 2000]))


@example(keep=40 * BLOCK, steps=[(7 * BLOCK + 7, 2000)] + [(4 * BLOCK, 10)] * 15)
@given(keep=st.integers(0, 40 * BLOCK), steps=st.lists(STEP, min_size=1, max_size=20))
def test_a_log_has_the_blocks_of_the_entries_that_it_keeps(keep: int, steps: list[tuple[int, int]]) -> None:
    """More entries fit after long ones have left, so that the log grows where it does not begin with its first slot."""
    core = keeping(keep)
    keys: list[int] = []
    for updates, size in steps:
        for _ in range(updates):
            new = entry(size)
            keys.append(new.key)
            assert core.assign(new) == len(keys) - 1
            settle(core)
        assert_keeps(core, keys)
    assert core.log_bytes <= keep * COST


def test_a_log_that_begins_anew_has_no_blocks() -> None:
    for updates in (0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 40 * BLOCK):
        core = keeping(40 * BLOCK)
        for _ in range(updates):
            core.assign(entry())
        settle(core)
        while core.pop_any():
            pass
        assert log_blocks(core) <= 1
        core.forget()
        assert log_blocks(core) == 0
        assert core.assign(entry()) == 0
        assert log_blocks(core) == 1
