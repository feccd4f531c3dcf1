# SPDX-License-Identifier: Apache-2.0
"""docs/any-command.md shows the table of differences that the tests of commands go by."""

import re

from commands.differences import OTHERWISE, PARTLY, REFUSED
from style.test_tidy import ROOT

PAGE = (ROOT / "docs/any-command.md").read_text()


def shown(command: str) -> str:
    return f"`{command.replace('|', ' ').upper()}`"


def test_the_page_has_the_table_of_differences() -> None:
    refused = [(shown(name), "refused", why) for name, why in REFUSED.items()]
    otherwise = [(shown(name), "otherwise", why) for name, why in OTHERWISE.items()]
    rows = re.findall(r"^\| (`[A-Z ]+`) \| (\w+) \| (.+) \|$", PAGE, re.MULTILINE)
    assert rows == sorted(refused + otherwise, key=lambda row: row[0].strip("`"))


def test_the_page_has_what_is_different_in_part() -> None:
    rows = re.findall(r"^\| (`[A-Z ]+`) \| (?!refused|otherwise)([^|]+) \|$", PAGE, re.MULTILINE)
    assert rows == [(shown(name), how) for name, how in PARTLY.items()]
