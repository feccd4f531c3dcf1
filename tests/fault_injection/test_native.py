# SPDX-License-Identifier: Apache-2.0
"""Redis's own commands under random load and faults: all copies are the same, and all answers are linearizable.

Each test prints its seed; `FAULT_SEED=n` repeats it, as far as the timing of processes allows.
"""

from collections.abc import Sequence
from pathlib import Path
from time import sleep

import pytest

from chainredis.local_cluster.server import Server
from chainredis.transport.waiting import wait_until
from commands.run import same_data
from commands.wire import Wire
from fault_injection.native_clients import NativeCrowd
from fault_injection.random_load import RandomLoad
from fault_injection.test_series import seed
from integration.conftest import _examine
from integration.helpers import running
from integration.native import Replicated

__all__ = ["seed"]

DEBUG = {"enable-debug-command": "yes"}
SECONDS = 4
LOADS = 4
# The keys that will not expire in the next five seconds.
LIFETIMES = """
local found, soon = {}, (redis.call('TIME')[1] + 5) * 1000
for _, key in ipairs(redis.call('KEYS', '*')) do
    local ends = redis.call('PEXPIRETIME', key)
    if ends == -1 or ends > soon then
        found[#found + 1] = key
        found[#found + 1] = ends
    end
end
return found
"""


@pytest.mark.timeout(120)
def test_copies_are_the_same_after_random_load(tmp_path: Path, seed: int) -> None:
    chain = Replicated(3, tmp_path, DEBUG)
    loads = [RandomLoad(lambda: chain.head.endpoint, f"{seed} {number}") for number in range(LOADS)]
    try:
        chain.start()
        for _ in range(2):
            with running(*loads):
                sleep(SECONDS / 2)
            same_data(chain.members)
            same_lifetimes(chain.members)
        assert chain.head.call("INFO", "stats")["expired_keys"] > 100
        assert all(load.sent > 1000 for load in loads)
    finally:
        chain.stop()
    _examine(chain.servers)


def same_lifetimes(members: Sequence[Server]) -> None:
    """Each key that lives on ends at the same millisecond on each member: the digest does not tell."""
    seen = []
    for member in members:
        wire = Wire(member.endpoint)
        for database in range(3):
            wire("SELECT", database)
            items = wire("EVAL_RO", LIFETIMES, 0)
            seen.append((member, database, dict(zip(items[::2], items[1::2], strict=True))))
        wire.close()
    for member, database, lifetimes in seen:
        assert lifetimes == seen[database][2], f"{member}, database {database}"


@pytest.mark.timeout(120)
def test_what_clients_see_of_a_plain_server_is_linearizable(tmp_path: Path, seed: int) -> None:
    """A check of the clients and of the checker, with all kinds of objects."""
    server = Server(tmp_path)
    try:
        server.start()
        crowd = NativeCrowd([server.endpoint], seed, plain=True)
        with crowd.at_work():
            wait_until(lambda: len(crowd.calls) > 3000, 60)
        crowd.judge()
        asked = {call.words[0] for call in crowd.calls}
        assert asked >= {"LOOK", "TRANSFER", "LRANGE", "LPOP", "SMEMBERS", "GETSET", "INCRBY"}
    finally:
        server.stop()
