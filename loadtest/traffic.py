"""Traffic: events as they lie in a stream, and twenty conditions of which every one of them matches three."""

from collections.abc import Iterator
from random import Random
from typing import Any

from collector.consent import ConsentedEvent, Signals, decide
from collector.event import Event

NAMES = ("pagevisit", "viewcategory", "addtocart", "checkout")
SHELVES = 6
CATEGORIES = 6
PRICES = 4  # bands of 50

RULES: list[dict[str, Any]] = [
    *({"event_data": {"product_category": f"c{n}"}} for n in range(CATEGORIES)),
    *({"url": {"contains": f"/s{n}/"}} for n in range(SHELVES)),
    *({"event_data": {"value": {">=": 50 * n, "<": 50 * (n + 1)}}} for n in range(PRICES)),
    *({"event": name, "url": {"matches": "/sale/[a-z]+$"}} for name in NAMES),
]
MATCHES = 3  # a category, a shelf and a price; nobody visits the sale


def rules(count: int) -> list[dict[str, Any]]:
    """The twenty conditions, or the first of them, and beyond them pages and products that nobody comes to."""
    others = (
        {"url": {"contains": f"/shelf-{n}/"}} if n % 2 else {"event_data": {"product_category": f"x{n}"}}
        for n in range(count)
    )
    return [*RULES, *others][:count]


GRANTED = decide(
    Signals(consent=dict.fromkeys(("ad_storage", "ad_user_data", "ad_personalization"), "granted")), "opt_in"
)


def events(
    tag: str, count: int, visitors: int, now: int, *, seed: int = 1, past_days: int = 0
) -> Iterator[ConsentedEvent]:
    """Sealed events of browser visitors; the first ones bring every visitor once, the others come back at random.

    past_days: spread over as many days before `now` (Unix seconds); 0: all of them at `now`.
    """
    random = Random(seed)
    salt = random.getrandbits(96)
    for number in range(count):
        who = number if number < visitors else random.randrange(visitors)
        product = random.randrange(1_000)
        yield GRANTED.seal(
            Event(
                tag=tag,
                visitor=f"{salt:024x}{who * 2_654_435_761 % 2**32:08x}",
                event=NAMES[product % 4],
                event_id=f"{seed:x}-{number:x}",
                event_time=now - (random.randrange(past_days * 86_400) if past_days else 0),
                received_at=now * 1000,
                url=f"https://shop.example/s{product % SHELVES}/product-{product}?colour=red",
                referrer="https://search.example",
                data={
                    "value": product % 200,
                    "currency": "EUR",
                    "product_category": f"c{product % CATEGORIES}",
                },
                line_items=[{"product_id": f"A{product % 200}", "product_name": "Walking shoes"}],
                user_agent="Chrome 142",
            )
        )
