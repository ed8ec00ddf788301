"""Every word of the dashboard is there in every language."""

import pytest
from babel.messages.extract import extract_from_dir, extract_from_file
from babel.messages.pofile import read_po

from collector.dashboard.languages import LOCALE, choose, languages

DASHBOARD = LOCALE.parent
OTHERS = [code for code in languages() if code != "en"]
Word = str | tuple[str, ...]


TOLD = {"RuleError": (2,), "TooMuch": (1,), "Fate": (4,), "Finding": (2,)}  # which argument is a text
TELLERS = ("archive/scan.py", "audience/rules.py", "audience/registry.py", "outcomes.py", "health.py")


def spoken() -> set[Word]:
    """What templates and modules say, as Babel finds it; and what modules below the dashboard tell."""
    methods = [("**.html", "jinja2"), ("**.py", "python")]
    keywords = {"gettext": None, "_": None, "ngettext": (1, 2), "say": None, "msg": None}
    found = [
        message
        for _, _, message, _, _ in extract_from_dir(
            DASHBOARD,
            methods,
            {"**.html": {"newstyle_gettext": "yes", "silent": "no", "trimmed": "no"}},
            keywords,
        )
    ]
    for teller in TELLERS:
        found += [message for _, message, _, _ in extract_from_file("python", DASHBOARD.parent / teller, TOLD)]
    return {message if isinstance(message, str) else tuple(message) for message in found}


@pytest.mark.parametrize("code", OTHERS)
def test_a_catalogue_has_every_word_and_no_other(code: str) -> None:
    with (LOCALE / f"{code}.po").open("rb") as file:
        catalogue = read_po(file, locale=code)
    said = {
        message.id if isinstance(message.id, str) else tuple(message.id)
        for message in catalogue
        if message.id
    }
    assert said == spoken()


@pytest.mark.parametrize("code", OTHERS)
def test_every_word_is_translated_with_the_same_places_for_values(code: str) -> None:
    with (LOCALE / f"{code}.po").open("rb") as file:
        catalogue = read_po(file, locale=code)
    for message in catalogue:
        if message.id:
            assert all(message.string if isinstance(message.string, tuple) else [message.string]), message.id
            assert not list(message.check(catalogue)), message.id


def test_the_cookie_decides_then_the_browser_then_english() -> None:
    assert choose("sv", "en").code == "sv"
    assert choose("", "fi, sv-SE;q=0.8, en;q=0.5").code == "sv"
    assert choose("", "en;q=0.5, sv;q=0.9").code == "sv"
    assert choose("xx", "fi").code == "en"
    assert choose("", "sv;q=nonsense").code == "sv"


def test_numbers_and_signs_are_written_as_the_language_does() -> None:
    known = languages()
    assert known["en"].number(1234567) == "1,234,567"
    assert known["sv"].number(1234567) == "1\xa0234\xa0567"
    assert (known["en"].decimal(1234.56, 1), known["sv"].decimal(0.04, 1)) == ("1,234.6", "0,0")
    assert known["en"].change(-1234) == "−1,234"
    assert (known["en"].change(3), known["en"].change(0)) == ("+3", "±0")
    assert known["sv"].weekday(1_763_750_000) == "fredag"  # 2025-11-21
