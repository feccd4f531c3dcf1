# SPDX-License-Identifier: Apache-2.0
"""What the master's log says of the changes that people ask for."""


import pytest

from chainredis.protocol.errors import CommandError
from unit.world import HOST, World


def test_changes_are_logged_with_who_asked_and_what_came_of_it(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    world.fleet.start(7000)
    assert world.master.execute("MASTER.ADD", [HOST.encode(), b"7000"], "10.0.0.9:5, user op") == "OK"
    assert f"MASTER.ADD {HOST} 7000: asked for by 10.0.0.9:5, user op" in caplog.messages
    assert f"MASTER.ADD {HOST} 7000: OK" in caplog.messages
    for command, arguments in (("REMOVE", (HOST, 7009)), ("FORM", (HOST, 7009)), ("ADD", ("no\nwhere", 7009, "x"))):
        with pytest.raises(CommandError) as failed:
            world.run(command, *arguments)
        assert any(line.endswith(str(failed.value)) for line in caplog.messages)
    assert not [line for line in caplog.messages if "\n" in line]
    assert not [line for line in caplog.messages if "GET_CHAIN" in line]
