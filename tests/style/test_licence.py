# SPDX-License-Identifier: Apache-2.0
"""Each source file says under which licence it is."""

from style.licence_lines import ROOT, has_line, source_files


def test_each_source_file_has_its_licence_line() -> None:
    """`python tests/style/licence_lines.py` adds it."""
    files = source_files()
    assert len(files) > 300
    assert [str(path.relative_to(ROOT)) for path in files if not has_line(path)] == []
