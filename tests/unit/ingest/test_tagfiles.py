"""The tag's files: every released version stays what it was, for ever."""

import base64
import gzip
import hashlib
import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from collector.ingest.tagfiles import NEWEST, STATIC, TagFiles

ROOT = Path(__file__).parents[3]
MANIFEST = "collector/ingest/static/tag.json"
RELEASED = json.loads((STATIC / "tag.json").read_bytes())["integrity"]


def integrity(script: bytes) -> str:
    return "sha384-" + base64.b64encode(hashlib.sha384(script).digest()).decode()


@pytest.mark.parametrize("name", RELEASED)
def test_a_released_version_is_served_as_it_was_hashed(name: str) -> None:
    file = TagFiles(STATIC).version(name)
    assert file, f"tag/{name}.js is gone, and pages have pinned it"
    assert integrity(file.plain) == RELEASED[name], f"tag/{name}.js has changed, and pages have pinned it"
    assert gzip.decompress(file.gzipped) == file.plain


def test_every_version_has_its_hash_and_no_other_name_is_served() -> None:
    names = {path.stem for path in (STATIC / "tag").iterdir()}
    assert names == set(RELEASED) | NEWEST
    for name in ("..", "../tag", "tag/../../tag", "", ".", "compat/", "0.1.0.js\n"):
        assert TagFiles(STATIC).version(name) is None, name


def test_what_a_tagged_release_hashed_is_hashed_the_same_now() -> None:
    tags = subprocess.run(["git", "tag", "--list", "v*"], cwd=ROOT, capture_output=True, text=True, check=False)
    for tag in tags.stdout.split():
        shown = subprocess.run(
            ["git", "show", f"{tag}:{MANIFEST}"], cwd=ROOT, capture_output=True, text=True, check=False
        )
        if shown.returncode == 0:
            then = json.loads(shown.stdout)["integrity"]
            assert then.items() <= RELEASED.items(), f"what {tag} released has changed. Mend: raise the version"


def test_the_documents_list_every_version_with_its_hash() -> None:
    rows = re.findall(r"\| `/tag/(\S+)\.js` \| `(sha384-\S+)` \|", (ROOT / "docs/tag.md").read_text())
    assert dict(rows) == RELEASED, "docs/tag.md is behind. Mend: npm run build in js/."


def test_a_file_that_changes_on_disk_is_read_again(tmp_path: Path) -> None:
    files = TagFiles(tmp_path)
    assert files.current() is None
    (tmp_path / "tag.js").write_bytes(b"one()")
    first = files.current()
    assert first
    assert first is files.current()
    (tmp_path / "tag.js").write_bytes(b"two()")
    os.utime(tmp_path / "tag.js", ns=(1, 1))
    second = files.current()
    assert second
    assert (second.plain, second.etag != first.etag) == (b"two()", True)
