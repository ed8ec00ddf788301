"""Pages: the shop's HTML, each page with the snippet in its head and the events of a real shop below it."""

from collections.abc import Iterable
from html import escape
from typing import Any

import orjson

from collector.demo import catalogue
from collector.demo.catalogue import CATEGORIES, CURRENCY, Product
from collector.demo.pictures import picture

NAME = "Marl"


class Pages:
    """The shop's pages, for one snippet."""

    def __init__(self, snippet: str) -> None:
        self._snippet = snippet

    def home(self) -> str:
        sections = "".join(
            f'<section><h2>{category}</h2><a class="more" href="/shop/{category.lower()}">All {category.lower()}</a>'
            f"{_grid(catalogue.of(category))}</section>"
            for category in CATEGORIES
        )
        hero = (
            '<section class="hero"><div><p class="kicker">Autumn, slowly</p><h1>Plain things,<br>made well.</h1>'
            "<p>Shoes, bags and a few things for the house. Few of each, and every one can be mended.</p>"
            '<a class="button" href="/shop/shoes">See the shoes</a></div>'
            f'<a class="lead" href="/shop/p/harbour">{picture(catalogue.BY_ID["harbour"])}</a></section>'
        )
        return self._page(NAME, hero + sections)

    def category(self, category: str) -> str:
        return self._page(
            category,
            f'<section class="alone"><h1>{category}</h1>{_grid(catalogue.of(category))}</section>',
            _track("viewcategory", {"product_category": category}),
            here=category,
        )

    def product(self, product: Product) -> str:
        others = [other for other in catalogue.of(product.category) if other is not product]
        data = {"value": product.price, "currency": CURRENCY, "line_items": [product.item()]}
        return self._page(
            product.name,
            f'<article class="product"><figure>{picture(product)}</figure><div>'
            f'<p class="kicker"><a href="/shop/{product.category.lower()}">{product.category}</a></p>'
            f'<h1>{product.name}</h1><p class="price">{_money(product.price)}</p><p>{product.text}</p>'
            f'<button class="button" data-add="{_attribute(product.item())}" disabled>Add to cart</button>'
            '<p class="small">Sent within two days. Back within sixty.</p></div></article>'
            f"<section><h2>Also in {product.category.lower()}</h2>{_grid(others)}</section>",
            _track("viewcontent", data),
            here=product.category,
        )

    def search(self, query: str) -> str:
        found = catalogue.found(query)
        said = escape(query)
        result = (
            _grid(found)
            if found
            else '<p class="none">Nothing by that name. Try «leather», «oak» or «canvas».</p>'
        )
        title = f"{len(found)} for «{said}»" if query else "Search"
        return self._page(
            "Search",
            f'<section class="alone"><h1>{title}</h1>{result}</section>',
            _track("search", {"search_query": query}) if query else "",
            query=query,
        )

    def cart(self) -> str:
        return self._page(
            "Cart",
            '<section class="alone narrow" id="cart"><h1>Cart</h1>'
            '<p class="none" data-empty hidden>Nothing in it yet. <a href="/shop/">Look around.</a></p>'
            f'<div data-full hidden>{_lines(remove=True)}<a class="button" href="/shop/checkout">Check out</a></div>'
            "</section>",
        )

    def checkout(self) -> str:
        return self._page(
            "Checkout",
            '<section class="alone narrow" id="checkout"><h1>Checkout</h1>'
            '<p class="none" data-empty hidden>There is nothing to pay. <a href="/shop/">Look around.</a></p>'
            f"<form data-full hidden>{_lines()}<fieldset><legend>Where to</legend>"
            '<label>Name<input name="name" autocomplete="off" value="Alex Sample"></label>'
            '<label>Street<input name="street" autocomplete="off" value="1 Quay Street"></label></fieldset>'
            '<button class="button">Place the order</button>'
            '<p class="small">A demo: nothing is sold, and this address goes nowhere.</p></form></section>',
        )

    def thanks(self) -> str:
        return self._page(
            "Thank you",
            '<section class="alone narrow centred" id="thanks"><p class="tick" aria-hidden="true">'
            '<svg viewBox="0 0 24 24"><path d="M5 12.5l4.5 4.5L19 7.5"/></svg></p><h1>Thank you.</h1>'
            "<p>Order <b data-order>–</b> is on its way, or would be.</p>"
            '<a class="button" href="/shop/">Back to the shop</a></section>',
        )

    def missing(self) -> str:
        return self._page(
            "Not here",
            '<section class="alone narrow centred"><h1>Not here.</h1><p><a href="/shop/">Back to the shop</a></p></section>',
        )

    def _page(self, title: str, main: str, events: str = "", *, here: str = "", query: str = "") -> str:
        shown = title if title == NAME else f"{title} · {NAME}"
        links = "".join(
            f'<a href="/shop/{category.lower()}"{" aria-current=page" if category == here else ""}>{category}</a>'
            for category in CATEGORIES
        )
        return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{shown}</title>
<link rel="icon" href="/static/icon.svg">
<link rel="stylesheet" href="/static/shop.css">
<script src="/static/watch.js"></script>
{self._snippet}
{events}
<script src="/static/shop.js" defer></script>
</head>
<body>
<header>
<a class="name" href="/shop/">{NAME}</a>
<nav>{links}</nav>
<form action="/shop/search" role="search"><input type="search" name="q" placeholder="Search" aria-label="Search" value="{escape(query)}"></form>
<a class="bag" href="/shop/cart">Cart <b data-count hidden></b></a>
</header>
<main>{main}</main>
<footer>
<form id="letter"><label for="em">A letter a season</label><div><input id="em" type="email" required placeholder="you@example.com"><button>Subscribe</button></div><output></output></form>
<div><p>{NAME} is a demo shop on your own machine. Nothing is sold.</p>
<p><button class="link" data-open>Privacy choices</button><button class="link" data-withdraw hidden>Withdraw consent</button></p></div>
</footer>
{BANNER}
</body>
</html>
"""


BANNER = """<section id="banner" role="dialog" aria-labelledby="asked" hidden>
<h2 id="asked">May we remember your visit?</h2>
<p>With your consent this shop keeps an id on this device and notes which things you look at, to show them to you again.
Without it nothing is sent and no id is kept.</p>
<form hidden>
<label><input type="checkbox" name="ad_storage"> Keep an id on this device</label>
<label><input type="checkbox" name="ad_user_data"> Send my visits for advertising</label>
<label><input type="checkbox" name="ad_personalization"> Show me things that I looked at</label>
</form>
<div><button class="button" data-accept>Accept</button><button class="button" data-refuse>Refuse</button><button class="link" data-choose>Choose</button><button class="link" data-save hidden>Save choice</button></div>
</section>"""


def _grid(products: Iterable[Product]) -> str:
    cards = "".join(
        f'<li><a href="/shop/p/{product.id}">{picture(product)}<span class="title">{product.name}</span>'
        f'<span class="price">{_money(product.price)}</span><span class="line">{product.line}</span></a></li>'
        for product in products
    )
    return f'<ul class="grid">{cards}</ul>'


def _lines(*, remove: bool = False) -> str:
    """Every product as a line of the cart, hidden: the page's script shows those that are in it."""
    button = '<button type="button" class="link" data-remove>Remove</button>' if remove else ""
    lines = "".join(
        f'<li data-line="{_attribute(product.item())}" hidden>{picture(product)}<span class="title">{product.name}</span>'
        f'<span class="number">× <b data-quantity></b></span><span class="price">{_money(product.price)}</span>{button}</li>'
        for product in catalogue.PRODUCTS
    )
    return f'<ul class="lines">{lines}</ul><p class="total">Total <b data-total></b></p>'


def _track(event: str, data: dict[str, Any]) -> str:
    # «<» would let a search for </script> end the script.
    written = orjson.dumps(data).decode().replace("<", "\\u003c")
    return f"<script>collect('track', '{event}', {written});</script>"


def _attribute(value: dict[str, Any]) -> str:
    return escape(orjson.dumps(value).decode())


def _money(euros: int) -> str:
    return f"{euros} €"
