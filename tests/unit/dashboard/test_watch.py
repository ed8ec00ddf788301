"""The pages that watch an installation show what was counted, to whom it may concern, and do what they say."""

import asyncio
import re
from collections import Counter
from collections.abc import Iterator

import pytest
from starlette.applications import Starlette

from collector import audit, feed, health, keys, tags
from collector.archive.scan import Archive
from collector.audience.registry import Audience
from collector.connections import Redis
from collector.dashboard import app, bars, links
from collector.dashboard.findings import FINDINGS
from collector.dashboard.people import People
from collector.dashboard.site import Site
from collector.feed import Seen
from collector.query.engine import Engine
from collector.query.routes import routes
from collector.settings import Settings
from collector.stream import dead
from collector.stream.dead import Letter
from collector.tags import Tag
from tests.journey.watched import NASTY, watch
from tests.unit.dashboard.test_pages import CHEAP, Browser, sign_in, token
from tests.unit.parts import TAG, Parts, happened, ordinals

ANNA = f"{7:032x}"


@pytest.fixture
def parts(redis: Redis, settings: Settings) -> Parts:
    return Parts(redis, settings)


@pytest.fixture
def site(parts: Parts) -> Site:
    engine = Engine(parts.client, parts.installation, parts.settings, parts.clock)
    site = Site(engine, parts.installation, parts.settings, snippet=lambda tag, pinned: f"<{tag.id} {pinned}>")
    site.people = People(parts.client, parts.clock, CHEAP)
    return site


@pytest.fixture
def browser(site: Site) -> Iterator[Browser]:
    with asyncio.Runner() as runner:
        yield Browser(Starlette(routes=[*routes(site.engine), *app.routes(site)]), runner)


@pytest.fixture
def tag(parts: Parts) -> Tag:
    made, _ = tags.create_tag(parts.client, "Marl", ["https://marl.example"], "opt_in")
    return made


def log(parts: Parts) -> list[tuple[str, str, str]]:
    return [(line.who, line.act, line.what) for line in audit.latest(parts.client, 100)[0]]


def test_a_bound_viewer_sees_the_own_tags_install_and_nobody_elses(
    browser: Browser, site: Site, parts: Parts, tag: Tag
) -> None:
    theirs, _ = tags.create_tag(parts.client, "Theirs", ["https://theirs.example"], "opt_in")
    sign_in(browser, site, "viewer", [tag.id])
    assert "Marl" in browser.get("/dashboard/tags").text
    assert "Theirs" not in browser.get("/dashboard/tags").text
    assert browser.get(f"/dashboard/tags/{tag.id}").status_code == 200
    for path in (f"/tags/{theirs.id}", f"/tags/{theirs.id}/event?at=1", f"/privacy?tag={theirs.id}"):
        assert browser.get(f"/dashboard{path}").status_code == 404, path


@pytest.mark.parametrize("rank", ["viewer", "marketer"])
def test_only_an_admin_minds_tags_visitors_and_operations(
    browser: Browser, site: Site, parts: Parts, tag: Tag, rank: str
) -> None:
    parts.send(happened(ANNA, tag=tag.id))
    sign_in(browser, site, rank)
    form = {"token": token(browser, "/dashboard/account"), "tag": tag.id, "visitor": ANNA, "name": "x"}
    assert browser.get("/dashboard/operations").status_code == 403
    assert browser.get("/dashboard/privacy/log").status_code == 403
    for path in ("/tags", f"/tags/{tag.id}", "/operations/letters", "/operations/filling/1"):
        assert browser.post(f"/dashboard{path}", form).status_code == 403, path
    for path in ("subject", "export", "forget"):
        assert browser.post(f"/dashboard/privacy/{path}", form).status_code == 403, path
    assert len(site.engine.visitor(tag.id, ANNA)["events"]) == 1


def test_a_tag_is_made_and_edited_and_a_mistake_keeps_what_was_typed(
    browser: Browser, site: Site, parts: Parts
) -> None:
    sign_in(browser, site)
    form = {"token": token(browser, "/dashboard/tags"), "name": "Kök & Bad", "regime": "opt_out"}
    wrong = browser.post("/dashboard/tags", {**form, "origins": "kok.example"})
    assert wrong.status_code == 422 and "Kök &amp; Bad" in wrong.text and ">kok.example<" in wrong.text
    made = browser.post("/dashboard/tags", {**form, "origins": "https://kok.example\nhttps://www.kok.example"})
    (tag,) = tags.list_tags(parts.client)
    assert (tag.origins, tag.regime) == (("https://kok.example", "https://www.kok.example"), "opt_out")
    found = re.search(r'id="server-key">(server_[^<]+)<', made.text)
    assert found and tags.lookup(parts.client, found[1], clock=parts.clock)
    edited = {**form, "name": "Kök", "origins": "https://*.kok.example", "regime": "opt_in"}
    there = browser.post(f"/dashboard/tags/{tag.id}", edited).headers["location"]
    assert "paste it anew" in browser.get(there).text
    (changed,) = tags.list_tags(parts.client)
    assert (changed.name, changed.origins, changed.regime) == ("Kök", ("https://*.kok.example",), "opt_in")
    assert changed.id == tag.id and changed.created_at == tag.created_at
    assert browser.post(f"/dashboard/tags/{tag.id}", {**edited, "origins": ""}).status_code == 422
    assert log(parts)[:2] == [("admin", "edited_tag", "Kök"), ("admin", "created_tag", "Kök & Bad")]


def test_the_feed_can_be_filtered_and_what_was_stored_inspected_until_it_is_erased(
    browser: Browser, site: Site, parts: Parts, tag: Tag
) -> None:
    data = {"value": 8641.25, "product_name": NASTY}
    parts.send(happened(ANNA, "checkout", tag=tag.id, data=data, user_data={"em": "ab" * 32}))
    seen = [
        Seen(parts.now * 1000, "checkout", "accepted", "full", "web", "https://marl.example", "0a1b2c", "words"),
        Seen(parts.now * 1000, NASTY, "refused", "bad_data", "web", NASTY),
    ]
    feed.append(parts.client, tag.id, seen)
    sign_in(browser, site)
    page = browser.get(f"/dashboard/tags/{tag.id}").text
    assert "<script>alert" not in page and "<img src=x" not in page and "0a1b2c…" in page
    assert "<td>the page's word</td>" in page  # what the consent record calls «words»
    refused = browser.get(f"/dashboard/tags/{tag.id}?outcome=refused").text
    assert 'data-outcome="refused"' in refused and 'data-outcome="accepted"' not in refused
    where = f"/dashboard/tags/{tag.id}/event?at={parts.now * 1000}&event=checkout&outcome=accepted&reason=full"
    shown = browser.get(where).text
    assert "8641.25" in shown and "<script>alert" not in shown
    assert ANNA not in shown and "ab" * 32 not in shown
    site.engine.erase(tag.id, ANNA)
    assert "8641.25" not in browser.get(where).text


def test_the_numbers_of_the_privacy_page_are_the_counted_ones(
    browser: Browser, site: Site, parts: Parts, tag: Tag
) -> None:
    watch(parts, tag.id)
    counted: Counter[str] = Counter()
    for day in range(8):
        for raw, events in parts.client.hgetall(keys.tally(tag.id, parts.now // 86_400 - day)).items():
            counted[raw.decode()] += int(events)
    sign_in(browser, site)
    page = browser.get(f"/dashboard/privacy?tag={tag.id}").text
    tiles = [int(number.replace(",", "")) for number in re.findall(r"<dd[^>]*>([\d,]+)<small>", page)]
    refused = sum(counted[f"refused/{reason}"] for reason in ("consent_denied", "consent_missing", "dnt"))
    # Nine visitors opted out by GPC; the one who then withdrew has nothing here any more.
    assert tiles == [counted["accepted/full"], counted["accepted/limited"], refused, 8, 0]


def test_what_is_shown_first_is_the_tag_at_work_and_when_it_was_heard_last(
    browser: Browser, site: Site, parts: Parts, tag: Tag
) -> None:
    other, _ = tags.create_tag(parts.client, "Silent", ["https://silent.example"], "opt_in")
    parts.registry.create(other.id, "first", "", {"event": "checkout"})
    parts.registry.create(tag.id, "newest", "", {"event": "checkout"})
    watch(parts, tag.id)
    sign_in(browser, site)
    assert f'<option value="{tag.id}" selected>' in browser.get("/dashboard/privacy").text
    parts.client.hincrby(keys.tally(other.id, parts.now // 86_400), "refused/origin", 1)
    lacking = browser.get(f"/dashboard/tags/{other.id}").text
    assert "the tag does not allow: 1." in lacking
    assert '<a href="#origins">' in lacking and 'id="origins"' in lacking  # from the finding to its mend
    assert re.search(r'(\w+) <span class="soft">\d+ \w+ ago</span>', browser.get("/dashboard/tags").text)


def test_a_tag_that_was_only_imported_into_tells_its_last_event_and_no_list_waits_for_the_archive(
    browser: Browser, site: Site, parts: Parts, tag: Tag, monkeypatch: pytest.MonkeyPatch
) -> None:
    health.add(parts.client, tag.id, {("accepted", "full"): 1}, parts.now, ["lead"])
    sign_in(browser, site)
    monkeypatch.delattr(Archive, "content")  # hundreds of tags would take a minute
    page = browser.get("/dashboard/tags").text
    assert re.search(r'lead <span class="soft">\d+ \w+ ago</span>', page) and "none yet" not in page


def test_a_damaged_archive_is_told_and_takes_no_list_of_tags_away(
    browser: Browser, site: Site, parts: Parts, tag: Tag
) -> None:
    parts.send(happened("of-a-file", "lead", tag=tag.id, source="import"))
    parts.work()
    parts.flush()
    (file,) = parts.settings.archive.glob(f"p*/{tag.id}/*.parquet")
    file.write_bytes(file.read_bytes()[:-100])
    sign_in(browser, site)
    answer = browser.get(f"/dashboard/tags/{tag.id}")
    assert answer.status_code == 503 and "collector doctor" in answer.text
    answer = browser.get("/dashboard/tags")
    assert answer.status_code == 200 and tag.name in answer.text


def test_findings_outcomes_and_the_log_are_told_in_the_readers_language(
    browser: Browser, site: Site, parts: Parts, tag: Tag
) -> None:
    parts.client.hincrby(keys.tally(tag.id, parts.now // 86_400), "refused/origin", 1)
    parts.client.hincrby(keys.pace(parts.now // 60), "refused/origin", 1)
    audit.note(parts.client, tags.ADMIN, "dashboard", "signed_in", links.ENTERED)
    sign_in(browser, site)
    browser.speak("sv")
    page = browser.get(f"/dashboard/tags/{tag.id}").text
    assert "taggen inte tillåter: 1." in page and ">nekat</option>" in page
    where = f"/dashboard/tags/{tag.id}/event?at={parts.now * 1000}&event=&outcome=refused&reason=consent_denied"
    page = browser.get(where).text
    assert "En samtyckessignal säger nej." in page and "<code>consent_denied</code>" in page
    assert '<i class="refused"></i>nekat' in browser.get("/dashboard/operations").text
    page = browser.get("/dashboard/privacy/log").text
    assert "adminnyckeln" in page and "med länken från konsolen" in page


def test_a_visitor_is_looked_up_exported_and_forgotten_and_the_log_does_not_name_them(
    browser: Browser, site: Site, parts: Parts, tag: Tag
) -> None:
    parts.send(happened(ANNA, tag=tag.id), happened("bert", tag=tag.id))
    audience = parts.registry.create(tag.id, "carts", "", {"event": "addtocart"})
    parts.work()
    sign_in(browser, site)
    form = {"token": token(browser, "/dashboard/privacy"), "tag": tag.id, "visitor": ANNA}
    page = browser.post("/dashboard/privacy/subject", form).text
    assert "This cannot be taken back" in page
    told = " ".join(re.sub(r"<[^>]+>", " ", page).split())
    assert re.search(r"carts in it since 2\d Nov 2025 \d\d:\d\d , last match 2\d Nov 2025", told)
    assert "full consent · the page's word" in told
    assert not re.search(r"\d{4}-\d\d-\d\dT", page)
    exported = browser.post("/dashboard/privacy/export", form)
    assert "attachment" in exported.headers["content-disposition"]
    assert [event["event"] for event in exported.json()["events"]] == ["addtocart"]
    assert ANNA not in exported.headers["content-disposition"]
    assert site.engine.size(audience)[0] == 2
    assert "done=forgotten" in browser.post("/dashboard/privacy/forget", form).headers["location"]
    assert site.engine.size(audience)[0] == 1
    assert "Nothing is known" not in browser.post("/dashboard/privacy/subject", form).text  # the erasure is
    for page in ("subject", "export", "forget"):
        assert browser.post(f"/dashboard/privacy/{page}", {**form, "visitor": ""}).status_code == 422
    page = browser.get("/dashboard/privacy").text
    mark = site.engine.mark(tag.id, ANNA)
    assert mark in page and ANNA not in page
    raw = repr(parts.client.xrange(keys.AUDIT))
    assert ANNA not in raw and ("admin", "erased_visitor", mark) in log(parts)
    assert mark in browser.get("/dashboard/privacy/log").text


def test_what_is_done_through_the_api_is_in_the_log_too(browser: Browser, parts: Parts, tag: Tag) -> None:
    _, key = tags.create_key(parts.client, "reports", "admin", clock=parts.clock)
    asked = browser.ask("POST", "/v1/audiences", key, {"tag": tag.id, "name": "carts", "rule": {"event": "lead"}})
    audience = asked.json()["id"]
    parts.work()
    browser.ask("PATCH", f"/v1/audiences/{audience}", key, {"name": "leads"})
    browser.ask("GET", f"/v1/audiences/{audience}/members", key)
    browser.ask("DELETE", f"/v1/visitors/{ANNA}?tag={tag.id}", key)
    browser.ask("DELETE", f"/v1/audiences/{audience}", key)
    browser.ask("DELETE", f"/v1/audiences/{audience}", key)  # there is nothing to delete any more
    acts = ["deleted_audience", "erased_visitor", "exported_members", "edited_audience", "created_audience"]
    assert [act for _, act, _ in log(parts)] == acts
    assert {who for who, _, _ in log(parts)} == {"reports"}


def test_the_log_is_read_page_by_page_and_never_grows_without_end(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in range(7):
        audit.note(redis, f"who {place}", "api", "made_key", "x" * 500)
    first, following = audit.latest(redis, 5)
    rest, end = audit.latest(redis, 5, before=following)
    assert [line.who for line in [*first, *rest]] == [f"who {place}" for place in range(6, -1, -1)]
    assert end == "" and all(len(line.what) == audit.LONGEST for line in first)
    monkeypatch.setattr(audit, "MOST", 10)
    for _ in range(500):
        audit.note(redis, "who", "api", "made_key")
    assert redis.xlen(keys.AUDIT) < 250  # Redis cuts whole nodes of 100


def test_a_dead_letter_goes_back_into_its_stream_and_another_goes_for_good(
    browser: Browser, site: Site, parts: Parts
) -> None:
    for place in range(3):
        letter = dead.pack(Letter("failed", "KeyError", b"what it says"))
        parts.client.hset(keys.dead(0), f"0:{parts.now * 1000}-{place}", letter)
    sign_in(browser, site)
    page = browser.get("/dashboard/operations").text
    assert "KeyError" in page and "what it says" not in page
    form = {"token": token(browser, "/dashboard/operations")}
    one = {**form, "letter": f"0/{parts.now * 1000}-1"}
    browser.post("/dashboard/operations/letters", {**one, "act": "retry"})
    assert (parts.client.xlen(keys.events(0)), parts.client.hlen(keys.dead(0))) == (1, 2)
    browser.post("/dashboard/operations/letters", {**one, "letter": f"0/{parts.now * 1000}-0", "act": "drop"})
    assert (parts.client.xlen(keys.events(0)), parts.client.hlen(keys.dead(0))) == (1, 1)
    assert browser.post("/dashboard/operations/letters", {**one, "act": "else"}).status_code == 400
    browser.post("/dashboard/operations/letters", {**form, "letter": "all", "act": "retry"})
    assert (parts.client.xlen(keys.events(0)), parts.client.hlen(keys.dead(0))) == (2, 0)


def standing(parts: Parts, audience: Audience) -> str:
    return parts.registry.standings([audience])[0].status


def test_a_stopped_backfill_stays_stopped_and_goes_on_where_it_was(
    browser: Browser, site: Site, parts: Parts
) -> None:
    parts.send(*(happened(visitor, age=3_600) for visitor in ordinals(30)))
    parts.apply()
    parts.flush()
    audience = parts.registry.create(TAG, "carts", "", {"event": "addtocart"})
    sign_in(browser, site)
    form = {"token": token(browser, "/dashboard/operations")}
    browser.post(f"/dashboard/operations/filling/{audience.id}", {**form, "act": "stop"})
    parts.fill()
    assert standing(parts, audience) == "FAILED"
    assert site.engine.size(audience)[0] is None
    assert 'value="resume"' in browser.get("/dashboard/operations").text
    browser.post(f"/dashboard/operations/filling/{audience.id}", {**form, "act": "resume"})
    parts.fill()
    assert standing(parts, audience) == "READY"
    assert site.engine.size(audience)[0] == 30
    # What is filled cannot be stopped: there is nothing left to do.
    browser.post(f"/dashboard/operations/filling/{audience.id}", {**form, "act": "stop"})
    assert standing(parts, audience) == "READY"


def test_operations_tell_lag_and_who_is_silent(browser: Browser, site: Site, parts: Parts) -> None:
    parts.send(happened(ANNA, now=parts.now))
    (ms,) = (int(row[0].split(b"-")[0]) for row in parts.client.xrange(keys.events(0)))
    (partition,) = site.operations.partitions(ms / 1000 + 42)
    assert (partition.stream, partition.owned, partition.fresh_seconds) == (1, False, None)
    assert partition.lag_seconds == pytest.approx(42)
    parts.apply()
    (partition,) = site.operations.partitions(ms / 1000 + 50)
    assert partition.lag_seconds == 0 and partition.unarchived_seconds == pytest.approx(50)
    said = b'{"at": %d, "spooled": 12, "away": false, "full": false, "failure": ""}'
    parts.client.hset(keys.EDGES, "collector:one:1", said % parts.now)
    parts.client.hset(keys.EDGES, "collector:two:2", said % (parts.now - 60))
    parts.client.hset(keys.EDGES, "collector:gone:3", said % (parts.now - 90_000))
    assert set(site.operations.edges(parts.now)) == {"one:1", "two:2"}
    assert parts.client.hlen(keys.EDGES) == 2
    sign_in(browser, site)
    page = browser.get("/dashboard/operations").text
    assert "12 in its spool" in page and "silent since" in page and "1 partition has no worker" in page


def test_every_finding_has_a_title_and_a_mend_in_the_dashboard() -> None:
    assert set(health.MENDS) <= set(FINDINGS)
    assert all(FINDINGS[code][1] == mend for code, mend in health.MENDS.items())


def test_bars_are_drawn_beside_the_largest_and_columns_as_high_as_their_sum() -> None:
    assert [(line.name, line.share, line.of) for line in bars.lines([("a", 1), ("b", 3)])] == [
        ("b", 100, 75),
        ("a", 33.3, 25),
    ]
    pieces = bars.columns([{"x": 1}, {"x": 1, "y": 3}, {}], ["x", "y"], gap=0)
    assert [(piece.kind, piece.y, piece.height) for piece in pieces] == [("x", 75, 25), ("x", 75, 25), ("y", 0, 75)]
    assert bars.columns([{}, {}], ["x"]) == []
