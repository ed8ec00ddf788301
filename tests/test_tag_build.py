"""The tag that is committed is the tag that its sources build, and its own tests pass."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
JS = ROOT / "js"
STATIC = ROOT / "collector" / "ingest" / "static"


def run(*command: str) -> None:
    done = subprocess.run(command, cwd=JS, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail(f"{' '.join(command)} in js/ failed:\n{done.stdout}\n{done.stderr}", pytrace=False)


@pytest.fixture(scope="module", autouse=True)
def dependencies() -> None:
    if not shutil.which("npm"):
        pytest.fail("npm is missing. The tag is built and tested with Node 20 or later.", pytrace=False)
    if not (JS / "node_modules" / ".package-lock.json").exists():
        run("npm", "ci")


def test_the_committed_tag_is_what_its_sources_build(tmp_path: Path) -> None:
    run("node", "build.js", str(tmp_path))
    fresh = [path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()]
    assert Path("tag.js") in fresh
    for name in fresh:
        committed = STATIC / name
        stale = f"{name} is stale or missing. Mend: npm run build in js/."
        assert committed.is_file() and committed.read_bytes() == (tmp_path / name).read_bytes(), stale


@pytest.mark.slow
@pytest.mark.timeout(900)  # some hundred tests, a good minute on two cores of their own
def test_the_tags_own_tests_pass_in_node_and_in_a_browser() -> None:
    run("npm", "test")
