# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterator

import pytest

from .members import Member


@pytest.fixture(autouse=True)
def sound() -> Iterator[None]:
    """Every member that a test makes has sound state and no lost handle at its end."""
    Member.made.clear()
    yield
    for member in Member.made:
        assert member.check() == []
