"""Languages: the catalogues of `locale/`, one .po file each, and how a language writes numbers and times."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from gettext import NullTranslations
from io import BytesIO
from pathlib import Path

from babel import Locale
from babel.dates import format_date, format_datetime, format_timedelta
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_decimal
from babel.support import Translations

LOCALE = Path(__file__).parent / "locale"
SOURCE = "en"  # what the templates are written in


def msg(text: str) -> str:
    """Marks a text that a catalogue has, where it is not shown yet."""
    return text


class Language:
    """One language: its words, its numbers, its times (UTC; the browser turns them into its own)."""

    def __init__(self, code: str) -> None:
        self.code = code
        self._locale = Locale.parse(code)
        self.words: NullTranslations = _words(code)

    @property
    def name(self) -> str:
        return str(self._locale.display_name).capitalize()

    def say(self, text: str, **named: object) -> str:
        said = self.words.gettext(text)
        return said % named if named else said

    def number(self, value: int) -> str:
        return str(format_decimal(value, locale=self._locale))

    def decimal(self, value: float, places: int) -> str:
        return str(format_decimal(round(value, places), f"#,##0.{'0' * places}", locale=self._locale))

    def change(self, value: int) -> str:
        """With its sign; a minus is a minus, no hyphen."""
        return {1: "+", 0: "±", -1: "−"}[(value > 0) - (value < 0)] + self.number(abs(value))

    def time(self, unix: float) -> str:
        return str(format_datetime(_utc(unix), "d MMM y HH:mm", locale=self._locale))

    def day(self, unix: float) -> str:
        return str(format_date(_utc(unix), "d MMM y", locale=self._locale))

    def weekday(self, unix: float) -> str:
        return str(format_date(_utc(unix), "EEEE", locale=self._locale))

    def ago(self, seconds: float) -> str:
        return str(format_timedelta(-max(int(seconds), 1), add_direction=True, locale=self._locale))


@cache
def languages() -> dict[str, Language]:
    """By code, the source language first."""
    codes = [SOURCE, *sorted(file.stem for file in LOCALE.glob("*.po"))]
    return {code: Language(code) for code in codes}


def choose(wanted: str, accepted: str) -> Language:
    """The language of a cookie, else the first that the browser accepts and we have."""
    known = languages()
    ranked: Sequence[str] = sorted(accepted.split(","), key=_weight, reverse=True)
    for code in (wanted, *(entry.partition(";")[0].strip()[:2].lower() for entry in ranked)):
        if code in known:
            return known[code]
    return known[SOURCE]


def _weight(entry: str) -> float:
    try:
        return float(entry.partition("q=")[2] or 1)
    except ValueError:
        return 0.0


def _words(code: str) -> NullTranslations:
    if code == SOURCE:
        return NullTranslations()
    with (LOCALE / f"{code}.po").open("rb") as file:
        catalogue = read_po(file, locale=code)
    packed = BytesIO()
    write_mo(packed, catalogue)
    packed.seek(0)
    return Translations(packed)


def _utc(unix: float) -> datetime:
    return datetime.fromtimestamp(unix, UTC)
