# SPDX-License-Identifier: Apache-2.0
"""The documents: each page, section, rule and file that anything cites is there, and the README is short."""

import re
from pathlib import Path

import pytest

from style.test_tidy import ROOT, relative, source_files

PAGES = sorted(path for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "findings/README.md"])
RULES = 9  # of docs/design.md, section 3
README_LINES = 120

# `design.md, section 5, "Leases"`, `docs/protocol.md, "Views" and "Joining"`, `[commands.md](commands.md), "INFO"`
CITATION = re.compile(
    r"(?P<page>[\w./-]+\.md)(?:#[\w-]+)?\)?"
    r"(?P<number>,?\s+section \d(?: and rule \d)?)?"
    r"(?P<titles>(?:,?\s+(?:and\s+)?\"[A-Z][^\"\n]{0,60}\")*)"
)
# Files that a program writes, and not pages that are cited.
WRITTEN = {"latest.md", "failover.md", "flush.md", "etcd.md"}


def prose(path: Path) -> str:
    """The text with its line breaks and comment signs taken out, so that a citation may be wrapped."""
    return re.sub(r"\s*\n\s*(?:#\s?|--\s?)?", " ", path.read_text())


def citing_files() -> list[Path]:
    return [path for path in [*source_files(), *PAGES] if path.suffix in {".py", ".pyx", ".pxd", ".pxi", ".md", ".lua"}]


def page(name: str, cited_by: Path) -> Path | None:
    """A page is cited as from the project's root, as from docs/, or as a link of a page beside it."""
    places = (ROOT / name, ROOT / "docs" / name, cited_by.parent / name)
    return next((place for place in places if place.is_file()), None)


def titles(path: Path) -> set[str]:
    """Of its sections, with their number and without, and of paragraphs that begin with `**Title.**`."""
    text = path.read_text()
    sections = {re.sub(r"^[\d.]+\s+", "", title) for title in re.findall(r"^#+\s+(.+?)\s*$", text, re.MULTILINE)}
    return sections | set(re.findall(r"^\*\*([^*]+?)\.\*\*", text, re.MULTILINE))


def slug(title: str) -> str:
    """The anchor of a section, as on the web page that is made of it."""
    return re.sub(r"[^\w -]", "", title).lower().replace(" ", "-")


def numbers(path: Path) -> set[str]:
    return set(re.findall(r"^## (\d+)\.", path.read_text(), re.MULTILINE))


@pytest.mark.parametrize("path", citing_files(), ids=relative)
def test_what_is_cited_is_there(path: Path) -> None:
    missing = []
    for citation in CITATION.finditer(prose(path)):
        name = citation["page"]
        if Path(name).name in WRITTEN:
            continue
        cited = page(name, path)
        if cited is None:
            missing.append(name)
            continue
        wanted = set(re.findall(r"\"([^\"]+)\"", citation["titles"]))
        missing += [f"{name}, {title!r}" for title in wanted - titles(cited)]
        number = re.search(r"section (\d)", citation["number"] or "")
        if number and number[1] not in numbers(cited):
            missing.append(f"{name}, section {number[1]}")
    assert missing == []


@pytest.mark.parametrize("path", citing_files(), ids=relative)
def test_cited_rules_are_there(path: Path) -> None:
    cited = {int(number) for number in re.findall(r"\brules? (\d+)\b", prose(path))}
    assert {number for number in cited if not 1 <= number <= RULES} == set()


@pytest.mark.parametrize("path", citing_files(), ids=relative)
def test_nothing_outside_the_repository_is_cited(path: Path) -> None:
    """Neither a folder beside it nor another document. Addresses of the web are for findings."""
    outside = r"\.\./\.\./\.\.|/home/\w|\bthe original\b(?! in C\+\+)|\boriginal document\b"
    assert path == Path(__file__) or re.findall(outside, path.read_text()) == []


@pytest.mark.parametrize("path", PAGES, ids=relative)
def test_links_lead_somewhere(path: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        if target.startswith(("https://", "http://")):
            continue
        name, _, anchor = target.partition("#")
        cited = path.parent / name if name else path
        if not cited.exists() or (anchor and anchor not in map(slug, titles(cited))):
            broken.append(target)
    assert broken == []


def test_every_page_is_found_from_the_readme() -> None:
    text = (ROOT / "README.md").read_text()
    pages = {relative(path) for path in (ROOT / "docs").glob("*.md")}
    assert {name for name in pages if f"({name})" not in text} == set()


def test_every_decision_is_listed() -> None:
    text = (ROOT / "docs/decisions/README.md").read_text()
    pages = {path.name for path in (ROOT / "docs/decisions").glob("[0-9]*.md")}
    assert {name for name in pages if f"({name})" not in text} == set()


@pytest.mark.parametrize("path", sorted((ROOT / "docs/decisions").glob("[0-9]*.md")), ids=relative)
def test_a_decision_has_its_parts(path: Path) -> None:
    text = path.read_text()
    parts = ("**Decided.**", "**Why", "**Also considered.**", "**What would change it.**")
    assert [part for part in parts if part not in text] == []
    assert re.match(rf"# {int(path.name[:4])}\. ", text)


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= README_LINES


def test_the_glossary_is_in_order() -> None:
    words = re.findall(r"^\| (?!word |-)(.+?) \|", (ROOT / "docs/glossary.md").read_text(), re.MULTILINE)
    plain = [word.strip("`").lower() for word in words]
    assert plain == sorted(plain)


def test_every_setting_is_documented() -> None:
    text = (ROOT / "docs/configuration.md").read_text()
    source = (ROOT / "modules/member/startup/settings.pxi").read_text()
    names = set(re.findall(r"register_\w+\(ctx, \"([\w-]+)\"", source))
    assert len(names) > 15
    assert {name for name in names if f"`member.{name}`" not in text} == set()
    masters = "".join((ROOT / "modules" / name).read_text() for name in ("master/settings.pxi", "etcd_master.pyx"))
    registered = r"(?:register_\w+\(|RegisterBoolConfig\(|\.name =)\s*(?:ctx, )?b\"([\w-]+)\""
    names = set(re.findall(registered, masters))
    assert len(names) > 10
    assert {name for name in names if f"`master.{name}`" not in text} == set()


@pytest.mark.parametrize(("source", "section"), [
    ("modules/member/membership/info.pxi", "| `member_…` | value |"),
    ("chainredis/coordinator/commands.py", "| `master_…` | value |"),
    ("chainredis/etcd/master.py", "| `master_…` | value |"),
])
def test_every_field_of_info_is_documented(source: str, section: str) -> None:
    text = (ROOT / source).read_text()
    if source.endswith(".py"):
        body = text.split("def status(self)")[1].split("    def ")[0]
        names = set(re.findall(r"^            \"(\w+)\":", body, re.MULTILINE))
    else:
        names = set(re.findall(r"(?:AddField\w+\(\s*|info_node\()info, \"(\w+)\"", text))
    table = (ROOT / "docs/commands.md").read_text().split(section)[1].split("\n\n")[0]
    assert names
    assert {name for name in names if f"`{name}`" not in table} == set()
