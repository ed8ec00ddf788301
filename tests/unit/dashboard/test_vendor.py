"""What is vendored is what its list says, in the versions that js/package.json names, each with its licence."""

import base64
import hashlib
import json
from pathlib import Path

from collector.dashboard.rendering import STATIC

VENDOR = STATIC / "vendor"
LISTED = json.loads((VENDOR / "vendor.json").read_text())
WANTED = json.loads((Path(__file__).parents[3] / "js" / "package.json").read_text())["devDependencies"]


def test_every_vendored_file_has_its_hash_its_version_and_its_licence() -> None:
    for name, row in LISTED.items():
        digest = hashlib.sha384((VENDOR / name).read_bytes()).digest()
        assert row["integrity"] == "sha384-" + base64.b64encode(digest).decode(), name
        assert row["version"] == WANTED[row["package"]], "Mend: npm run vendor, in js/"
        assert (VENDOR / f"{row['package']}.LICENSE.txt").stat().st_size


def test_nothing_else_is_vendored() -> None:
    others = {file.name for file in VENDOR.iterdir() if not file.name.endswith(".LICENSE.txt")}
    assert others == {*LISTED, "vendor.json"}
