"""The pixel's query strings, as the Pinterest tag and the templates of real shops write them."""

import json
import time
from typing import Any
from urllib.parse import quote

import pytest

from collector.event import CLICK_IDS
from collector.ingest import pixel
from collector.ingest.wire import Request, Sent
from collector.settings import Settings

REFERER = "https://shop.example/thanks"
NOTHING = dict.fromkeys(CLICK_IDS)
ORDER = {"value": 10, "currency": "EUR", "line_items": [{"product_id": "42"}]}


def read(query: str) -> Request:
    return pixel.request(query.encode(), REFERER, Settings())


def data(query: str) -> Any:
    return read(f"tid=1&event=checkout&{query}").events[0].data


def test_the_image_of_the_documentation() -> None:
    asked = read("tid=2612345678901&event=AddToCart&ed[value]=10.00&ed[currency]=USD&pd[em]=abc&noscript=1")
    data = {"value": "10.00", "currency": "USD"}
    assert asked == Request(
        tag="2612345678901",
        visitor="",
        user_data={"em": "abc"},
        click_ids=NOTHING,
        events=[Sent(event="AddToCart", event_id="", url=REFERER, data=data)],
    )


def test_what_the_script_of_the_pinterest_tag_asks_for() -> None:
    page = {"loc": "https://shop.example/cart", "ref": "https://pin.example/", "if": False, "sh": 900}
    asked = read(
        f"tid=1&event=checkout&ed={quote(json.dumps(ORDER))}&ad={quote(json.dumps(page))}"
        f"&pd={quote(json.dumps({'em': 'abc', 'epik': 'dj0y'}))}&dep=2%2CPAGE_LOAD&cb=1763750000000"
    )
    (event,) = asked.events
    assert event.data == ORDER
    assert (event.url, event.referrer) == (page["loc"], page["ref"])
    assert asked.click_ids == {**NOTHING, "epik": "dj0y"}


def test_the_base_code_s_image_has_no_event_and_is_an_init() -> None:
    assert read("tid=1&noscript=1").events[0].event == "init"
    assert read("tag=1").events[0].event == ""


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (
            "ed[value]=10&ed[line_items][0][product_id]=42&ed[line_items][1][product_id]=43",
            {"value": "10", "line_items": [{"product_id": "42"}, {"product_id": "43"}]},
        ),
        ("ed[a][007]=1&ed[a][8]=2", {"a": ["1", "2"]}),
        (f"ed[a][{'9' * 5000}]=1", {"a": {"9" * 5000: "1"}}),  # more digits than Python takes for a number
        ("ed%5Bvalue%5D=10&ed%5Bcurrency%5D=EUR", {"value": "10", "currency": "EUR"}),
        ("amp;ed[value]=10&amp;ed[currency]=EUR", {"value": "10", "currency": "EUR"}),
        (f"ed={quote(quote(json.dumps(ORDER)))}", ORDER),
        (f"ed={quote(quote(quote(json.dumps(ORDER))))}", ORDER),
        (f"ed={json.dumps({'value': 10, 'currency': 'EUR'})}", {"value": 10, "currency": "EUR"}),
        ("ed={'value':'10.50','currency':'EUR'}", {"value": "10.50", "currency": "EUR"}),
        ("ed={value: 10.50, currency: 'EUR'}", {"value": "10.50", "currency": "EUR"}),
        ('ed={"value":"10","currency":"EUR",}', {"value": "10", "currency": "EUR"}),
        (
            'ed={"value":10,"order_id":"A-1","line_items":[{"product_id":"42","product_na',
            {"value": "10", "order_id": "A-1"},
        ),
        ('ed={"currency":"EUR","value":10', {"currency": "EUR"}),  # might have gone on as 100
        ("ed=[1,2]", {}),
        ("ed=null", {}),
        ("ed=", {}),
        ("ed=[object Object]", {}),
        ("ed={{event data}}", {}),
        ("ed[value=10&ed]value[=10&ed[]=1", {"0": "1"}),
        ("ed=%7B%22value%22%3A10%7D&ed[currency]=EUR", {"value": 10, "currency": "EUR"}),
        ("ed={opt_out_type:LDP,value:10}", {"opt_out_type": "unreadable", "value": "10"}),
        ("ed={'opt_out_type':'LDP'}", {"opt_out_type": "LDP"}),
    ],
)
def test_event_data_is_read_as_far_as_it_can_be(query: str, found: dict[str, Any]) -> None:
    assert data(query) == found


@pytest.mark.parametrize(
    "hostile", ["a" * 30_000, "%25" * 10_000 + "7B", "'a" * 15_000, "{" * 30_000, "a:" * 15_000]
)
def test_a_hostile_text_takes_no_time_to_speak_of(hostile: str) -> None:
    start = time.perf_counter()
    data(f"ed={hostile}")
    data(f"ed=%25257B{hostile}")
    assert time.perf_counter() - start < 1
