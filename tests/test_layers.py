"""Imports point one way: the layers of pyproject.toml."""

import subprocess
import sys
from pathlib import Path

LINTER = "from importlinter.cli import lint_imports_command; lint_imports_command()"


def test_imports_point_one_way() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", LINTER, "--no-cache"],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
