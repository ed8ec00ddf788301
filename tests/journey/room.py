"""Room: a furnished installation for the dashboard's tests and screenshots: audiences large, small and new."""

import random
import time

from collector import tags
from collector.clock import DAY
from collector.connections import Redis
from collector.event import Event
from collector.settings import Settings
from tests.unit.parts import Parts, happened, ordinals

ADMIN_KEY = "admin_of_the_room"
HOUR = 3_600

AUDIENCES = (
    (
        "Left a cart",
        "Put something in the cart in 30 days, and has not bought since",
        {"event": "addtocart", "retention_days": 30, "exclude": [{"event": "checkout", "since": "match"}]},
    ),
    ("Buyers of half a year", "At least one order in 180 days", {"event": "checkout", "retention_days": 180}),
    (
        "Bought twice",
        "At least two orders in 180 days",
        {"event": "checkout", "min_count": 2, "retention_days": 180},
    ),
    (
        "Looked at shoes, not carted",
        "Saw a shoe in 14 days and put none in the cart",
        {
            "event": "viewcontent",
            "event_data": {"product_category": "Shoes"},
            "retention_days": 14,
            "exclude": [{"event": "addtocart"}],
        },
    ),
    ("Everybody this week", "", {"event": "pagevisit", "retention_days": 7}),
    ("Watched the film", "Engaged video viewers, 30 days", {"event": "watchvideo", "retention_days": 30}),
    (
        "Wished, but never asked",
        "Left a wish in 90 days and no lead",
        {"event": "addtowishlist", "retention_days": 90, "exclude": [{"event": "lead"}]},
    ),
)


def furnish(client: Redis, settings: Settings) -> tuple[Parts, str]:
    """The installation, and the tag of its shop. Past traffic is there, and a week of recorded sizes."""
    parts = Parts(client, settings)
    parts.now = int(time.time())
    shop, _ = tags.create_tag(client, "Marl Shoes", ["https://marl.example"], "opt_in")
    tags.create_tag(client, "Marl Magazine", ["https://magazine.example"], "opt_in")
    chance = random.Random(7)
    parts.send(*_visits(shop.id, parts.now, chance))
    for name, description, rule in AUDIENCES:
        audience = parts.registry.create(shop.id, name, description, rule)
        parts.work()
        _record_week(parts, audience.id, chance)
    # Its past is never read here: it stays as it is when a marketer has just made it.
    parts.registry.create(
        shop.id,
        "Came by the newsletter",
        "From links of the letter",
        {"url": {"contains": "utm_source=letter"}},
    )
    return parts, shop.id


def _visits(tag: str, now: int, chance: random.Random) -> list[Event]:
    """Some 900 visitors of two months; the nearer to now the more."""
    visits = []

    def happen(visitor: str, name: str, age: int, url: str = "", **data: str) -> None:
        visits.append(happened(visitor, name, age=age, now=now, tag=tag, url=url, data=data))

    for visitor in ordinals(900):
        age = int(60 * DAY * chance.random() ** 2)
        category = chance.choice(["Shoes", "Bags", "Home"])
        shelf = f"https://marl.example/{category.lower()}"
        happen(visitor, "pagevisit", age, shelf)
        product = f"{category} no. {chance.randrange(1, 5)}"
        happen(visitor, "viewcontent", age, shelf, product_category=category, product_name=product)
        if chance.random() < 0.5:
            happen(visitor, "addtocart", age)
            if chance.random() < 0.45:
                happen(visitor, "checkout", age)
                if chance.random() < 0.3:
                    happen(visitor, "checkout", age // 2)
        if chance.random() < 0.07:
            happen(visitor, "watchvideo", age)
    return visits


def _record_week(parts: Parts, audience: str, chance: random.Random) -> None:
    """Sizes every three hours of eight days up to the present one, as the worker's chore would have kept them."""
    end, kept = parts.now, parts.registry.get(audience)
    size = parts.sizes.size(kept.tag, kept.question(end))
    slope, noise = chance.uniform(0.05, 0.35), chance.uniform(0.0, 0.03)
    for back in range(8 * 8, 0, -1):
        parts.now = end - 3 * HOUR * back
        was = size * (1 - slope * back / 64) + size * chance.uniform(-noise, noise)
        parts.registry.record(kept, max(0, round(was)))
    parts.now = end
