"""The feed of a tag shows fates, and nobody: of what consent forbade not even what it was."""

import asyncio
from typing import Any

import pytest
from msgspec import convert

from collector import connections, feed, keys, tags
from collector.connections import Redis
from collector.consent import Signals, word
from collector.feed import A_SECOND, SECONDS, Seen
from collector.health import Tally
from collector.ingest import sightings
from collector.ingest.caller import Caller
from collector.ingest.fates import Submission, judge
from collector.ingest.wire import Request, Sent
from collector.settings import Settings
from tests.unit.parts import NOW, TAG

ANNA = f"{7:032x}"
SCOPE = {
    "method": "POST",
    "path": "/v1/events",
    "query_string": b"",
    "scheme": "https",
    "headers": [(b"origin", b"https://shop.example")],
}


def seen(settings: Settings, events: list[Any], **signals: Any) -> list[Seen]:
    tag = tags.Tag(id=TAG, name="", origins=(), regime="opt_in", created_at=0)
    request = Request(tag=TAG, events=convert(events, list[Sent | int]), visitor=ANNA)
    submission = Submission(request, tag, "web", Signals(**signals), NOW, settings, b"secret")
    return sightings.of(submission, Caller(SCOPE), judge(submission))


def test_each_event_is_shown_with_its_fate_and_the_visitor_as_a_few_digits(settings: Settings) -> None:
    events = [{"event": "AddToCart", "event_time": NOW}, {"event": "checkout", "event_time": NOW * 1000}, 7]
    cart, late, odd = seen(settings, events, consent=word("granted"))
    assert (cart.at, cart.event, cart.outcome, cart.reason) == (NOW * 1000, "addtocart", "accepted", "full")
    assert (cart.origin, cart.consent) == ("https://shop.example", "words")
    assert len(cart.visitor) == 6 and cart.visitor not in ANNA
    assert (late.event, late.reason, late.visitor) == ("checkout", "bad_time", "")
    assert (odd.event, odd.reason) == ("", "bad_event")


@pytest.mark.parametrize("signals", [{}, {"consent": word("denied")}, {"dnt": "1"}])
def test_who_did_not_agree_leaves_a_moment_and_no_more(settings: Settings, signals: dict[str, Any]) -> None:
    (one,) = seen(settings, [{"event": "of-a-secret", "event_time": NOW}], **signals)
    assert one.outcome == "refused" and one.reason in ("consent_missing", "consent_denied", "dnt")
    assert (one.event, one.origin, one.visitor, one.consent) == ("", "", "", "")


def test_a_withdrawal_is_shown_without_its_visitor(settings: Settings) -> None:
    told = seen(settings, [], withdraw=True)
    assert [(one.event, one.reason, one.visitor) for one in told] == [("", "withdrawn", "")]


def test_a_feed_is_bounded_by_the_second_and_in_all(redis: Redis, settings: Settings) -> None:
    async def flood() -> None:
        client = connections.open_async(settings, timeout=10)
        for second in range(SECONDS + 9):
            tally = Tally(client, lambda: NOW)
            while tally.watches(TAG):
                tally.count(TAG, "accepted", "full")
                tally.saw(TAG, [Seen(NOW * 1000 + second, "e", "accepted", "full", "web", "")] * 7)
            task = asyncio.create_task(tally.run())
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await client.aclose()

    asyncio.run(flood())
    assert redis.xlen(keys.feed(TAG)) == SECONDS
    assert 0 < redis.ttl(keys.feed(TAG)) <= feed.LIFE
    shown = feed.latest(redis, TAG)
    assert len(shown) == SECONDS * A_SECOND and shown[0].at == NOW * 1000 + SECONDS + 8
