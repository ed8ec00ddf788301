"""Every page can be found, and every link within the documentation leads somewhere."""

import subprocess
import sys
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docs.pages import DOCS, PAGES, ROOT, Page, outside


def test_every_page_is_in_the_navigation() -> None:
    navigation = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]
    assert sorted(_leaves(navigation)) == sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md"))


def _leaves(node: Any) -> list[str]:
    if isinstance(node, str):
        return [node]
    return list(chain.from_iterable(map(_leaves, node.values() if isinstance(node, dict) else node)))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_within_leads_somewhere(page: Page) -> None:
    pages = {each.path: each for each in PAGES}
    lost = []
    for link in page.links:
        if link.startswith(("http://", "https://")):
            continue
        target, _, anchor = link.partition("#")
        path = Path(page.path.parent, target).resolve() if target else page.path
        if (
            not path.exists()
            or not path.is_relative_to(ROOT)
            or (anchor and anchor not in pages[path].anchors)
        ):
            lost.append(link)
    assert lost == []


def test_links_to_other_sites_are_encrypted() -> None:
    assert [link for link in outside() if link.startswith("http://")] == []


@pytest.mark.slow
def test_the_site_renders_and_every_link_in_it_leads_somewhere(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    fonts = [page.name for page in tmp_path.rglob("*.html") if "fonts.googleapis" in page.read_text()]
    assert fonts == [], "The site asks others for fonts."
