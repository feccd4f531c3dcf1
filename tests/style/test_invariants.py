# SPDX-License-Identifier: Apache-2.0
"""docs/invariants.md lists the INVARIANTs of the modules by the rules of docs/design.md, and each rule has one."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
MODULES = ROOT / "modules"
RULES = range(1, 10)
CHECK = re.compile(r"INVARIANT\((?:[^\"]|\n)*?\"(rule \d+: [^\"]+)\"\)")


def room_of(path: Path) -> str:
    """Of the core the file, of the members and masters the folder."""
    parts = path.relative_to(MODULES).with_suffix("").parts
    return "/".join(parts) if parts[0] == "core" else "/".join(parts[:2])


def invariants() -> dict[str, set[str]]:
    """Each text, with the rooms that check it."""
    found: dict[str, set[str]] = {}
    for path in MODULES.rglob("*.p*"):
        if path.suffix not in {".pxd", ".pxi", ".pyx"} or path.name == "invariant.pxd":
            continue
        text = path.read_text()
        texts = CHECK.findall(text)
        assert len(texts) == len(re.findall(r"^ +INVARIANT\(", text, re.MULTILINE)), f"{path}: a text names no rule"
        for each in texts:
            found.setdefault(each, set()).add(room_of(path))
    return found


def table() -> str:
    lines = ["| rule | invariant | checked in |", "|---|---|---|"]
    for text, rooms in sorted(invariants().items()):
        rule, fact = text.removeprefix("rule ").split(": ", 1)
        lines.append(f"| {rule} | {fact} | {', '.join(f'`{room}`' for room in sorted(rooms))} |")
    return "\n".join(lines)


def test_each_rule_has_an_invariant() -> None:
    design = (ROOT / "docs/design.md").read_text()
    assert [int(number) for number in re.findall(r"^(\d+)\. \*\*", design, re.MULTILINE)] == list(RULES)
    assert {int(text.split()[1].rstrip(":")) for text in invariants()} == set(RULES)


def test_the_page_of_invariants_is_up_to_date() -> None:
    """`python tests/style/test_invariants.py` prints the table."""
    assert table() in (ROOT / "docs/invariants.md").read_text()


if __name__ == "__main__":
    print(table())
