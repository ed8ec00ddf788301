"""What CI tests and Docker ships is locked, file by file, and is what pyproject.toml asks for."""

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
ASKED = {
    "requirements.lock": PROJECT["dependencies"],
    "requirements-test.lock": [*PROJECT["dependencies"], *EXTRAS["test"], *EXTRAS["load"]],
}


def locked(name: str) -> dict[str, Version]:
    """The versions that this Python would get; each with the hash of at least one file."""
    found: dict[str, Version] = {}
    text = (ROOT / name).read_text().replace("\\\n", " ")
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        pinned, *hashes = line.split("--hash=")
        assert hashes and all(re.fullmatch(r"sha256:[0-9a-f]{64}", each.strip()) for each in hashes), pinned
        requirement = Requirement(pinned.strip())
        (pin,) = requirement.specifier
        assert pin.operator == "==" and not requirement.url, pinned
        if requirement.marker is None or requirement.marker.evaluate():
            found[canonicalize_name(requirement.name)] = Version(pin.version)
    return found


@pytest.mark.parametrize("name", ASKED)
def test_the_lock_has_what_is_asked_for_and_all_that_that_needs(name: str) -> None:
    versions, wanted, seen = locked(name), [Requirement(text) for text in ASKED[name]], set()
    assert len(versions) > len(wanted)
    while wanted:
        requirement = wanted.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        package = canonicalize_name(requirement.name)
        assert package in versions, f"{requirement} is not in {name}. Mend: make lock"
        fits = requirement.specifier.contains(versions[package], prereleases=True)
        assert fits, f"{name} has {versions[package]}, not {requirement}. Mend: make lock"
        if (package, *sorted(requirement.extras)) in seen or metadata.version(package) != str(
            versions[package]
        ):
            continue  # of another version than the one installed, nothing is known here
        seen.add((package, *sorted(requirement.extras)))
        for text in metadata.requires(package) or []:
            needed = Requirement(text)
            if any(
                needed.marker is None or needed.marker.evaluate({"extra": extra})
                for extra in ("", *requirement.extras)
            ):
                needed.marker = None
                wanted.append(needed)
    assert len(seen) >= len(ASKED[name]) // 2, "this machine has other versions than those that are locked"


def test_what_is_tested_is_what_is_shipped() -> None:
    tested = locked("requirements-test.lock")
    assert {name: tested.get(name) for name in locked("requirements.lock")} == locked("requirements.lock")


def test_docker_and_ci_install_by_hash_and_nothing_else() -> None:
    image, make = (ROOT / "Dockerfile").read_text(), (ROOT / "Makefile").read_text()
    installs = re.findall(r"pip install[^\n]*", image)
    assert installs and all(
        "--require-hashes -r requirements.lock" in line or "--no-deps" in line for line in installs
    )
    recipe = re.search(r"^\.venv/test\.stamp:.*\n((?:\t.*\n)+)", make, re.MULTILINE)
    assert recipe
    installs = [line for line in recipe[1].splitlines() if "$(PIP)" in line]
    assert all("--require-hashes" in line or "--no-deps" in line for line in installs)
    assert "make test" in (ROOT / ".ci/run").read_text()
