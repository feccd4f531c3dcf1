# SPDX-License-Identifier: Apache-2.0
"""The sample configuration files have every setting, with the default that the module and the document say."""

import re
from pathlib import Path

import pytest
import redis

from chainredis.local_cluster.ports import free_port
from chainredis.local_cluster.server import ROOT, module_path, server_path
from packages.service import PACKAGING, configure, service

SIZES = {"mb": 1 << 20, "gb": 1 << 30}
KINDS = ("master", "member")
ETCD_MASTERS = re.compile(r"master\.(etcd-|announce-host)")    # settings that libmaster.so does not have


def sample(kind: str) -> Path:
    return PACKAGING / f"config/{kind}.conf"


def shown(kind: str) -> dict[str, str]:
    """The settings of the module in the sample, and what stands there as their default."""
    found = re.findall(rf"^# ({kind}\.[\w-]+) (.*)$", sample(kind).read_text(), re.MULTILINE)
    assert len(dict(found)) == len(found)
    return {name: in_full(value) for name, value in found}


def in_full(value: str) -> str:
    """The value as CONFIG GET has it."""
    number, unit = value[:-2], value[-2:]
    return str(int(number) * SIZES[unit]) if unit in SIZES else value.replace('""', "")


def test_in_full() -> None:
    assert [in_full(text) for text in ("1mb", "2gb", '""', "yes")] == ["1048576", "2147483648", "", "yes"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_sample_has_the_settings_of_the_document(kind: str) -> None:
    document = (ROOT / "docs/configuration.md").read_text()
    first_cells = re.findall(rf"^\| (`{kind}\.[^|]*) \|", document, re.MULTILINE)
    assert shown(kind).keys() == {name for cell in first_cells for name in re.findall(r"`([^`]+)`", cell)}


@pytest.mark.parametrize("kind", KINDS)
def test_a_sample_says_before_each_setting_what_it_is(kind: str) -> None:
    for block in sample(kind).read_text().split("\n\n"):
        if re.search(rf"^# {kind}\.", block, re.MULTILINE):
            assert re.match(r"# [^\n]{10,}\n", block), block


@pytest.mark.parametrize("everything", [False, True], ids=["as_it_is", "with_every_setting"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_server_with_a_sample_has_the_defaults_that_the_sample_shows(
    kind: str, everything: bool, tmp_path: Path
) -> None:
    port = free_port()
    places = {
        "/usr/bin/redis-server": server_path(),
        "/usr/lib/chainredis/modules": module_path(f"lib{kind}.so").parent,
        "/etc/chainredis": tmp_path / "etc",
        "/var/lib/chainredis": tmp_path / "var",
    }
    copy = configure(sample(kind), port, places)
    wanted = {name: value for name, value in shown(kind).items() if not ETCD_MASTERS.match(name)}
    if everything:
        copy.write_text(copy.read_text() + "".join(f'{name} "{value}"\n' for name, value in wanted.items()))
    client = redis.Redis(port=port, protocol=2, decode_responses=True)
    with service(PACKAGING / f"systemd/redis-chain-{kind}@.service", port, places) as log, client:
        assert client.config_get(f"{kind}.*") == wanted
        assert client.config_get("dir")["dir"] == str(tmp_path / f"var/{kind}-{port}")
    assert not re.search("BUG REPORT|Traceback", log.read_text())
