# SPDX-License-Identifier: Apache-2.0
"""The pages of a log's updates (modules/core/payloads.pxd): what went in comes out, and pages do not stay."""

from __future__ import annotations

from collections import deque

from hypothesis import example, given
from hypothesis import strategies as st

from core_extension.core import Payloads

PAGE_ROOM = 64 * 1024 - 32

bounds = st.sampled_from([PAGE_ROOM, PAGE_ROOM + 1, 300_000])
sizes = st.one_of(st.integers(1, 200), st.integers(20_000, 70_000), bounds)
steps = st.lists(st.one_of(st.none(), sizes), max_size=60)  # None: the oldest update leaves


@given(steps)
@example([PAGE_ROOM, PAGE_ROOM, None, None, 1])
@example([1, None, PAGE_ROOM + 1, None, 1])
@example([PAGE_ROOM + 1, 1, None, None])
@example([1, None, 300_000, 1, None, None])
def test_updates_come_out_as_they_went_in(given_steps: list[int | None]) -> None:
    pages, kept = Payloads(), deque[bytes]()
    for number, size in enumerate(given_steps):
        if size is not None:
            kept.append(bytes([number]) * size)
            pages.take(kept[-1])
        elif kept:
            assert pages.give() == kept.popleft()
        assert pages.pages <= 1 + 2 * sum(map(len, kept)) // PAGE_ROOM + 1
    while kept:
        assert pages.give() == kept.popleft()
    assert pages.pages <= 1


def test_short_updates_share_a_page() -> None:
    pages = Payloads()
    for _ in range(PAGE_ROOM // 100):
        pages.take(bytes(100))
    assert pages.pages == 1
    pages.take(bytes(100))
    assert pages.pages == 2
