# SPDX-License-Identifier: Apache-2.0
"""`chainredis checkpoint` on checkpoints of real servers."""

import json
from base64 import b64decode
from pathlib import Path

import pytest

from chainredis.cli.main import main
from chainredis.local_cluster.server import Server
from chainredis.transport.waiting import wait_until
from integration.conftest import StartChain
from integration.helpers import Talk, ask, info, settled

CHECKPOINT = {"member.gcs-mode": "checkpoint"}


def checkpoint_of(server: Server) -> Path:
    (folder,) = server.folder.glob("checkpoint-*")
    return folder


def exported(server: Server, output: Path) -> dict[bytes, bytes]:
    assert main(["checkpoint", "verify", str(checkpoint_of(server))]) == 0
    assert main(["checkpoint", "export", str(checkpoint_of(server)), "--output", str(output)]) == 0
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    return {content(line, "key"): content(line, "value") for line in lines}


def content(line: dict[str, str], name: str) -> bytes:
    return line[name].encode() if name in line else b64decode(line[f"{name}_base64"])


def test_a_servers_checkpoint_is_exported_when_the_server_is_down(
    chain: StartChain, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    cluster = chain(2, member_config=CHECKPOINT)
    names = [b"a", b"a\0", b"a\0\1", b"", b"\xff", "\u00e9".encode(), b"gone", b"again"]
    with Talk(cluster.head) as talk:
        for round_number in range(3):
            for name in names:
                talk("MEMBER.PUT", name, b"%d\xff%s" % (round_number, name))
            talk("MEMBER.DEL", b"gone")
            assert ask(cluster.tail, "TAIL.CHECKPOINT") == len(names) + 1
        talk("MEMBER.PUT", b"later", b"not in the checkpoint")
    assert main(["checkpoint", "export", str(checkpoint_of(cluster.tail))]) == 1
    assert "is in use" in capfd.readouterr().err
    cluster.stop()
    assert exported(cluster.tail, tmp_path / "output") == {name: b"2\xff" + name for name in names if name != b"gone"}


def test_a_torn_checkpoint_is_readable(chain: StartChain, tmp_path: Path) -> None:
    cluster = chain(1, member_config=CHECKPOINT)
    ask(cluster.head, "MEMBER.PUT", "old", "1")
    assert ask(cluster.tail, "TAIL.CHECKPOINT") == 1
    with Talk(cluster.head) as talk:
        talk.pipeline([("MEMBER.PUT", f"key:{n}", bytes(500_000), "me") for n in range(60)])
    settled(cluster)
    with Talk(cluster.tail) as talk:
        talk.send("TAIL.CHECKPOINT")
        wait_until(lambda: is_writing(cluster.tail) or not talk.is_silent(0), 20, interval_s=0.001)
        cluster.tail.kill()
    found = exported(cluster.tail, tmp_path / "output").keys()
    assert found in ({b"old"}, {b"old", *(b"key:%d" % n for n in range(60))})


def is_writing(server: Server) -> bool:
    return info(server, "member")["member_checkpoint"] == "writing"
