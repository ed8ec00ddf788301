"""Normalise: values keep their meaning, times their order, and nothing but outcomes.Refused comes out."""

import json
from copy import deepcopy
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from msgspec import convert

from collector.event import Event, Scalar
from collector.ingest import normalise
from collector.ingest.wire import Sent
from collector.outcomes import Refused
from collector.settings import Settings

NOW = 1_763_750_000.75
SETTINGS = Settings()

jsons = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(10**40), 10**40),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=8),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
MEMBERS = ["event", "event_id", "event_time", "url", "referrer", "data", "action_source", "line_items"]


def normal(raw: dict[str, Any], event_id: str | None = None, **given: Any) -> Event:
    """given: of the request that the event came in."""
    shared = {"tag": "2612345678901", "source": "web", "now": NOW, "settings": SETTINGS, **given}
    sent = convert(deepcopy(raw), Sent)  # a copy, since values settle in place
    return normalise.Normaliser(**shared).event(
        sent, "v", normalise.identifier(sent) if event_id is None else event_id, {}, {}
    )


def values(data: dict[str, Any]) -> dict[str, Scalar]:
    """The normal form of event data."""
    return normal({"event": "lead", "data": data}).data


def fate(raw: dict[str, Any], **given: Any) -> str:
    try:
        normal(raw, **given)
    except Refused as refused:
        return refused.reason
    return "accepted"


@given(
    st.one_of(
        st.dictionaries(st.text(max_size=4), jsons, max_size=3),
        st.dictionaries(st.sampled_from(MEMBERS), jsons),
        st.fixed_dictionaries({"event": st.text(), "data": jsons}),
    )
)
def test_whatever_comes_is_either_normal_or_refused(raw: Any) -> None:
    try:
        event = normal(raw)
    except Refused:
        return
    values = [*event.data.values(), *(value for item in event.line_items for value in item.values())]
    assert all(type(value) in (str, int, float) for value in values)
    assert 0 <= event.event_time <= NOW
    assert event.event and event.event_id
    assert "\0" not in json.dumps(
        [event.event, event.event_id, event.url, event.referrer, event.data]
    ).replace("\\u0000", "\0")


@given(st.one_of(st.text(), st.decimals(allow_nan=False, allow_infinity=False, places=4).map(str)))
@example("007")
@example("-0.5")
@example("123456789012345.6")
@example("٣")
@example("1\n")
def test_text_becomes_a_number_only_if_it_is_the_same_number(text: str) -> None:
    assume("\0" not in text)
    value = values({"key": text})["key"]
    if isinstance(value, str):
        assert value == text
    else:
        assert text.isascii() and text.strip("-0123456789.") == ""
        assert Decimal(repr(value)) == Decimal(text)


@given(st.dictionaries(st.text(min_size=1, max_size=5), jsons, max_size=4))
def test_what_is_normal_stays_as_it_is(data: dict[str, Any]) -> None:
    assume(not normalise.holds_nul(data))
    once = values(data)
    assert values(once) == once


SEVEN_DAYS, DAY = 604_800, 86_400


@pytest.mark.parametrize(
    ("source", "event_time", "wanted"),
    [
        ("web", NOW, int(NOW)),
        ("web", int(NOW) - 0.001, int(NOW) - 1),  # floored, not rounded
        ("web", None, int(NOW)),
        ("web", NOW + 10, int(NOW)),  # clamped to receipt
        ("web", int(NOW) + DAY + 0.9, int(NOW)),
        ("web", int(NOW) + DAY + 1, "bad_time"),
        ("web", int(NOW) - SEVEN_DAYS, int(NOW) - SEVEN_DAYS),
        ("web", int(NOW) - SEVEN_DAYS - 1, "too_old"),
        ("server", int(NOW) - SEVEN_DAYS - 1, int(NOW) - SEVEN_DAYS - 1),
        ("server", 0, 0),
        ("server", -1, "bad_time"),
        ("server", NOW + 10, int(NOW)),
        ("server", None, int(NOW)),
        ("import", 0, 0),
        ("import", int(NOW), int(NOW)),
        ("import", int(NOW) + 1, "bad_time"),
        ("import", None, "bad_time"),
        ("web", 1_763_750_000_000, "bad_time"),
        ("web", 10**300, "bad_time"),
        ("web", "1763750000000", "bad_time"),
        ("web", str(NOW), int(NOW)),
        ("web", f"{NOW:.7f}", int(NOW)),  # as Python writes its clock
        ("web", "yesterday", "bad_time"),
        ("web", True, "bad_time"),
        ("web", [], "bad_time"),
    ],
)
def test_the_time_of_an_event(source: str, event_time: object, wanted: object) -> None:
    raw = {"event": "lead", "event_time": event_time}
    if isinstance(wanted, str):
        assert fate(raw, source=source) == wanted
    else:
        assert normal(raw, source=source).event_time == wanted


@given(st.floats(0, SEVEN_DAYS - 2), st.floats(-(10**8), 10**8))
def test_sent_at_takes_the_error_of_a_clock_away(age: float, error: float) -> None:
    device = NOW + error
    event = normal({"event": "lead", "event_time": device - age}, sent_at=device * 1000)
    assert abs(event.event_time - (NOW - age)) <= 1.01


def test_an_event_without_an_id_is_given_one() -> None:
    assert normal({"event": "lead", "event_id": "own"}).event_id == "own"
    assert normal({"event": "lead", "event_id": "own"}, event_id="found before").event_id == "found before"
    assert len(normal({"event": "lead"}).event_id) == len(normal({"event": "lead"}, event_id="").event_id) == 32
