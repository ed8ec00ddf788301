"""POST /v1/events and /v1/server/events as pages and servers see them, on a real Redis."""

import asyncio
import gzip
import hashlib
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import uvicorn
from prometheus_client import REGISTRY
from starlette.applications import Starlette

from collector import connections, keys, tags
from collector.embedded import Embedded
from collector.event import StreamedEvent, decode_streamed
from collector.ingest import decode
from collector.ingest.answer import Rejected
from collector.ingest.app import routes
from collector.ingest.caller import Caller
from collector.ingest.edge import Edge
from collector.ingest.patience import Patience
from collector.settings import Settings, load
from collector.stream import read
from collector.stream.partitions import SCHEMA, Installation, open_installation

ORIGIN = "https://shop.example"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0"
GRANTED = dict.fromkeys(("ad_storage", "ad_user_data", "ad_personalization"), "granted")
VISITOR = "00112233445566778899aabbccddeeff"
WIRE: list[dict[str, Any]] = json.loads((Path(__file__).parents[1] / "vectors/wire.json").read_text())


@contextmanager
def edge(settings: Settings, installation: Installation, **parts: Any) -> Iterator[httpx.Client]:
    """An edge behind a real HTTP server, and a client that its browser thinks is at collect.shop.example."""
    client = connections.open_async(settings, timeout=1)

    served = Edge(settings, installation, client, **parts)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with served.running():
            yield
        await client.aclose()

    app = Starlette(routes=routes(served), lifespan=lifespan)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    with httpx.Client(
        base_url=f"http://127.0.0.1:{port}", headers={"host": "collect.shop.example"}
    ) as browser:
        yield browser
    server.should_exit = True
    thread.join()


class Shop:
    """A shop with a tag, its page's browser, and a look into the streams."""

    def __init__(self, browser: httpx.Client, redis: connections.Redis, settings: Settings) -> None:
        self.browser = browser
        self.redis = redis
        self.settings = settings
        self.tag, self.server_key = tags.create_tag(redis, "shop", [ORIGIN], "opt_in")

    def pixel(
        self, query: str, headers: dict[str, str] | None = None, path: str = "/v1/pixel.gif"
    ) -> httpx.Response:
        named = {"user-agent": FIREFOX, **(headers or {})}
        return self.browser.get(f"{path}?{query.replace('TAG', self.tag.id)}", headers=named)

    def body(self, *events: Any, **over: Any) -> dict[str, Any]:
        named = [{"event": "pagevisit"}] if not events and "events" not in over else list(events)
        return {"tag": self.tag.id, "visitor": VISITOR, "consent": GRANTED, "events": named, **over}

    def post(self, *events: Any, headers: dict[str, str] | None = None, **over: Any) -> httpx.Response:
        return self.send(json.dumps(self.body(*events, **over)).encode(), **(headers or {}))

    def send(self, body: bytes, **headers: str) -> httpx.Response:
        """A body as it is, from the shop's page; headers named with underscores, empty ones left out."""
        named = {"origin": ORIGIN, "user-agent": FIREFOX, "content-type": "text/plain"}
        named |= {name.replace("_", "-"): value for name, value in headers.items()}
        return self.browser.post(
            "/v1/events", content=body, headers={name: value for name, value in named.items() if value}
        )

    def serve(self, *events: Any, key: str = "", **over: Any) -> httpx.Response:
        body = {"consent": GRANTED, "events": list(events), **over}
        return self.browser.post(
            "/v1/server/events", json=body, headers={"authorization": f"Bearer {key or self.server_key}"}
        )

    def stored(self) -> list[StreamedEvent]:
        """Everything in every stream, oldest first."""
        entries = [
            (read.parse(entry.id), decode_streamed(entry.payload))
            for partition in range(self.settings.partitions)
            for entry in read.after(self.redis, partition, read.START, 10_000)
        ]
        return [event for _, event in sorted(entries, key=lambda entry: (entry[1].received_at, entry[0]))]


MakeShop = Callable[..., Shop]


@pytest.fixture
def make_shop(settings: Settings, redis: connections.Redis) -> Iterator[MakeShop]:
    """make_shop(max_events=3): a shop on an edge with these settings."""
    with ExitStack() as opened:

        def make(**overrides: Any) -> Shop:
            https = {"public_url": "https://collect.shop.example"}
            chosen = Settings(**(settings.model_dump() | https | overrides))
            return Shop(opened.enter_context(edge(chosen, open_installation(redis, chosen))), redis, chosen)

        yield make


@pytest.fixture(scope="module")
def standing(
    server: Embedded, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[httpx.Client, Settings, Installation]]:
    """One edge with the defaults for all tests that need nothing else."""
    settings = load(
        redis_url=server.url,
        data_dir=tmp_path_factory.mktemp("edge"),
        public_url="https://collect.shop.example",
    )
    with connections.open_redis(settings) as client:
        installation = open_installation(client, settings)
    with edge(settings, installation) as browser:
        yield browser, settings, installation


@pytest.fixture
def shop(standing: tuple[httpx.Client, Settings, Installation], redis: connections.Redis) -> Shop:
    """A new shop; everything that was there before is gone, but for the installation that the edge serves."""
    browser, settings, installation = standing
    browser.cookies.clear()
    known = {"secret": installation.secret.hex(), "partitions": installation.partitions, "schema": SCHEMA}
    redis.hset(keys.INSTALLATION, mapping=known)
    return Shop(browser, redis, settings)


def reasons(response: httpx.Response) -> list[str]:
    assert response.status_code == 200, response.text
    return [f"{result['outcome']} {result['reason']}" for result in response.json()["results"]]


def test_an_accepted_event_is_in_the_stream_when_the_answer_comes(shop: Shop) -> None:
    response = shop.post(
        {
            "event": "add_to_cart",
            "event_id": "e1",
            "url": "https://shop.example/p?color=red&email=a@b.example#top",
            "referrer": "https://www.pinterest.com/pin/1/",
            "data": {"value": "59.90", "currency": "EUR", "line_items": {"product_id": "0042"}},
        }
    )
    assert response.json() == {"results": [{"event_id": "e1", "outcome": "accepted", "reason": "full"}]}
    [event] = shop.stored()
    assert (event.tag, event.visitor, event.event, event.event_id) == (
        shop.tag.id,
        VISITOR,
        "addtocart",
        "e1",
    )
    assert event.url == "https://shop.example/p?color=red"
    assert event.referrer == "https://www.pinterest.com"
    assert (event.data, event.line_items) == ({"value": 59.9, "currency": "EUR"}, [{"product_id": "0042"}])
    assert (event.verdict, event.mark, event.consent, event.source) == ("full", "", "words", "web")
    assert event.user_agent == "Firefox 144"
    assert abs(event.event_time - time.time()) < 5


@pytest.mark.parametrize("case", WIRE, ids=[case["promise"] for case in WIRE])
def test_wire_vector(shop: Shop, case: dict[str, Any]) -> None:
    body = {"tag": shop.tag.id, **case["request"]}
    response = shop.send(json.dumps(body).encode(), **case.get("headers", {}))
    assert response.status_code == case["status"], response.text
    if case["status"] == 200:
        assert reasons(response) == case["results"]
    else:
        assert response.json()["error"]["code"] == case["error"]
    for name, value in case.get("answer_headers", {}).items():
        assert response.headers.get(name) == value
    stored = [
        {name: value for name, value in event_as_dict(event).items() if name in wanted}
        for event, wanted in zip(shop.stored(), case["stored"], strict=True)
    ]
    assert stored == case["stored"]


def event_as_dict(event: StreamedEvent) -> dict[str, Any]:
    return {name: getattr(event, name) for name in event.__struct_fields__}


def test_one_bad_event_never_takes_the_others_down(shop: Shop) -> None:
    now = time.time()
    response = shop.post(
        {"event": "pagevisit", "event_id": "good-1"},
        "no object",
        None,
        {"event": 7},
        {"event": "x" * 129},
        {"event": "pagevisit", "event_id": "y" * 129},
        {"event": "pagevisit", "event_time": "yesterday"},
        {"event": "pagevisit", "event_time": now * 1000},
        {"event": "pagevisit", "data": "text"},
        {"event": "pagevisit", "data": {"a": "nul \0 inside"}},
        {"event": "pagevisit", "click_ids": []},
        {"event": "pagevisit", "event_id": "good-2"},
    )
    assert reasons(response) == [
        "accepted full",
        "refused bad_event",
        "refused bad_event",
        "refused bad_event",
        "refused bad_event",
        "refused bad_event_id",
        "refused bad_time",
        "refused bad_time",
        "refused bad_data",
        "refused bad_data",
        "refused bad_data",
        "accepted full",
    ]
    assert sorted(event.event_id for event in shop.stored()) == ["good-1", "good-2"]
    ids = [result["event_id"] for result in response.json()["results"]]
    assert all(ids) and len(set(ids)) == len(ids), "every event has an id to be found by"


def test_a_repeat_is_a_duplicate_and_another_visitor_s_is_not(shop: Shop) -> None:
    event = {"event": "checkout", "event_id": "order-1"}
    assert reasons(shop.post(event)) == ["accepted full"]
    assert reasons(shop.post(event, event)) == ["duplicate event_id", "duplicate event_id"]
    assert reasons(shop.post({**event, "event": "signup"})) == ["accepted full"]
    assert reasons(shop.post(event, visitor="f" * 32)) == ["accepted full"]
    assert len(shop.stored()) == 3


def test_a_minted_event_id_is_told_and_works(shop: Shop) -> None:
    minted = shop.post({"event": "pagevisit"}).json()["results"][0]["event_id"]
    assert reasons(shop.post({"event": "pagevisit", "event_id": minted})) == ["duplicate event_id"]


# ── who may send


def test_an_unknown_tag_is_401_and_a_new_one_is_known_at_once(shop: Shop) -> None:
    unknown = shop.post(tag="1" * 13)
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (401, "unknown_tag")
    fresh, _ = tags.create_tag(shop.redis, "second", [ORIGIN], "opt_out")
    assert reasons(shop.post(tag=fresh.id)) == ["accepted full"]


@pytest.mark.parametrize(
    "origin",
    [
        "",
        "null",
        "https://evil.example",
        "http://shop.example",
        "https://shop.example:8443",
        "https://a.shop.example",
    ],
)
def test_a_foreign_origin_or_none_is_403(shop: Shop, origin: str) -> None:
    response = shop.send(json.dumps(shop.body()).encode(), origin=origin)
    assert (response.status_code, response.json()["error"]["code"]) == (403, "origin_not_allowed")
    assert shop.stored() == []


def test_every_answer_can_be_read_by_the_page(shop: Shop) -> None:
    answers = [
        shop.post(),
        shop.send(b"{"),
        shop.post(tag="1" * 13),
        shop.send(json.dumps(shop.body()).encode(), origin="https://evil.example"),
        shop.send(b"x" * (shop.settings.max_body_bytes + 1)),
        shop.browser.get("/v1/events", headers={"origin": ORIGIN}),
    ]
    assert [answer.status_code for answer in answers] == [200, 400, 401, 403, 413, 405]
    for answer in answers:
        assert answer.headers["access-control-allow-origin"] == answer.request.headers["origin"]
        assert answer.headers["access-control-allow-credentials"] == "true"
        assert "origin" in answer.headers["vary"]
        if answer.status_code != 200:
            assert set(answer.json()["error"]) == {"code", "message", "hint"}


def test_a_preflight_is_answered(shop: Shop) -> None:
    answer = shop.browser.options(
        "/v1/events", headers={"origin": ORIGIN, "access-control-request-headers": "content-type"}
    )
    assert answer.status_code == 204
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert "content-type" in answer.headers["access-control-allow-headers"]
    assert answer.headers["access-control-allow-origin"] == ORIGIN


# ── limits, each from both sides


def test_body_size(make_shop: MakeShop) -> None:
    shop = make_shop(max_body_bytes=2_000)
    body = json.dumps(shop.body()).encode()
    assert shop.send(body + b" " * (2_000 - len(body))).status_code == 200
    assert shop.send(body + b" " * (2_001 - len(body))).status_code == 413


def test_body_size_without_content_length(make_shop: MakeShop) -> None:
    shop = make_shop(max_body_bytes=2_000)
    body = json.dumps(shop.body()).encode()
    for size, status in ((2_000, 200), (2_001, 413)):
        padded = body + b" " * (size - len(body))
        chunks = iter([padded[:1_000], padded[1_000:]])
        answer = shop.browser.post(
            "/v1/events", content=chunks, headers={"origin": ORIGIN, "user-agent": FIREFOX}
        )
        assert "content-length" not in answer.request.headers
        assert answer.status_code == status


def test_gzip_is_read_and_bounded_by_what_it_unpacks_to(make_shop: MakeShop) -> None:
    shop = make_shop(max_body_bytes=2_000)
    body = json.dumps(shop.body()).encode()
    for size, status in ((2_000, 200), (2_001, 413), (50_000_000, 413)):
        packed = gzip.compress(body + b" " * (size - len(body)), 6)
        if len(packed) <= 2_000:
            assert shop.send(packed, content_encoding="gzip").status_code == status
    whole = gzip.compress(body)
    for broken in (whole[:-1], whole[:20], whole + b"x", whole + whole, body, b""):
        answer = shop.send(broken, content_encoding="gzip")
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_gzip")
    assert shop.send(body, content_encoding="br").status_code == 400


def test_number_of_events(make_shop: MakeShop) -> None:
    shop = make_shop(max_events=3)
    assert len(reasons(shop.post(*[{"event": "pagevisit"}] * 3))) == 3
    over = shop.post(*[{"event": "pagevisit"}] * 4)
    assert (over.status_code, over.json()["error"]["code"]) == (413, "too_many_events")
    assert len(shop.stored()) == 3


def test_size_of_an_event(make_shop: MakeShop) -> None:
    shop = make_shop(max_event_bytes=1_000)

    def sized(size: int) -> dict[str, Any]:
        bare = {"event": "pagevisit", "data": {"note": ""}}
        filler = size - len(json.dumps(bare, separators=(",", ":")))
        return {"event": "pagevisit", "data": {"note": "x" * filler}}

    assert reasons(shop.post(sized(1_000), sized(1_001), sized(10))) == [
        "accepted full",
        "refused too_large",
        "accepted full",
    ]


@pytest.mark.parametrize(
    "odd",
    [b'"u":1e999', b'"u":' + b"9" * 5_000, b'"u":[1e999]', b'"data":{"value":1e999}', b'"event_time":1e999'],
)
@pytest.mark.parametrize("size", [0, 70_000])
def test_a_number_that_no_machine_has_takes_no_other_event_with_it(shop: Shop, odd: bytes, size: int) -> None:
    body = json.dumps(shop.body({"event": "lead", "ODD": 0}, {"event": "search"})).encode()
    first, second = reasons(shop.send(body.replace(b'"ODD": 0', odd + b" " * size)))
    wanted = ("accepted full", "refused too_large") if odd.startswith(b'"u"') else ("refused bad_event",) * 2
    assert (first, second) == (wanted[bool(size)], "accepted full")


@pytest.mark.parametrize("member", [b'"u":"caf\xe9"', b'"caf\xe9":1', b'"data":{"k":"caf\xe9"}'])
@pytest.mark.parametrize("size", [0, 70_000])
def test_what_is_not_utf_8_is_400_wherever_it_stands(shop: Shop, member: bytes, size: int) -> None:
    body = json.dumps(shop.body({"event": "lead", "ODD": 0})).encode()
    answer = shop.send(body.replace(b'"ODD": 0', member + b" " * size))
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_json")
    assert shop.stored() == []


@pytest.mark.parametrize("size", [0, 70_000])
@pytest.mark.parametrize("events", [b"null", b"[]", b'null,"events":[]', b'5,"events":[]'])
def test_a_withdrawal_s_events_may_be_nothing(shop: Shop, events: bytes, size: int) -> None:
    body = json.dumps(shop.body(events=["E"], withdraw=True)).encode().replace(b'["E"]', events)
    assert shop.send(body + b" " * size).json() == {"results": []}
    assert [event.mark for event in shop.stored()] == ["tombstone"]


@pytest.mark.parametrize(
    ("member", "twice"),
    [("tag", b'"tag":{},"tag"'), ("events", b'"events":5,"events"'), ("sent_at", b'"sent_at":"x","sent_at"')],
)
def test_of_a_member_that_comes_twice_the_last_counts(shop: Shop, member: str, twice: bytes) -> None:
    body = json.dumps(shop.body(sent_at=time.time() * 1000)).encode()
    assert reasons(shop.send(body.replace(f'"{member}"'.encode(), twice))) == ["accepted full"]


def test_an_integer_keeps_its_digits(shop: Shop) -> None:
    long = 12345678901234567890123
    event = {"event": "lead", "event_id": long, "data": {"order_id": long, "list": [long]}}
    assert reasons(shop.post(event)) == ["accepted full"]
    (stored,) = shop.stored()
    assert (stored.event_id, stored.data["order_id"], stored.data["list"]) == (str(long), str(long), f"[{long}]")


def test_depth(make_shop: MakeShop) -> None:
    shop = make_shop(max_depth=6)

    def nested(levels: int) -> dict[str, Any]:
        value: Any = "x"
        for _ in range(levels):
            value = [value]
        return {"event": "pagevisit", "data": {"nested": value, "text": '[[[[[[[[{{{{ \\" "'}}

    # request, events, event, data: four levels
    assert shop.post(nested(2)).status_code == 200
    assert shop.post(nested(3)).status_code == 400
    assert shop.send(b"[" * 900_000).status_code == 400


def test_a_slow_body_is_408() -> None:
    """The clock of the test is a short time-out; the server is never reached."""

    async def never() -> Any:
        await asyncio.sleep(60)

    scope = {"method": "POST", "path": "/v1/events", "scheme": "https", "query_string": b"", "headers": []}

    async def attempt() -> None:
        await decode.read(never, Caller(scope), Settings(), Patience(0.05))

    with pytest.raises(Rejected) as rejected:
        asyncio.run(attempt())
    assert (rejected.value.status, rejected.value.code) == (408, "slow_body")


# ── time


def test_times_at_their_limits(shop: Shop) -> None:
    now = int(time.time())
    day, age = shop.settings.future_tolerance, shop.settings.browser_max_age
    slack = 5  # seconds that this test may take
    response = shop.post(
        *(
            {"event": "pagevisit", "event_time": at}
            for at in (now - age + slack, now - age - 1, now + day, now + day + slack, -1, 0, 10**12)
        )
    )
    assert reasons(response) == [
        "accepted full",
        "refused too_old",
        "accepted full",
        "refused bad_time",
        "refused bad_time",
        "refused too_old",
        "refused bad_time",
    ]
    newest = max(event.event_time for event in shop.stored())
    assert newest <= time.time(), "what lies ahead is clamped to receipt"


def test_a_wrong_clock_is_corrected_by_sent_at(shop: Shop) -> None:
    ahead = 40 * 86_400
    device = time.time() + ahead
    assert reasons(shop.post({"event": "pagevisit", "event_time": device - 60}, sent_at=device * 1000)) == [
        "accepted full"
    ]
    [event] = shop.stored()
    assert abs(event.event_time - (time.time() - 60)) <= 3


# ── consent, bots, the visitor's id


def test_no_consent_stores_nothing_and_sets_no_cookie(shop: Shop) -> None:
    for consent in (None, {"ad_storage": "denied"}, "granted", {"tcf": "junk"}):
        response = shop.post(consent=consent)
        assert reasons(response)[0].startswith("refused consent_")
        assert "set-cookie" not in response.headers
    assert shop.stored() == []


def test_gpc_is_stored_as_limited_with_a_bar_and_said_so(shop: Shop) -> None:
    response = shop.post(headers={"sec_gpc": "1"})
    assert reasons(response) == ["accepted limited"]
    assert response.headers["x-collector-optout"] == "honoured"
    assert "set-cookie" not in response.headers
    assert [(event.verdict, event.mark) for event in shop.stored()] == [("limited", "bar")]
    assert "x-collector-optout" not in shop.post().headers


def test_a_withdrawal_is_stored_deletes_the_cookie_and_refuses_its_events(shop: Shop) -> None:
    response = shop.post({"event": "pagevisit", "event_id": "late"}, withdraw=True)
    assert reasons(response) == ["refused withdrawn"]
    [event] = shop.stored()
    assert (event.verdict, event.mark, event.visitor, event.event) == ("none", "tombstone", VISITOR, "")
    deletions = response.headers.get_list("set-cookie")
    assert deletions and all("_collector_id=;" in each and "Max-Age=0" in each for each in deletions)
    assert {"Domain=shop.example" in each for each in deletions} == {True, False}


def test_a_withdrawal_needs_no_events(shop: Shop) -> None:
    body = {"tag": shop.tag.id, "visitor": VISITOR, "withdraw": True}
    assert shop.send(json.dumps(body).encode()).json() == {"results": []}
    assert [event.mark for event in shop.stored()] == ["tombstone"]
    unreadable = shop.send(json.dumps({**body, "visitor": "x"}).encode())
    assert (unreadable.status_code, unreadable.json()["error"]["code"]) == (400, "bad_visitor")


@pytest.mark.parametrize(
    "visitor", ["A" * 32, "0" * 31, "0" * 33, "0" * 31 + "\n", 7, {"id": 1}, "0" * 32 + "\0"]
)
def test_a_bad_browser_id_is_refused(shop: Shop, visitor: object) -> None:
    assert reasons(shop.post(visitor=visitor)) == ["refused bad_visitor"]


def test_without_an_id_the_cookie_s_is_used_and_else_one_is_minted(shop: Shop) -> None:
    assert reasons(shop.post(visitor=None, headers={"cookie": f"a=b; _collector_id={VISITOR}"})) == [
        "accepted full"
    ]
    shop.browser.cookies.clear()
    response = shop.post(visitor="", headers={"cookie": "_collector_id=garbage"})
    first, second = shop.stored()
    assert first.visitor == VISITOR
    assert second.visitor != VISITOR and len(second.visitor) == 32
    cookie = response.headers["set-cookie"]
    assert cookie.startswith(f"_collector_id={second.visitor}; ")
    for part in ("Path=/", f"Max-Age={395 * 86_400}", "SameSite=Lax", "Secure", "Domain=shop.example"):
        assert part in cookie.split("; ")
    assert "httponly" not in cookie.lower()


def test_limited_consent_mints_no_id(shop: Shop) -> None:
    assert reasons(shop.post(visitor=None, consent={"ad_storage": "granted"})) == ["refused no_visitor"]


def test_bots_and_prefetches_are_refused_and_a_withdrawal_is_not(shop: Shop) -> None:
    bot = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
    assert reasons(shop.post(headers={"user_agent": bot})) == ["refused bot"]
    assert reasons(shop.post(headers={"sec_purpose": "prefetch;prerender"})) == ["refused prefetch"]
    assert shop.stored() == []
    shop.post(headers={"user_agent": bot}, withdraw=True, events=[])
    assert [event.mark for event in shop.stored()] == ["tombstone"]


# ── servers


def test_a_server_sends_for_visitors_of_its_own(shop: Shop) -> None:
    response = shop.serve(
        {
            "event": "checkout",
            "visitor": "customer-7",
            "event_time": 1_500_000_000,
            "action_source": "offline",
        },
        {"event": "checkout", "user_data": {"external_id": "C7"}},
        {"event": "checkout", "user_data": {"em": " Jane@Shop.example "}},
        {"event": "checkout"},
        {"event": "checkout", "visitor": "x" * 65},
        {"event": "checkout", "visitor": "x" * 64, "consent": {"ad_storage": "denied"}},
        {"event": "checkout", "visitor": "x" * 64, "opt_out": True},
    )
    assert reasons(response) == [
        "accepted full",
        "accepted full",
        "accepted full",
        "refused no_visitor",
        "refused bad_visitor",
        "refused consent_denied",
        "accepted limited",
    ]
    by_visitor = {event.visitor: event for event in shop.stored()}
    assert by_visitor["customer-7"].event_time == 1_500_000_000
    assert by_visitor["customer-7"].action_source == "offline"
    assert by_visitor["x" * 64].mark == "bar"
    assert sum(visitor.startswith("hmac:") and len(visitor) == 37 for visitor in by_visitor) == 2
    assert {event.source for event in by_visitor.values()} == {"server"}
    assert "jane" not in repr(shop.stored()).lower()


def test_a_hashed_address_is_the_plain_one_s_visitor(shop: Shop) -> None:
    plain, hashed = " Jane@Shop.example ", hashlib.sha256(b"jane@shop.example").hexdigest()
    for em in (plain, hashed, hashed.upper(), [plain]):
        assert reasons(shop.serve({"event": "lead", "user_data": {"em": em}})) == ["accepted full"]
    assert len({event.visitor for event in shop.stored()}) == 1
    assert {event.user_data["em"] for event in shop.stored()} == {hashed}


def test_a_server_needs_a_key_of_its_tag(shop: Shop) -> None:
    other, other_key = tags.create_tag(shop.redis, "other", [ORIGIN], "opt_in")
    _, marketer = tags.create_key(shop.redis, "m", "marketer", tags=[shop.tag.id])
    event = {"event": "lead", "visitor": "v"}
    assert shop.serve(event, key="wrong").status_code == 401
    assert shop.browser.post("/v1/server/events", json={}).status_code == 401
    assert shop.serve(event, key=other_key, tag=shop.tag.id).status_code == 403
    assert shop.serve(event, key=marketer).status_code == 403
    assert shop.serve(event, key=other_key, tag=other.id).status_code == 200


def test_a_revoked_key_ends(make_shop: MakeShop) -> None:
    shop = make_shop(tag_cache_seconds=0)
    event = {"event": "lead", "visitor": "v"}
    assert shop.serve(event).status_code == 200
    [key] = [key for key in tags.list_keys(shop.redis) if key.tags == (shop.tag.id,)]
    assert tags.revoke(shop.redis, key.id)
    assert shop.serve(event).status_code == 401


def test_an_attested_key_speaks_for_its_visitors_unless_they_said_no(shop: Shop) -> None:
    _, plain = tags.create_key(shop.redis, "plain", "server", tags=[shop.tag.id])
    _, attested = tags.create_key(
        shop.redis, "till", "server", tags=[shop.tag.id], consent_attested="signed at the till"
    )
    event = {"event": "lead", "visitor": "v"}
    assert reasons(shop.serve(event, key=plain, consent=None)) == ["refused consent_missing"]
    assert reasons(shop.serve(event, key=attested, consent=None)) == ["accepted full"]
    denied = {"ad_storage": "denied"}
    assert reasons(shop.serve(event, key=attested, consent=denied)) == ["refused consent_denied"]


def test_a_server_is_no_bot_and_has_no_origin(shop: Shop) -> None:
    answer = shop.browser.post(
        "/v1/server/events",
        json={"consent": GRANTED, "events": [{"event": "lead", "visitor": "v"}]},
        headers={"authorization": f"Bearer {shop.server_key}", "user-agent": "python-requests/2.32"},
    )
    assert reasons(answer) == ["accepted full"]
    assert "set-cookie" not in answer.headers


# ── pages without JavaScript


ED = "ed%5Bvalue%5D=59.90&ed%5Border_id%5D=A1&ed%5Bline_items%5D%5B0%5D%5Bproduct_id%5D=0042"


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/v1/pixel.gif", f"tag=TAG&event=AddToCart&event_id=e1&consent=granted&{ED}"),
        ("/v1/pixel.gif", "tag=TAG&event=addtocart&consent=granted&ed=" + quote(
            '{"event_id":"e1","value":59.9,"order_id":"A1","line_items":[{"product_id":"0042"}]}'
        )),
        ("/v3/", f"tid=TAG&event=add_to_cart&consent=granted&noscript=1&ed%5Bevent_id%5D=e1&{ED}&pd%5Bem%5D=x&cb=123"),
        ("/v3/", "tid=TAG&event=addtocart&consent=granted&ed=" + quote(
            '{"event_id":"e1","value":"59.90","order_id":"A1","line_items":{"product_id":"0042"}}'
        )),
    ],
)  # fmt: skip
def test_a_pixel_says_what_a_post_says(shop: Shop, path: str, query: str) -> None:
    page = "https://shop.example/cart?session=1"
    answer = shop.pixel(query, {"referer": page, "cookie": f"_collector_id={VISITOR}"}, path)
    assert (answer.status_code, answer.headers["x-collector"]) == (200, "accepted full")
    [event] = shop.stored()
    assert (event.event, event.event_id, event.visitor) == ("addtocart", "e1", VISITOR)
    assert (event.data, event.line_items) == ({"value": 59.9, "order_id": "A1"}, [{"product_id": "0042"}])
    assert event.url == "https://shop.example/cart"
    assert event.user_data == {}


def test_a_pixel_is_always_the_same_gif_and_never_cached(shop: Shop) -> None:
    told = {
        "tag=TAG&event=lead&consent=granted": (200, "accepted full"),
        "tag=TAG&event=lead&consent=denied": (200, "refused consent_denied"),
        "tag=TAG&event=lead": (200, "refused consent_missing"),
        "tag=TAG&event=lead&consent=granted&consent=denied": (200, "refused consent_malformed"),
        "tag=TAG&event=lead&consent=granted&gdpr=1": (200, "refused consent_missing"),
        "tag=TAG&event=lead&consent=granted&gdpr=0&gdpr_consent=junk": (200, "accepted full"),
        "tag=TAG&event=lead&consent=granted&gdpr=1&gdpr_consent=junk": (200, "refused consent_malformed"),
        "tag=TAG&event=lead&consent=granted&gpp=junk&gpp_sid=7": (200, "refused consent_malformed"),
        "tag=TAG&event=&consent=granted": (200, "refused bad_event"),
        "tag=TAG&event=lead&consent=granted&ed={broken": (200, "accepted full"),
        "tag=TAG&event=lead&consent=granted&ed[a][b]=1&ed[a]=2&ed[": (200, "accepted full"),
        "tag=TAG&event=lead&consent=granted&visitor=x": (200, "refused bad_visitor"),
        "tag=1111111111111&event=lead": (401, "error unknown_tag"),
        "event=lead": (400, "error bad_request"),
        "": (400, "error bad_request"),
    }
    for query, wanted in told.items():
        shop.browser.cookies.clear()
        answer = shop.pixel(query)
        assert (answer.status_code, answer.headers["x-collector"]) == wanted, query
        assert answer.headers["content-type"] == "image/gif"
        assert answer.headers["cache-control"] == "no-store"
        assert (
            len(answer.content) == 43
            and answer.content.startswith(b"GIF89a")
            and answer.content.endswith(b";")
        )


def test_a_pixel_s_page_is_judged_where_the_browser_names_it(shop: Shop) -> None:
    query = "tag=TAG&event=lead&consent=granted"
    assert shop.pixel(query, {"referer": "https://evil.example/"}).status_code == 403
    assert shop.pixel(query, {"referer": "https://shop.example.evil.example/"}).status_code == 403
    assert shop.pixel(query, {"referer": "https://shop.example/"}).status_code == 200
    assert shop.pixel(query).status_code == 200


def test_a_pixel_mints_a_first_party_id_and_keeps_it(shop: Shop) -> None:
    first = shop.pixel("tag=TAG&event=lead&consent=granted", {"referer": "https://shop.example/"})
    [event] = shop.stored()
    assert f"_collector_id={event.visitor};" in first.headers["set-cookie"]
    elsewhere = shop.pixel(
        "tag=TAG&event=lead&consent=granted", {"sec-gpc": "1", "cookie": f"_collector_id={VISITOR}"}
    )
    assert elsewhere.headers["x-collector"] == "accepted limited"
    assert elsewhere.headers["x-collector-optout"] == "honoured"


# ── the tag's own files


def test_the_tag_is_served_current_and_by_version(
    settings: Settings, redis: connections.Redis, tmp_path: Path
) -> None:
    (tmp_path / "tag").mkdir()
    (tmp_path / "tag.js").write_text("current()")
    (tmp_path / "tag/1.2.0.js").write_text("released()")
    (tmp_path / "tag/compat.js").write_text("listener()")
    (tmp_path / "tag/compat-1.2.0.js").write_text("listener()")
    with edge(settings, open_installation(redis, settings), static=tmp_path) as browser:
        current, released = browser.get("/tag.js"), browser.get("/tag/1.2.0.js", headers={"origin": ORIGIN})
        assert (current.text, released.text) == ("current()", "released()")
        assert current.headers["content-type"].startswith("text/javascript")
        assert "immutable" in released.headers["cache-control"]
        assert "immutable" not in current.headers["cache-control"]
        for path, forever in (("/tag/compat.js?tag=1", False), ("/tag/compat-1.2.0.js", True)):
            listener = browser.get(path)
            assert listener.text == "listener()"
            assert ("immutable" in listener.headers["cache-control"]) == forever
        assert current.headers["access-control-allow-origin"] == "*"
        assert released.headers["access-control-allow-origin"] == ORIGIN
        again = browser.get("/tag.js", headers={"if-none-match": current.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        (tmp_path / "tag.js").write_text("newer()")
        assert browser.get("/tag.js").text == "newer()"
        for missing in ("/tag/9.9.9.js", "/tag/..%2Ftag.js", "/tag/%2e%2e.js"):
            assert browser.get(missing).status_code == 404


# ── Redis away, many at once, what is counted


def test_without_redis_nothing_is_acknowledged_and_known_tags_stay_known(
    settings: Settings, redis: connections.Redis, tmp_path: Path
) -> None:
    tag, _ = tags.create_tag(redis, "shop", [ORIGIN], "opt_in")
    installation = open_installation(redis, settings)
    body = {
        "tag": tag.id,
        "visitor": VISITOR,
        "consent": GRANTED,
        "events": [{"event": "lead", "event_id": "a"}, 7],
    }

    def one_request(chosen: Settings, body: dict[str, Any]) -> httpx.Response:
        with edge(chosen, installation) as browser:
            return browser.post("/v1/events", json=body, headers={"origin": ORIGIN, "user-agent": FIREFOX})

    assert one_request(settings, body).status_code == 200
    away = Settings(**(settings.model_dump() | {"redis_url": f"unix://{tmp_path}/nobody.sock"}))
    response = one_request(away, {**body, "events": [{"event": "lead", "event_id": "b"}, 7]})
    assert (response.status_code, response.json()["error"]["code"]) == (503, "unavailable")
    assert int(response.headers["retry-after"]) > 0
    assert [result["outcome"] for result in response.json()["results"]] == ["retry", "refused"]
    unknown = one_request(away, {**body, "tag": "1" * 13})
    assert unknown.status_code == 503, "401 would be a guess"


def test_a_full_server_gets_nothing_more(make_shop: MakeShop, redis: connections.Redis) -> None:
    shop = make_shop(high_water=0.5)
    used = redis.info("memory")["used_memory"]
    try:
        redis.config_set("maxmemory", int(used * 1.8))
        end = time.monotonic() + 10
        while "high-water" not in shop.browser.get("/readyz").text:
            assert time.monotonic() < end, "it looks every second"
            time.sleep(0.1)
        answer = shop.post()
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")
        assert shop.stored() == []
    finally:
        redis.config_set("maxmemory", 0)


def test_many_at_once_all_reach_the_disk_exactly_once(shop: Shop) -> None:
    def visit(number: int) -> list[str]:
        return reasons(shop.post(*({"event": "pagevisit", "event_id": f"{number}-{i}"} for i in range(20))))

    with ThreadPoolExecutor(8) as pool:
        told = [fate for fates in pool.map(visit, range(40)) for fate in fates]
    assert told == ["accepted full"] * 800
    ids = [event.event_id for event in shop.stored()]
    assert sorted(ids) == sorted(f"{number}-{i}" for number in range(40) for i in range(20))


def test_a_request_larger_than_a_group_is_stored_whole(shop: Shop) -> None:
    assert reasons(shop.post(*[{"event": "pagevisit"}] * 1_000)) == ["accepted full"] * 1_000
    assert len(shop.stored()) == 1_000


def test_every_fate_is_counted(shop: Shop) -> None:
    def counted(outcome: str, reason: str) -> float:
        labels = {"source": "web", "outcome": outcome, "reason": reason}
        return REGISTRY.get_sample_value("collector_events_total", labels) or 0

    fates = [
        ("accepted", "full"),
        ("duplicate", "event_id"),
        ("refused", "bad_event"),
        ("accepted", "withdrawn"),
    ]
    before = [counted(*fate) for fate in fates]
    shop.post({"event": "lead", "event_id": "1"}, {"event": "lead", "event_id": "1"}, None)
    shop.post(withdraw=True, events=[])
    assert [counted(*fate) - old for fate, old in zip(fates, before, strict=True)] == [1, 1, 1, 1]
    assert 'route="/v1/events",status="200"' in shop.browser.get("/metrics").text


def test_what_a_tag_had_to_drop_is_counted_once_it_is_heard(shop: Shop) -> None:
    def counted() -> float:
        return REGISTRY.get_sample_value("collector_tag_lost_events_total") or 0

    before = counted()
    shop.post(lost=3)
    for nonsense in (-1, "7", True, 1.5, 10**9, None):
        assert reasons(shop.post(lost=nonsense)) == ["accepted full"]
    assert counted() - before == 3


def test_ready_and_alive(shop: Shop, redis: connections.Redis) -> None:
    assert shop.browser.get("/healthz").status_code == 200
    assert shop.browser.get("/readyz").json()["reasons"] == []
    try:
        redis.config_set("appendfsync", "everysec")
        answer = shop.browser.get("/readyz")
        assert answer.status_code == 503 and "appendfsync" in answer.json()["reasons"][0]
    finally:
        redis.config_set("appendfsync", "always")


def test_streams_live_under_their_partition(shop: Shop) -> None:
    shop.post()
    installation = open_installation(shop.redis, shop.settings)
    stream = keys.events(installation.partition(shop.tag.id, VISITOR))
    assert shop.redis.xlen(stream) == 1
