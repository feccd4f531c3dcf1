# SPDX-License-Identifier: Apache-2.0
"""The licence's SPDX line in each source file: `python tests/style/licence_lines.py` adds it where it is missing."""

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
LICENCE = "SPDX-License-Identifier: Apache-2.0"
COMMENTS = {".c": "/* {} */", ".h": "/* {} */", ".map": "/* {} */", ".lua": "-- {}", ".proto": "// {}"}
HASH = {".py", ".pyi", ".pyx", ".pxd", ".pxi", ".sh"}
# What has to stay above it: the shell's line, and what Cython looks for in the first lines.
FIRST = re.compile(r"(?:#!.*\n)?(?:# cython: .*\n)*")


def source_files() -> list[Path]:
    """All that git knows of and people write, programs without a suffix too: no pages, no data, no generated code."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    files = [ROOT / name for name in listed.splitlines() if not name.endswith("_pb2.py")]
    return [path for path in files if path.is_file() and comment(path)]


def comment(path: Path) -> str:
    """The line as that file has it; empty for a file that is no source."""
    if path.suffix in COMMENTS:
        return COMMENTS[path.suffix].format(LICENCE)
    is_program = path.suffix == "" and path.read_bytes().startswith(b"#!")
    return f"# {LICENCE}" if path.suffix in HASH or path.name == "Makefile" or is_program else ""


def has_line(path: Path) -> bool:
    """Is it in its place, among the first lines?"""
    text = path.read_text()
    match = FIRST.match(text)
    return match is not None and text[match.end() :].startswith(f"{comment(path)}\n")


def add_line(path: Path) -> None:
    text = path.read_text()
    match = FIRST.match(text)
    place = match.end() if match else 0
    path.write_text(f"{text[:place]}{comment(path)}\n{text[place:]}")


if __name__ == "__main__":
    for file in source_files():
        if not has_line(file):
            add_line(file)
