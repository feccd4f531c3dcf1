# SPDX-License-Identifier: Apache-2.0
"""The command line, as far as no server is needed: how it is called and completed."""

import subprocess
import sys
from pathlib import Path

import pytest

from chainredis.cli.main import main

INSTALLED = Path(sys.executable).with_name("chainredis")
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


def test_what_is_not_understood_is_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["status"])
    assert ended.value.code == 2
    assert "usage: chainredis status" in capsys.readouterr().err


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
