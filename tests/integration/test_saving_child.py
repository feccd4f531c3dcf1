# SPDX-License-Identifier: Apache-2.0
"""A child that saves data inherits the server's connections, so it must not outlive a killed server."""

import pytest
import redis

from chainredis.local_cluster.cluster import MEMBER
from chainredis.transport.waiting import wait_until
from integration.conftest import StartServer
from integration.helpers import Talk, ask, savers
from processes import has_ended

SLOW = {"rdb_key_save_delay": str(100 * 1_000_000)}  # microseconds for each key


@pytest.mark.parametrize("command", ["BGSAVE", "BGREWRITEAOF"])
def test_connections_end_with_a_server_that_is_killed_while_saving(server: StartServer, command: str) -> None:
    one = server(MEMBER, **SLOW)
    ask(one, "MEMBER.PUT", "k", "v")
    with Talk(one) as talk:
        assert b"ackground" in talk(command)
        (child,) = savers(one)
        one.kill()
        with pytest.raises(redis.ConnectionError):
            talk.receive()
        wait_until(lambda: has_ended(child.pid), 5)
