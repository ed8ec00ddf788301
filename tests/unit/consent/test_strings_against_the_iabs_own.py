"""Consent strings: ours are read as the IAB's own libraries read them, or refused; never more generously."""

import json
import re
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from collector.consent import gpp, tcf
from collector.consent.bits import Unreadable

ORACLE = Path(__file__).parents[2] / "oracle_js"
SEED = 7  # change it, and other strings are made; the promises are the same
DISCLOSURE = datetime(2026, 3, 1, tzinfo=UTC).timestamp()
OPT_OUTS = ("SaleOptOut", "SharingOptOut", "TargetedAdvertisingOptOut")


def run(*command: str) -> str:
    done = subprocess.run(command, cwd=ORACLE, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail(f"{' '.join(command)} in tests/oracle_js/ failed:\n{done.stderr}", pytrace=False)
    return done.stdout


@pytest.fixture(scope="module")
def made() -> dict[str, list[dict[str, Any]]]:
    if not shutil.which("npm"):
        pytest.fail("npm is missing. The oracles of consent run with Node 20 or later.", pytrace=False)
    if not (ORACLE / "node_modules" / ".package-lock.json").exists():
        run("npm", "ci", "--no-audit", "--no-fund")
    strings: dict[str, list[dict[str, Any]]] = json.loads(run("node", "strings.mjs", str(SEED)))
    return strings


def choices(text: str, vendor: int) -> tuple[tcf.Choice, tcf.Choice] | None:
    """What the string says for the publisher and for the vendor; None when it is refused."""
    try:
        return tcf.read(text), tcf.read(text, vendor)
    except Unreadable:
        return None


def choices_of_the_oracle(reads: dict[str, Any]) -> tuple[tcf.Choice, tcf.Choice] | None:
    """The same from the IAB's reading; None when docs/consent.md refuses what it has read."""
    if reads["version"] != 2 or reads["policy"] < 4:
        return None
    if reads["created"] / 1000 >= DISCLOSURE and not reads["disclosed"]:
        return None
    since, until = reads["since"] / 1000, reads["until"] / 1000
    return (
        tcf.Choice(frozenset(reads["publisher"]), since, until),
        tcf.Choice(frozenset(reads["vendor"]), since, until),
    )


def test_every_tcf_string_says_the_same_to_us_and_to_the_iab(made: dict[str, list[dict[str, Any]]]) -> None:
    accepted = 0
    for row in made["tcf"]:
        ours, theirs = choices(row["text"], row["vendor"]), choices_of_the_oracle(row["reads"])
        assert (ours is None) == (theirs is None), row
        if ours and theirs:
            accepted += 1
            for one, other in zip(ours, theirs, strict=True):
                assert (one.purposes, one.since) == (other.purposes, other.since), row
                # JavaScript's thirteen months after a 31st run over into the month after.
                assert 0 <= other.until - one.until <= 3 * 86_400, row
    assert len(made["tcf"]) >= 2_000 and accepted >= 1_500


def test_the_strings_cover_what_decides(made: dict[str, list[dict[str, Any]]]) -> None:
    """Guards the oracle: a generator that only makes empty choices would prove nothing."""
    for who in ("publisher", "vendor"):
        agreed = [set(row["reads"][who]) for row in made["tcf"]]
        for shape in (lambda it: it >= {1, 3}, lambda it: 1 in it and 3 not in it, lambda it: not it):
            assert sum(map(shape, agreed)) >= 50


def test_every_truncated_tcf_string_is_refused_but_for_lost_filling_and_lost_segments(
    made: dict[str, list[dict[str, Any]]],
) -> None:
    """Both leave a string that some encoder would have written just so; neither adds a purpose for the publisher."""
    sample = [row for row in made["tcf"] if len(row["text"]) < 700 and choices(row["text"], 0)][:60]
    for text in (row["text"] for row in sample):
        whole = tcf.read(text)
        for end in range(len(text)):
            try:
                cut = tcf.read(text[:end])
            except Unreadable:
                continue
            lost = text[end:].split(".")[0]
            assert len(lost) <= 3 and set(lost) <= {"A"}, (text, end)
            assert cut.purposes in (whole.purposes, frozenset()), (text, end)


def test_every_truncated_gpp_string_is_refused_or_keeps_its_opt_outs(
    made: dict[str, list[dict[str, Any]]],
) -> None:
    """Per section: unreadable, or as it was. Only a lost Gpc subsection cannot be told from one never sent."""
    for text in (row["text"] for row in made["gpp"][:150]):
        whole = gpp.read(text)
        for end in range(len(text)):
            try:
                cut = gpp.read(text[:end])
            except Unreadable:
                continue
            for id_, section in cut.items():
                before = whole[id_]
                assert isinstance(before, gpp.UsChoice)
                assert section in (None, before, before._replace(opted_out=False)), (text, end)
                if section is not None and section != before:
                    lost, *subsections = text[end:].split(".")
                    assert subsections and set(lost) <= {"A"}, (text, end)


def test_flipped_bits_are_refused_or_read_as_the_iab_reads_them(
    made: dict[str, list[dict[str, Any]]],
) -> None:
    assert len(made["flips"]) == 10_000
    read = 0
    for row in made["flips"]:
        ours = choices(row["text"], row["vendor"])
        if ours is None:
            continue
        read += 1
        assert row["reads"] is not None, f"the IAB's library refuses {row['text']}"
        theirs = choices_of_the_oracle(row["reads"])
        assert theirs is not None, row
        for one, other in zip(ours, theirs, strict=True):
            assert (one.purposes, one.since) == (other.purposes, other.since), row
    assert read >= 1_000


def test_every_gpp_string_says_the_same_to_us_and_to_the_iab(made: dict[str, list[dict[str, Any]]]) -> None:
    seen: set[tuple[int, bool, bool]] = set()
    for row in made["gpp"]:
        ours = gpp.read(row["text"])
        assert set(ours) == {int(id_) for id_ in row["reads"]}, row
        for id_, fields in row["reads"].items():
            expected = us_choice(fields)
            assert ours[int(id_)] == expected, (id_, row)
            seen.add((int(id_), expected.opted_out, expected.child))
    for id_ in (7, 8, 9, 10, 11, 12, 17, 27):
        assert {(id_, out, child) for out in (True, False) for child in (True, False)} <= seen


def us_choice(fields: dict[str, Any]) -> gpp.UsChoice:
    if "OptOutSale" in fields:
        return gpp.UsChoice(fields["OptOutSale"] == "Y", child=False, odd=False)
    children = fields.get("KnownChildSensitiveDataConsents", 0)
    return gpp.UsChoice(
        opted_out=fields.get("Gpc") is True or any(fields.get(name) == 1 for name in OPT_OUTS),
        child=any(children) if isinstance(children, list) else children != 0,
        odd=False,
    )


SHARED = Path(__file__).parents[4] / "shared/data/vectors/gpp.json"
SECTIONS = {"UsNat": 7, "UsCa": 8, "UsVa": 9, "UsCo": 10, "UsUt": 11, "UsCt": 12}


@pytest.mark.skipif(not SHARED.exists(), reason=f"the GPP vectors are kept beside the project, in {SHARED}")
def test_the_gpp_vectors_that_are_kept_beside_the_project() -> None:
    seen = set()
    for name, case in json.loads(SHARED.read_text()).items():
        ours = gpp.read(case["gpp_string"])
        for section in case["expected_sections"]:
            ((kind, fields),) = section.items()
            if kind in SECTIONS:
                assert ours[SECTIONS[kind]] == us_choice_in_words(fields), name
                seen.add(kind)
            elif kind == "TcfEuV2":
                text = ours[2]
                assert isinstance(text, str)
                with pytest.raises(Unreadable, match="policy"):  # all of them are from before TCF 2.2
                    tcf.read(text)
                promoted = f"{text[:22]}E{text[23:]}"  # the policy's version is the 23rd character
                assert tcf.read(promoted).purposes == publishers(fields), name
                assert tcf.read(promoted, vendor=2).purposes == vendors(fields, 2), name
            else:
                assert set(ours.values()) == {None}, name
    assert seen == set(SECTIONS)


def publishers(fields: dict[str, Any]) -> set[int]:
    return set((fields["publisher_purposes"] or {"consents": []})["consents"])


def vendors(fields: dict[str, Any], vendor: int) -> set[int]:
    core, disclosed = fields["core"], fields["disclosed_vendors"]
    agreed = vendor in core["vendor_consents"] and (disclosed is None or vendor in disclosed)
    return set(core["purpose_consents"]) if agreed else set()


def us_choice_in_words(fields: dict[str, Any]) -> gpp.UsChoice:
    """The vectors' fields have names of their own, and values in words."""
    core = fields["core"]
    if len(core) == 1:  # the versions of the national section
        (core,) = core.values()
    opt_outs = [core.get(name) for name in map(snake, OPT_OUTS)]
    children = core["known_child_sensitive_data_consents"]
    values = children.values() if isinstance(children, dict) else [children]
    gpc = fields.get("gpc") is True
    return gpp.UsChoice(
        gpc or "OptedOut" in opt_outs, any(value != "NotApplicable" for value in values), odd=False
    )


def snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
