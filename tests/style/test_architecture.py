# SPDX-License-Identifier: Apache-2.0
"""docs/architecture.md: the rooms that it shows are those of the code, and what it names is where it says."""

import re
from pathlib import Path

import pytest

from style.test_tidy import CYTHON_ROOMS, PYTHON_ROOMS, ROOT, closure, relative

PAGE = (ROOT / "docs/architecture.md").read_text()
PATH = r"(?:modules|chainredis|tests)/[\w/]+\.\w+"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


def rows(columns: int) -> list[list[str]]:
    """The cells of all rows of tables with so many columns."""
    cells = [line.strip().strip("|").split("|") for line in PAGE.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row] for row in cells if len(row) == columns]


def codes(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def steps() -> list[tuple[str, list[str]]]:
    """Each function with the files that may define it: of the tables, and of the text."""
    tables = [(codes(names), codes(files)) for _, names, files in rows(3) if re.match(PATH, files[1:])]
    in_tables = [(name, files) for names, files in tables for name in names]
    flat = re.sub(r"\s+", " ", PAGE)
    return in_tables + [(name, [path]) for name, path in re.findall(rf"`(\w+)` \(`({PATH})`\)", flat)]


@pytest.mark.parametrize("rooms", [CYTHON_ROOMS, PYTHON_ROOMS], ids=["modules", "chainredis"])
def test_the_rooms_are_those_of_the_code(rooms: dict[str, set[str]]) -> None:
    arrows = {room.strip("`"): set(codes(imports)) for room, _, imports in rows(3)}
    assert closure({room: imports for room, imports in arrows.items() if room in rooms}) == rooms


def test_steps_are_found() -> None:
    assert len(steps()) > 60


@pytest.mark.parametrize(("name", "files"), steps(), ids=[f"{name}-{files[0]}" for name, files in steps()])
def test_a_step_is_defined_where_it_is_said_to_be(name: str, files: list[str]) -> None:
    definition = re.compile(rf"^[ \t]*(?:async )?(?:def|class|cdef|cpdef)\b[^\n=]*?\b{name}\b *[(:]", re.MULTILINE)
    missing = [file for file in files if not (ROOT / file).is_file()]
    assert missing == []
    assert any(definition.search((ROOT / file).read_text()) for file in files)


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_files_that_are_named_are_there(page: Path) -> None:
    named = re.findall(rf"`({PATH}|(?:modules|chainredis|tests)/[\w/]+/)`", page.read_text())
    assert {name for name in named if not (ROOT / name).exists()} == set()
