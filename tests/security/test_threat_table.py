"""SECURITY.md says of each threat which test shows its defence: these tests are there."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_row_names_tests_that_exist() -> None:
    rows = [line for line in (ROOT / "SECURITY.md").read_text().splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 20
    for row in rows:
        threat, _, shown = row.strip("| ").split(" | ")
        named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", shown)
        assert named and len(named) == shown.count("`") // 2, threat
        for file, test in named:
            defined = {
                node.name
                for node in ast.parse((ROOT / file).read_text()).body
                if isinstance(node, ast.FunctionDef)
            }
            assert test in defined, f"{file} has no {test}"


def test_every_file_of_this_folder_stands_in_the_table() -> None:
    text = (ROOT / "SECURITY.md").read_text()
    for file in Path(__file__).parent.glob("test_*.py"):
        assert f"tests/security/{file.name}" in text
