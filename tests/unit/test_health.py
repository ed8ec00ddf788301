"""What a tag's health finds lacking, each with a mend; and that nothing is found where nothing is wrong."""

import re
import time
from collections import Counter

import pytest

from collector import health
from collector.connections import Redis
from collector.health import Content, Finding, findings
from collector.settings import Settings
from tests.unit.parts import GRANTED, LIMITED, TAG, Parts, happened, sealed

WELL = Counter({("accepted", "full"): 10, ("duplicate", "event_id"): 2, ("refused", "consent_denied"): 3})
SEEN = {"pagevisit": 1, "checkout": 1}
ORDER = {"value": 5, "currency": "EUR", "order_id": "A-1"}


def codes(found: list[Finding]) -> list[str]:
    assert all(one.message.endswith(".") and one.mend.endswith(".") for one in found)
    assert not any(re.search(r"\b1 \w+s\b", one.message) for one in found)
    return [one.code for one in found]


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    well = Content(events=100, last=SEEN, checkouts=5, late=2, of_pages=90)
    assert codes(findings(WELL, SEEN, well)) == []


@pytest.mark.parametrize(
    ("fates", "content", "code"),
    [
        ({}, Content(), "no_event"),
        ({("refused", "origin"): 1}, Content(), "origin"),
        ({("refused", "consent_denied"): 1}, Content(), "consent"),
        ({("refused", "consent_missing"): 1}, Content(), "no_consent_signal"),
        ({("refused", "bad_time"): 1}, Content(), "bad_time"),
        ({("refused", "too_old"): 1}, Content(), "too_old"),
        ({}, Content(events=9, unasked=1), "no_consent_signal"),
        ({}, Content(events=9, checkouts=2, without_value=1), "checkout_without_value"),
        ({}, Content(events=9, checkouts=2, without_currency=1), "checkout_without_currency"),
        ({}, Content(events=9, checkouts=2, without_order=1), "checkout_without_order_id"),
        ({}, Content(events=9, checkouts=2, repeated_orders=1), "repeated_order_id"),
        ({}, Content(events=9, emails={"data": 1}), "plain_email"),
        ({}, Content(events=9, late=1, of_pages=9), "late_events"),
    ],
)
def test_a_lack_is_found_and_told_with_its_mend(
    fates: dict[tuple[str, str], int], content: Content, code: str
) -> None:
    assert code in codes(findings({**fates, **(WELL if content.events else {})}, SEEN, content))


@pytest.mark.parametrize("archived", [True, False], ids=["in files", "in the stream"])
def test_the_content_of_the_last_week_is_counted_whichever_way_it_came(
    redis: Redis, settings: Settings, archived: bool
) -> None:
    parts = Parts(redis, settings)
    parts.send(
        happened("anna", "checkout", data=ORDER),
        happened("anna", "checkout", data=ORDER),  # the thank-you page once more, with an id of its own
        happened("bert", "checkout", data={"value": 5, "currency": "EUR", "order_id": 17}),
        happened("bert", "checkout", data={"order_id": "A-2"}, source="import", age=90 * 86_400),
        happened("bert", "checkout", data={"value": "five", "currency": "EUR"}),
        happened(
            "carl", "lead", data={"note": "me@example.org", "page_name": "to a.b@c.example.org, please"}
        ),
        happened("me@example.org", "lead", source="server", line_items=[{"product_name": "x@y.de"}]),
        happened("dora", "pagevisit", age=2 * 86_400),
    )
    parts.send(happened("emil", "pagevisit", data={"search_query": "fish @ chips"}), signals=LIMITED)
    parts.append([sealed(happened("fred"), GRANTED)])
    if archived:
        parts.flush()
    now = time.time()
    content = parts.archive.content(TAG, now)
    assert content._replace(last={}) == Content(
        events=10,
        checkouts=5,
        without_value=2,
        without_currency=1,
        without_order=1,
        repeated_orders=1,
        late=1,
        of_pages=8,
        emails={"visitor": 1, "page_name": 1, "data": 1, "line_items": 1},
    )
    assert set(content.last) == {"checkout", "lead", "pagevisit", "addtocart"}
    assert parts.archive.content(TAG, now + 8 * 86_400) == Content()


def test_what_an_import_did_is_added_to_the_week(redis: Redis) -> None:
    now = 1_763_750_000.0
    for _ in range(2):
        health.add(redis, TAG, {("accepted", "full"): 3, ("refused", "bad_time"): 1}, now)
    report = health.report(redis, TAG, now, Content(last={"checkout": 1_763_740_000}))
    assert report["outcomes"] == [
        {"outcome": "accepted", "reason": "full", "events": 6},
        {"outcome": "refused", "reason": "bad_time", "events": 2},
    ]
    assert report["last_events"] == [{"event": "checkout", "at": "2025-11-21T15:46:40Z"}]
    assert [finding["code"] for finding in report["findings"]] == ["no_pagevisit", "bad_time"]
