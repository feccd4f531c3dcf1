# SPDX-License-Identifier: Apache-2.0
"""The command line, as far as no server is needed: how it is called and completed."""

import argparse
import re
import subprocess
import sys
from pathlib import Path

import pytest

from chainredis.cli.main import command_line, main

INSTALLED = Path(sys.executable).with_name("chainredis")
SUBCOMMANDS = next(
    list(action.choices) for action in command_line()._actions if isinstance(action, argparse._SubParsersAction)
)
# What bash does when its user presses the tabulator after these words.
COMPLETE = """
source /dev/stdin
function=$(complete -p chainredis | sed 's/.*-F \\([^ ]*\\).*/\\1/')
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}
"$function" chainredis "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.mark.parametrize("command", [[INSTALLED], [sys.executable, "-m", "chainredis"]])
def test_it_is_a_command(command: list[str | Path]) -> None:
    said = subprocess.run([*command, "--help"], capture_output=True, text=True, check=True).stdout
    assert said.startswith("usage: chainredis [-h] COMMAND ...")


@pytest.mark.parametrize(
    "words",
    [
        [], ["--watch", "-1", "h:1"], ["--watch", "0", "h:1"], ["--watch", "nan", "h:1"], ["--watch", "soon", "h:1"],
        ["--watch", "1", "--json", "h:1"], ["h"], ["h:"], ["h:0"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_what_is_not_understood_is_status_2(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["status", *words])
    assert ended.value.code == 2
    assert "usage: chainredis status" in capsys.readouterr().err


def test_an_address_without_a_port_is_told_as_that(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["status", "10.0.0.1"])
    assert "'10.0.0.1' is not HOST:PORT\n" in capsys.readouterr().err


def test_several_masters_need_an_etcd(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--masters", "3"]) == 1
    assert "--masters goes with --etcd" in capsys.readouterr().err


@pytest.mark.parametrize("words", [*SUBCOMMANDS, "checkpoint export", "checkpoint verify"])
def test_the_help_of_each_subcommand_tells_what_it_does(capsys: pytest.CaptureFixture[str], words: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*words.split(), "--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    usage, what_it_does, *_ = said.split("\n\n")
    assert usage.startswith(f"usage: chainredis {words} ")
    assert what_it_does.endswith(".")
    assert not re.search(r"default: (None|False|\))", " ".join(said.split()))


def test_zsh_gets_a_script_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "zsh"]) == 0
    script = capsys.readouterr().out
    assert script.startswith("#compdef chainredis")
    assert "bench-failover" in script


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        (["do"], {"doctor"}),
        (["bench-f"], {"bench-failover", "bench-flush"}),
        (["status", "--j"], {"--json"}),
        (["checkpoint", "ver"], {"verify"}),
        (["checkpoint", "verify", "modules/mem"], {"modules/member", "modules/member.pyx"}),
        (["run", "--commands", "a"], {"all", "auto"}),
    ],
)
def test_bash_completes_it(capsys: pytest.CaptureFixture[str], words: list[str], completed: set[str]) -> None:
    assert main(["completion", "bash"]) == 0
    script = capsys.readouterr().out
    bash = ["bash", "--norc", "-c", COMPLETE, "bash", "chainredis", *words]
    said = subprocess.run(bash, input=script, capture_output=True, text=True, check=True).stdout
    assert set(said.split()) == completed
