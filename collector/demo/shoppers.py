"""Shoppers: who the simulated visitors are and what they do on a visit. Pure; chance comes in as a Random."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal, NamedTuple

from collector.demo import catalogue
from collector.demo.catalogue import CATEGORIES, CURRENCY, Category, Product

Choice = Literal["accepts", "refuses", "partly", "gpc", "crawls"]
# Roughly what consent vendors publish for banners with an equal «Refuse», a little kinder so that there is
# something to see; the two rare kinds are there to be refused.
CHOICES: dict[Choice, int] = {"accepts": 62, "refuses": 24, "partly": 5, "gpc": 5, "crawls": 4}
AGENTS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Safari/605.1.15",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0",
)
CRAWLER = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
QUERIES = ("leather", "canvas", "oak", "boot", "gift", "white shoes", "lamp")

GRANTED, DENIED = "granted", "denied"
CONSENTS: dict[Choice, dict[str, object]] = {
    "accepts": {"ad_storage": GRANTED, "ad_user_data": GRANTED, "ad_personalization": GRANTED},
    "partly": {"ad_storage": GRANTED, "ad_user_data": DENIED, "ad_personalization": DENIED},
    "gpc": {"ad_storage": GRANTED, "ad_user_data": GRANTED, "ad_personalization": GRANTED, "gpc": True},
    "crawls": {"ad_storage": GRANTED, "ad_user_data": GRANTED, "ad_personalization": GRANTED},
}


@dataclass(eq=False)
class Shopper:
    """One simulated person: what returns with them on the next visit."""

    visitor: str | None  # None: the tag keeps an id only under full consent
    agent: str
    choice: Choice
    likes: Category
    keen: float  # how readily they buy and come back: most hardly, a few a lot
    cart: list[Product] = field(default_factory=list)

    @property
    def consent(self) -> dict[str, object]:
        return CONSENTS[self.choice]


class Act(NamedTuple):
    """One thing done on a page, after `pause` seconds. WITHDRAW is no event but the end of consent."""

    pause: float
    event: str
    path: str
    data: dict[str, Any]


WITHDRAW = "withdraw"


def meet(rng: Random) -> Shopper:
    """Somebody new."""
    choice = rng.choices(list(CHOICES), list(CHOICES.values()))[0]
    return Shopper(
        visitor=f"{rng.getrandbits(128):032x}" if choice in ("accepts", "crawls") else None,
        agent=CRAWLER if choice == "crawls" else rng.choice(AGENTS),
        choice=choice,
        likes=rng.choices(CATEGORIES, (5, 3, 3))[0],
        keen=rng.choices((0.6, 1.0, 2.2), (5, 3, 2))[0],
    )


def welcome_back(shopper: Shopper, rng: Random) -> Shopper:
    """Somebody who was here before; a few have told their browser to object (GPC) in the meantime."""
    if shopper.choice == "accepts" and rng.random() < 0.04:
        shopper.choice = "gpc"
    return shopper


def visit(shopper: Shopper, rng: Random) -> Iterator[Act]:
    """A visit from landing to leaving. Most carts stay behind, and some of those come back for."""

    def pause() -> float:
        return min(
            6.0, 0.5 + rng.expovariate(1 / 1.8)
        )  # a person's minute in seconds, so that there is something to see

    def act(event: str, path: str, **data: Any) -> Act:
        return Act(pause(), event, path, data)

    yield act("pagevisit", "/shop/")
    if rng.random() < 0.15:
        query = rng.choice(QUERIES)
        yield act("search", f"/shop/search?q={query.replace(' ', '+')}", search_query=query)
    if rng.random() < 0.3:
        return  # a third of visits see one page
    aisle = shopper.likes if rng.random() < 0.8 else rng.choice(CATEGORIES)
    yield act("viewcategory", f"/shop/{aisle.lower()}", product_category=aisle)
    for product in rng.sample(catalogue.of(aisle), rng.randint(1, 3)):
        page = f"/shop/p/{product.id}"
        yield act("viewcontent", page, **_priced([product]))
        if rng.random() < 0.27 * shopper.keen:
            shopper.cart.append(product)
            yield act("addtocart", page, **_priced([product]))
    if shopper.cart and rng.random() < 0.38 * shopper.keen:
        yield act("initiatecheckout", "/shop/checkout", **_priced(shopper.cart))
        if rng.random() < 0.65:
            order = f"S{rng.randrange(10**6):06d}"
            yield act(
                "checkout",
                "/shop/thanks",
                order_id=order,
                order_quantity=len(shopper.cart),
                **_priced(shopper.cart),
            )
            shopper.cart = []
    if rng.random() < 0.015:
        yield act(WITHDRAW, "/shop/")


def _priced(products: list[Product]) -> dict[str, Any]:
    return {
        "value": sum(product.price for product in products),
        "currency": CURRENCY,
        "line_items": [product.item() for product in products],
    }
