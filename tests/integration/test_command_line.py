# SPDX-License-Identifier: Apache-2.0
"""The command line of operators, on a running chain."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from chainredis.cli.main import main
from chainredis.local_cluster.ports import free_port
from chainredis.operator.looking import look_around
from chainredis.protocol.view import Endpoint
from chainredis.transport.waiting import wait_until
from integration.conftest import StartChain
from integration.helpers import ask, await_repair, info

WRONG, UNREACHABLE = 1, 3


def test_an_operator_sees_and_changes_a_chain(
    chain: StartChain, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster = chain(3, commands="all")
    master, (head, middle, tail) = str(cluster.master.endpoint), cluster.members

    def status(address: str) -> dict[str, list[dict[str, object]]]:
        capsys.readouterr()
        main(["status", "--json", address])
        return json.loads(capsys.readouterr().out)  # type: ignore[no-any-return]

    assert ask(head, "SET", "a", "1") == b"OK"
    for address in (master, str(tail.endpoint)):
        assert main(["status", address]) == 0
        assert "all is well" in capsys.readouterr().out
    said = status(master)
    assert [member["role"] for member in said["members"]] == ["head", "middle", "tail"]
    assert len({member["applied"] for member in said["members"]}) == 1
    wait_until(lambda: str(info(cluster.master, "master")).count("lifeline=held") == 3, 10)
    assert main(["doctor", "--json", master]) == WRONG
    (found,) = json.loads(capsys.readouterr().out)
    assert "no member has an append-only file" in found

    middle.kill()
    await_repair(cluster, middle)
    assert main(["status", master]) == WRONG
    assert "Start its server again" in capsys.readouterr().out
    nobody = Endpoint("127.0.0.1", free_port())
    seen = look_around([nobody, cluster.master.endpoint], [])
    assert [(master.leads, bool(master.trouble)) for master in seen.masters] == [(False, True), (True, False)]
    assert [member.endpoint for member in seen.members] == [head.endpoint, tail.endpoint]
    seen = look_around([nobody], [middle.endpoint, tail.endpoint])
    assert [member.endpoint for member in seen.members] == [head.endpoint, tail.endpoint]
    middle.start()
    assert main(["add", master, str(middle.endpoint)]) == 0
    assert [member["address"] for member in status(master)["members"]] == [
        str(each.endpoint) for each in (head, tail, middle)
    ]
    assert main(["remove", master, str(head.endpoint)]) == 0
    assert main(["status", master]) == 0
    capsys.readouterr()
    assert main(["status", str(head.endpoint)]) == WRONG
    assert "is in no chain (role removed)" in capsys.readouterr().out
    assert main(["remove", master, str(head.endpoint)]) == WRONG
    assert "error: " in capsys.readouterr().err


def test_data_of_another_chain_is_discarded_when_the_operator_says_so(
    chain: StartChain, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster = chain(1, commands="all")
    other = cluster.spare()
    assert ask(other, "SET", "b", "2") == b"OK"
    words = ["add", str(cluster.master.endpoint), str(other.endpoint)]
    assert main(words) == WRONG
    assert "DISCARD" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*words, "--discard", "--adopt"])
    assert main([*words, "--discard"]) == 0
    assert ask(other, "GET", "b") is None


def test_a_chain_that_is_stalled_is_shown(chain: StartChain, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is committed, so replies are held. The answers to an operator are not."""
    cluster = chain(2, commands="all")
    cluster.master.kill()
    cluster.tail.pause()
    try:
        assert main(["status", str(cluster.head.endpoint)]) == WRONG
        assert "no answer in time" in capsys.readouterr().out.replace("\n", " ")
    finally:
        cluster.tail.resume()


def test_what_cannot_be_asked_is_an_error(chain: StartChain, capsys: pytest.CaptureFixture[str]) -> None:
    cluster = chain(1)
    cluster.head.kill()
    for words in (["status", str(cluster.head.endpoint)], ["add", str(cluster.head.endpoint), "127.0.0.1:1"]):
        assert main(words) == UNREACHABLE
        assert capsys.readouterr().err == f"error: {cluster.head.endpoint}: nobody listens there\n"


def test_who_cannot_be_asked_so_is_told_how(chain: StartChain, capsys: pytest.CaptureFixture[str]) -> None:
    """A member is no master, a server wants a password, and a port is one without TLS."""
    cluster = chain(1)
    member, master = str(cluster.head.endpoint), str(cluster.master.endpoint)
    assert ask(cluster.master, "CONFIG", "SET", "requirepass", "secret") == b"OK"
    for words, remedy in (
        (["add", member, "127.0.0.1:1"], f"{member}: is a server without libmaster.so: name a master"),
        (["add", master, "127.0.0.1:1"], "refuses the login (Authentication required): see --user and the variable"),
        (["status", master], "see --user and the variable REDISCLI_AUTH"),
        (["remove", "--tls", member, "127.0.0.1:1"], "TLS: no answer in time: perhaps that is the port without TLS\n"),
    ):
        assert main(words) == UNREACHABLE
        assert remedy in capsys.readouterr().err


def test_colours_are_for_terminals(chain: StartChain) -> None:
    status = [str(Path(sys.executable).with_name("chainredis")), "status", str(chain(1).head.endpoint)]
    assert "\033" not in subprocess.run(status, capture_output=True, text=True, check=True).stdout
    plain = {name: value for name, value in os.environ.items() if name != "NO_COLOR"} | {"TERM": "xterm"}
    for more, is_coloured in (({}, True), ({"NO_COLOR": "1"}, False)):
        ours, theirs = pty.openpty()
        subprocess.run(status, stdout=theirs, env=plain | more, check=True)
        assert ("\033[32mall is well" in os.read(ours, 65536).decode()) is is_coloured
        os.close(ours)
        os.close(theirs)
