"""TCF and GPP: what the IAB's own generators do not make, and what a decision costs."""

import contextlib
import timeit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.consent import Signals, decide, gpp, tcf
from collector.consent.bits import Bits, Unreadable
from collector.consent.signals import WORDS
from collector.ingest.fates import Submission, judge
from collector.ingest.wire import Request, Sent
from collector.settings import Settings
from collector.tags import Tag
from tests.unit.consent.strings import ALPHABET, at, core, encoded, publisher


@pytest.mark.parametrize(
    "created, outdated",
    [("2025-01-15", "2026-02-15"), ("2025-01-31", "2026-02-28"), ("2023-01-30", "2024-02-29")],
)
def test_a_choice_lasts_thirteen_months_of_the_calendar(created: str, outdated: str) -> None:
    choice = tcf.read(core(at(created), at(created)))
    assert choice.in_force(at(outdated) - 1) and not choice.in_force(at(outdated))


def test_the_older_of_both_dates_ages_and_the_younger_is_the_future() -> None:
    choice = tcf.read(core(at("2025-01-01"), at("2025-06-01")))
    assert not choice.in_force(at("2025-05-31"))
    assert choice.in_force(at("2025-06-01"))
    assert not choice.in_force(at("2026-02-01"))


def test_the_clock_is_asked_again_for_a_string_that_is_known() -> None:
    text = f"{core(at('2025-01-01'), at('2025-01-01'))}.{publisher()}"
    said = Signals(consent={"gdpr": True, "tcf": text})
    verdicts = [
        decide(said, "opt_in", now=at(day)).verdict for day in ("2024-12-31", "2025-01-02", "2026-02-02")
    ]
    assert verdicts == ["drop", "full", "drop"]


def test_without_a_clock_no_string_counts() -> None:
    text = f"{core(at('2025-01-01'), at('2025-01-01'))}.{publisher()}"
    assert decide(Signals(consent={"tcf": text}), "opt_out").verdict == "drop"


def test_both_fillings_are_read_but_not_a_mixture() -> None:
    day = at("2025-01-01")
    for unit in (8, 24):
        assert tcf.read(f"{core(day, day, unit=unit)}.{publisher(unit)}").purposes
    assert core(day, day, unit=24) != core(day, day), "else the mixture is none"
    with pytest.raises(Unreadable, match="truncated"):
        tcf.read(f"{core(day, day, unit=24)}.{publisher(8)}")


def test_the_edge_judges_a_string_by_the_time_of_receipt_and_for_the_vendor_of_its_settings() -> None:
    tag = Tag(id="2612345678901", name="shop", origins=(), regime="opt_in", created_at=0)
    day = at("2025-01-01")
    text = f"{core(day, day)}.{publisher()}"

    def outcome(now: float, vendor: int = 0) -> str:
        settings = Settings(tcf_vendor_id=vendor)
        request = Request(visitor="0" * 32, events=[Sent(event="pagevisit", consent={"tcf": text})])
        submission = Submission(request, tag, "web", Signals(consent={"tcf": text}), now, settings, b"")
        (result,) = judge(submission).results
        return f"{result.outcome} {result.reason}"

    assert outcome(day + 1) == "accepted full"
    assert outcome(day - 1) == outcome(at("2026-02-01")) == "refused consent_malformed"
    assert outcome(day + 1, vendor=5) == "refused consent_denied"


def test_a_decision_with_a_long_string_takes_less_than_100_microseconds() -> None:
    """A tenth of it here; the least of many, because the machine does other things too."""
    vendors = ((16, 9_000), (1, 1), (12, 450), *[(17, 20 * n + 1) for n in range(450)])
    text = f"{core(at('2025-01-01'), at('2025-01-01'), vendors)}.{publisher()}"
    assert len(text) > 1_300
    said = Signals(consent={**dict.fromkeys(WORDS, "granted"), "gdpr": True, "tcf": text})
    assert decide(said, "opt_in", now=at("2025-02-01")).verdict == "full"
    took = timeit.repeat(lambda: decide(said, "opt_in", now=at("2025-02-01")), number=100, repeat=20)
    assert min(took) / 100 < 100e-6


@pytest.mark.parametrize(
    "first, last", [(0, 0), (0, 5), (5, 4), (9, 11), (11, 11)], ids=lambda number: str(number)
)
def test_a_range_outside_of_its_list_is_refused(first: int, last: int) -> None:
    vendors = ((16, 10), (1, 1), (12, 1), (1, 1), (16, first), (16, last))
    with pytest.raises(Unreadable, match="range"):
        tcf.read(core(at("2025-01-01"), at("2025-01-01"), vendors), 5)


def test_a_list_that_promises_more_vendors_than_come_is_refused() -> None:
    for vendors in (((16, 65_535), (1, 0)), ((16, 65_535), (1, 1), (12, 4_095))):
        with pytest.raises(Unreadable):
            tcf.read(core(at("2025-01-01"), at("2025-01-01"), vendors), 5)


likely = st.text(st.sampled_from(ALPHABET + ".~"), max_size=120)


beginnings = st.sampled_from(["", "C", "CQ", "DBABLA~B", "DBABMA~C"])


@given(st.one_of(st.text(), st.builds(str.__add__, beginnings, likely)))
def test_whatever_comes_is_read_or_refused_and_never_anything_else(text: str) -> None:
    for read in (tcf.read, gpp.read):
        with contextlib.suppress(Unreadable):
            read(text)


@given(st.lists(st.tuples(st.integers(0, 200), st.integers(0)).map(lambda it: (it[0], it[1] % (1 << it[0])))))
def test_bits_come_back_as_they_went_in_and_no_bit_more(fields: list[tuple[int, int]]) -> None:
    text = encoded(*fields, (1, 1), unit=1)
    bits = Bits(text)
    assert [bits.take(width) for width, _ in fields] == [value for _, value in fields]
    with pytest.raises(Unreadable, match="more bits"):
        bits.close()
    left = 6 * len(text) - sum(width for width, _ in fields)
    with pytest.raises(Unreadable, match="truncated"):
        bits.take(left + 1)


def test_a_fibonacci_number_without_an_end_costs_nothing() -> None:
    with pytest.raises(Unreadable):
        gpp.read(encoded((6, 3), (6, 1), (12, 1), (1, 0), (48_000, 0)) + "~A")
