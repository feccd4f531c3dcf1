# SPDX-License-Identifier: Apache-2.0
"""Fixture: a chain for all applications, emptied before each."""

from collections.abc import Iterator

import pytest

from integration.conftest import _examine
from integration.native import Replicated

DEBUG = {"enable-debug-command": "yes"}     # for DEBUG DIGEST


@pytest.fixture(scope="session")
def _kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicated]:
    chain = Replicated(3, tmp_path_factory.mktemp("applications"), DEBUG)
    try:
        chain.start()
        yield chain
    finally:
        chain.stop()
    _examine(chain.servers)


@pytest.fixture
def chain(_kept: Replicated) -> Replicated:
    _kept.head.call("FLUSHALL")
    _kept.head.call("FUNCTION", "FLUSH")
    return _kept
