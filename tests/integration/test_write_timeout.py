# SPDX-License-Identifier: Apache-2.0
"""member.write-timeout is changed while writers wait."""

from time import monotonic

from integration.conftest import StartChain
from integration.helpers import PATIENT, Error, Talk, ask, paused


def test_writers_wait_as_long_as_the_setting_says_now(chain: StartChain) -> None:
    """A lower value also frees writers that wait already: no writer waits behind an older deadline."""
    cluster = chain(2, member_config={"member.write-timeout": "600000"}, master_config=PATIENT)
    with paused(cluster.tail), Talk(cluster.head) as early, Talk(cluster.head) as late:
        early.send("MEMBER.PUT", "k", "1")
        assert early.is_silent()
        ask(cluster.head, "CONFIG", "SET", "member.write-timeout", "300")
        began = monotonic()
        reply = late("MEMBER.PUT", "k", "2")
        assert isinstance(reply, Error) and reply.startswith("UNKNOWN"), reply
        assert monotonic() - began > 0.2
        reply = early.receive()
        assert isinstance(reply, Error) and reply.startswith("UNKNOWN"), reply
