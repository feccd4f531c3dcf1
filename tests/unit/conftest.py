# SPDX-License-Identifier: Apache-2.0
from collections.abc import Iterator
from pathlib import Path

import pytest

from unit.fake_etcd import FakeEtcd
from unit.world import QUICK, World, a_world


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with a_world(tmp_path) as world:
        yield world


@pytest.fixture
def quick_world(tmp_path: Path) -> Iterator[World]:
    """Silence for 0.4 s is an end here."""
    with a_world(tmp_path, QUICK) as world:
        yield world


@pytest.fixture
def etcd() -> FakeEtcd:
    return FakeEtcd()
