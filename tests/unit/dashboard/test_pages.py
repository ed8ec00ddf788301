"""Nobody sees or does what is not theirs, and no form is taken that another page made."""

import asyncio
import re
from collections.abc import Iterator
from contextlib import ExitStack
from urllib.parse import urlencode

import httpx
import pytest
from argon2 import PasswordHasher
from starlette.applications import Starlette

from collector import tags
from collector.audience import rules
from collector.connections import Redis
from collector.dashboard import app, links
from collector.dashboard.pages import ALL
from collector.dashboard.people import AT_ONCE, WAITING, People
from collector.dashboard.site import Site
from collector.dashboard.tries import FREE
from collector.query.engine import Engine
from collector.settings import Settings
from tests.unit.parts import TAG, Parts, happened

PASSWORD = "correct horse battery"
CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
NASTY = """"><script>alert(1)</script><img src=x onerror=alert(2)>{{7*7}}'"""


@pytest.fixture
def parts(redis: Redis, settings: Settings) -> Parts:
    return Parts(redis, settings)


@pytest.fixture
def site(parts: Parts) -> Site:
    engine = Engine(parts.client, parts.installation, parts.settings, parts.clock)
    site = Site(engine, parts.installation, parts.settings)
    site.people = People(parts.client, parts.clock, CHEAP)
    return site


class Browser:
    """Asks the application within this process, and keeps its cookies."""

    def __init__(self, application: Starlette, runner: asyncio.Runner) -> None:
        transport = httpx.ASGITransport(application)
        self._client = httpx.AsyncClient(transport=transport, base_url="http://collector.example")
        self._runner = runner

    def get(self, path: str) -> httpx.Response:
        return self._runner.run(self._client.get(path))

    def speak(self, code: str) -> None:
        self._client.headers["accept-language"] = code

    def ask(self, method: str, path: str, key: str, body: object = None) -> httpx.Response:
        """A question to the API."""
        bearer = {"authorization": f"Bearer {key}"}
        return self._runner.run(self._client.request(method, path, json=body, headers=bearer))

    def post(self, path: str, data: dict[str, str], headers: dict[str, str] | None = None) -> httpx.Response:
        return self._runner.run(self._client.post(path, data=data, headers=headers))


@pytest.fixture
def browser(site: Site) -> Iterator[Browser]:
    with asyncio.Runner() as runner:
        yield Browser(Starlette(routes=app.routes(site)), runner)


def token(browser: Browser, path: str = "/dashboard/sign-in") -> str:
    found = re.search(r'name="token" value="([^"]+)"', browser.get(path).text)
    assert found
    return found[1]


def sign_in(browser: Browser, site: Site, rank: str = "admin", bound: list[str] | None = None) -> None:
    site.people.add(rank, rank, rank, bound, PASSWORD)  # type: ignore[arg-type]
    fields = {"token": token(browser), "login": rank, "password": PASSWORD}
    assert browser.post("/dashboard/sign-in", data=fields).headers["location"] == "/dashboard/audiences"


def test_who_is_not_signed_in_is_asked_to_and_comes_back_where_they_wanted(
    browser: Browser, site: Site
) -> None:
    for page in ALL:
        if page.see and page.show:
            answer = browser.get(f"/dashboard{page.path}")
            assert answer.status_code == 303, page.path
            assert answer.headers["location"].startswith("/dashboard/sign-in")
    site.people.add("anna", "Anna", "viewer", None, PASSWORD)
    asked = browser.get("/dashboard/audiences?q=cart").headers["location"]
    fields = {
        "token": token(browser, asked),
        "login": "anna",
        "password": PASSWORD,
        "next": "/audiences?q=cart",
    }
    assert (
        browser.post("/dashboard/sign-in", data=fields).headers["location"] == "/dashboard/audiences?q=cart"
    )


def test_a_wrong_password_and_an_unknown_login_get_the_same_answer(browser: Browser, site: Site) -> None:
    site.people.add("anna", "Anna", "viewer", None, PASSWORD)
    texts = []
    for login in ("anna", "nobody"):
        for _ in range(7):
            fields = {"token": token(browser), "login": login, "password": "wrong wrong wrong"}
            answer = browser.post("/dashboard/sign-in", data=fields)
            shown = re.sub(r"nonce=.\S+|value=\"[^\"]*\"", "", answer.text)
            texts.append((login, answer.status_code, shown))
    known, unknown = texts[:7], texts[7:]
    assert [row[1:] for row in known] == [row[1:] for row in unknown]
    assert [row[1] for row in known] == [401] * 5 + [429] * 2


def test_a_flood_of_guesses_neither_counts_against_others_nor_spends_their_links(
    browser: Browser, site: Site
) -> None:
    site.people.add("anna", "Anna", "viewer", None, PASSWORD)
    site.people.add("bert", "Bert", "viewer", None)
    invite = links.path(links.make(site.engine.client, links.Link(kind="invite", login="bert"), 60))
    fields = {"login": "anna", "password": PASSWORD}
    with ExitStack() as flood:
        for _ in range(AT_ONCE + WAITING):
            flood.enter_context(site.people.place())
        for path in ["/dashboard/sign-in"] * (FREE + 1) + [invite]:
            assert browser.post(path, data={**fields, "token": token(browser, path)}).status_code == 503
    for path in ("/dashboard/sign-in", invite):
        answer = browser.post(path, data={**fields, "token": token(browser, path)})
        assert answer.headers["location"] == "/dashboard/audiences"
        browser.post("/dashboard/sign-out", data={"token": token(browser, "/dashboard/audiences")})


@pytest.mark.parametrize("rank", ["viewer", "marketer"])
def test_people_and_keys_are_the_admins(browser: Browser, site: Site, rank: str) -> None:
    sign_in(browser, site, rank)
    shown = browser.get("/dashboard/audiences").text
    assert "/dashboard/keys" not in shown and "/dashboard/people" not in shown
    form = token(browser, "/dashboard/audiences")
    for path in ("/dashboard/keys", "/dashboard/people"):
        assert browser.get(path).status_code == 403
        assert browser.post(path, data={"token": form, "login": "x", "name": "x"}).status_code == 403
    assert [person.login for person in site.people.all()] == [rank]
    assert tags.list_keys(site.engine.client) == []


def test_a_form_without_our_token_or_from_another_page_changes_nothing(browser: Browser, site: Site) -> None:
    sign_in(browser, site)
    good = token(browser, "/dashboard/keys")
    fields = {"name": "reports", "role": "marketer"}
    for sent, headers in (
        ("", {}),
        ("00.00", {}),
        (good[:-1] + ("0" if good[-1] != "0" else "1"), {}),
        (good, {"sec-fetch-site": "cross-site"}),
        (good, {"sec-fetch-site": "same-site"}),
        (good, {"origin": "https://evil.example"}),
        (good, {"origin": "null"}),
    ):
        answer = browser.post("/dashboard/keys", data={**fields, "token": sent}, headers=headers)
        assert answer.status_code == 403
    assert tags.list_keys(site.engine.client) == []
    assert browser.post("/dashboard/keys", data={**fields, "token": good}).status_code == 200
    assert [key.name for key in tags.list_keys(site.engine.client)] == ["reports"]


def test_somebody_removed_or_with_a_new_password_is_out_at_once(browser: Browser, site: Site) -> None:
    sign_in(browser, site)
    assert browser.get("/dashboard/audiences").status_code == 200
    site.people.set_password("admin", PASSWORD + " and more")
    assert browser.get("/dashboard/audiences").status_code == 303
    site.people.add("bertil", "Bertil", "viewer", None)  # else it would be a first run again
    site.people.remove("admin")
    sign_in(browser, site)
    site.people.remove("admin")
    assert browser.get("/dashboard/audiences").status_code == 303
    site.people.add("admin", "another of that name", "admin", None, PASSWORD)
    assert browser.get("/dashboard/audiences").status_code == 303


def test_a_bound_viewer_sees_the_own_tags_audiences_only(browser: Browser, site: Site, parts: Parts) -> None:
    parts.registry.create("2612345678999", "theirs", "", {"event": "checkout"})
    mine = parts.registry.create(TAG, NASTY, NASTY, {"event": "checkout"})
    sign_in(browser, site, "viewer", [TAG])
    page = browser.get(f"/dashboard/audiences?q={'%3Cscript%3E'}&tag=").text
    assert "theirs" not in page and mine.id in page
    assert "<script>alert" not in page and "<img src=x" not in page and "{{7*7}}" in page
    assert "theirs" not in browser.get("/dashboard/audiences").text


def test_the_first_admin_is_made_by_the_holder_of_the_admin_key_and_only_once(
    browser: Browser, site: Site
) -> None:
    _, admin = tags.create_key(site.engine.client, tags.ADMIN, "admin")
    _, marketer = tags.create_key(site.engine.client, "m", "marketer")
    form = token(browser, "/dashboard/first-run")
    fields = {"token": form, "login": "anna", "password": PASSWORD}
    for key in ("", "guess", marketer):
        assert browser.post("/dashboard/first-run", data={**fields, "key": key}).status_code == 422
    assert not site.people.any()
    assert browser.post("/dashboard/first-run", data={**fields, "key": admin}).status_code == 303
    again = {**fields, "login": "bertil", "key": admin, "token": token(browser, "/dashboard/audiences")}
    assert browser.post("/dashboard/first-run", data=again).headers["location"] == "/dashboard/sign-in"
    assert [person.login for person in site.people.all()] == ["anna"]


def test_every_answer_carries_the_policy_and_no_page_has_script_of_its_own(
    browser: Browser, site: Site
) -> None:
    sign_in(browser, site)
    nonces = set()
    for path in ("/audiences", "/keys", "/people", "/account", "/nowhere"):
        answer = browser.get(f"/dashboard{path}")
        policy = answer.headers["content-security-policy"]
        assert "unsafe" not in policy and "default-src 'none'" in policy
        nonces.add(re.findall(r"'nonce-([^']+)'", policy)[0])
        assert not re.search(r"<script(?![^>]* src=)|\son\w+=|style=|javascript:", answer.text), path
        assert answer.headers["cache-control"] == "no-store"
    assert len(nonces) == 5


def test_a_replaced_key_works_for_a_day_and_a_revoked_one_no_longer(
    browser: Browser, site: Site, parts: Parts
) -> None:
    sign_in(browser, site)
    client = site.engine.client
    old, presented = tags.create_key(client, "shop", "server", tags=[TAG], clock=parts.clock)
    form = token(browser, "/dashboard/keys")
    page = browser.post(f"/dashboard/keys/{old.id}/rotate", data={"token": form}).text
    found = re.search(r'id="made">(server_[^<]+)<', page)
    assert found
    new = tags.lookup(client, found[1], clock=parts.clock)
    assert new is not None and new.tags == (TAG,) and new.role == "server"
    assert tags.lookup(client, presented, clock=parts.clock) is not None
    parts.now += 86_400
    assert tags.lookup(client, presented, clock=parts.clock) is None
    assert found[1] not in browser.get("/dashboard/keys").text
    form = token(browser, "/dashboard/keys") if browser.get("/dashboard/keys").status_code == 200 else ""
    if not form:  # the day has also ended the session
        site.people.remove("admin")
        sign_in(browser, site)
        form = token(browser, "/dashboard/keys")
    assert browser.post(f"/dashboard/keys/{new.id}/revoke", data={"token": form}).status_code == 303
    assert tags.lookup(client, found[1], clock=parts.clock) is None


def test_a_viewer_reads_an_audience_and_changes_or_takes_away_nothing(
    browser: Browser, site: Site, parts: Parts
) -> None:
    made = parts.registry.create(TAG, "Carts", "", {"event": "addtocart"})
    parts.work()
    sign_in(browser, site, "viewer", [TAG])
    home = f"/dashboard/audiences/{made.id}"
    for part in ("", "/flow", "/funnel", "/overlap", "/tops"):
        assert browser.get(home + part).status_code == 200
    form = token(browser, home)
    for path in (f"{home}/members?as=visitors", f"{home}/edit", "/dashboard/audiences/new"):
        assert browser.get(path).status_code == 403
    for path in (f"{home}/delete", f"{home}/restore", f"{home}/edit", "/dashboard/audiences/new"):
        assert browser.post(path, data={"token": form, "name": "x", "rule": "{}"}).status_code == 403
    assert [audience.name for audience in parts.registry.all()] == ["Carts"]


def test_an_audience_of_another_tag_is_not_there(browser: Browser, site: Site, parts: Parts) -> None:
    theirs = parts.registry.create("2612345678999", "theirs", "", {"event": "checkout"})
    sign_in(browser, site, "marketer", [TAG])
    home = f"/dashboard/audiences/{theirs.id}"
    for part in ("", "/edit", "/flow", "/funnel", "/overlap", "/tops", "/members"):
        assert browser.get(home + part).status_code == 404
    form = token(browser, "/dashboard/audiences")
    fields = {"token": form, "name": "mine", "tag": "2612345678999", "rule": '{"event": "checkout"}'}
    assert browser.post("/dashboard/audiences/new", data=fields).status_code == 422
    for act in ("delete", "edit"):
        assert browser.post(f"{home}/{act}", data=fields).status_code == 404
    parts.registry.delete(theirs)
    assert browser.post(f"{home}/restore", data={"token": form}).status_code == 404
    assert "theirs" not in browser.get(f"/dashboard/audiences?deleted={theirs.id}").text
    for path in (f"draft?audience={theirs.id}", "suggest?of=events&tag=2612345678999"):
        assert "checkout" not in browser.get(f"/dashboard/audiences/{path}").text
    counted = browser.get("/dashboard/audiences/draft?tag=2612345678999&from=json&rule=" + '{"event":"x"}')
    assert "size" not in counted.json()


def test_an_exported_file_has_the_platform_s_header_and_no_formula(
    browser: Browser, site: Site, parts: Parts
) -> None:
    hashed = "a" * 64
    parts.send(
        happened("=1+1", user_data={"em": hashed, "maid": "@maid"}), happened("b,c", user_data={"em": hashed})
    )
    made = parts.registry.create(TAG, "Carts", "", {"event": "addtocart"})
    parts.work()
    sign_in(browser, site, "marketer")

    def file(name: str) -> list[str]:
        return browser.get(f"/dashboard/audiences/{made.id}/members?as={name}").text.splitlines()

    assert sorted(file("visitors")) == ['"b,c"', "'=1+1", "visitor"]
    assert file("meta-emails") == ["email", hashed]
    assert file("google-emails") == ["Email", hashed]
    assert file("tiktok-maids") == ["MAID", "'@maid"]
    assert file("pinterest-emails") == [hashed]
    assert browser.get(f"/dashboard/audiences/{made.id}/members?as=everything").status_code == 404


def test_an_audience_is_built_and_edited_without_any_script(
    browser: Browser, site: Site, parts: Parts
) -> None:
    tags.create_tag(site.engine.client, "shop", ["https://shop.example"], "opt_in")
    (tag,) = [each.id for each in tags.list_tags(site.engine.client)]
    sign_in(browser, site, "marketer")
    fields = {"from": "sentence", "tag": tag, "c.0.role": "main", "c.0.event": "addtocart", "c.0.days": "30"}
    page = browser.get(f"/dashboard/audiences/new?{urlencode({**fields, 'do': 'add.exclude'})}").text
    assert 'name="c.1.role" value="exclude"' in page and 'name="c.2.role"' not in page
    fields |= {"c.1.role": "exclude", "c.1.event": "checkout, lead", "c.1.since": "match"}
    form = token(browser, "/dashboard/audiences/new?rule={}")
    assert (
        browser.post("/dashboard/audiences/new", data={**fields, "token": form, "name": " "}).status_code
        == 422
    )
    made = browser.post("/dashboard/audiences/new", data={**fields, "token": form, "name": "Left"})
    assert made.status_code == 303
    (audience,) = parts.registry.all()
    exclude = [{"event": ["checkout", "lead"], "since": "match"}]
    assert rules.to_json(audience.parsed()) == {
        "event": "addtocart",
        "retention_days": 30,
        "exclude": exclude,
    }
    home = f"/dashboard/audiences/{audience.id}"
    said = re.search(r'<p class="words">(.*?)</p>', browser.get(home).text, re.DOTALL)
    assert said and " ".join(re.sub(r"<[^>]+>", "", said[1]).split()) == (
        "Visitors who did addtocart in the last 30 days, who did not do checkout, lead in the last 30 days "
        "since then. Past traffic is included."
    )
    memory = browser.get(f"/dashboard/audiences/draft?{urlencode({**fields, 'c.0.event': 'new'})}").json()["memory"]
    assert memory.endswith("or nobody has come yet.")  # the conditions are new, but there are no visitors
    unfinished = urlencode({**fields, "c.0.data.0.key": "value", "c.0.data.0.op": ">"})
    answer = browser.get(f"/dashboard/audiences/draft?{unfinished}").json()
    assert "size" not in answer and answer["memory"] == "The size comes once the sentence is complete."
    written = {"token": form, "from": "json", "name": "Left", "rule": '{"event": "checkout"}'}
    assert browser.post(f"{home}/edit", data=written).status_code == 303
    assert rules.to_json(parts.registry.get(audience.id).parsed()) == {"event": "checkout"}
    assert [edit.changed for edit in parts.registry.edits(audience)] == [["rule"]]
    broken = browser.post(f"{home}/edit", data={**written, "rule": '{"event": 5}'})
    assert broken.status_code == 422 and "{&#34;event&#34;: 5}" in broken.text


def test_of_two_who_edit_an_audience_the_second_is_told_before_anything_is_lost(
    browser: Browser, site: Site, parts: Parts
) -> None:
    tag, _ = tags.create_tag(site.engine.client, "shop", ["https://shop.example"], "opt_in")
    audience = parts.registry.create(tag.id, "Carts", "", {"event": "addtocart"})
    edit = f"/dashboard/audiences/{audience.id}/edit"
    sign_in(browser, site, "marketer")

    def opened() -> dict[str, str]:
        page = browser.get(edit).text
        seen = re.search(r'name="seen" value="(\w+)"', page)
        assert seen
        fields = {"token": token(browser, edit), "seen": seen[1], "from": "json", "name": "Carts"}
        return {**fields, "rule": '{"event": "addtocart"}'}

    mine = opened()
    theirs = {**opened(), "name": "Full carts"}
    assert browser.post(edit, data=theirs).status_code == 303
    assert browser.post(edit, data=theirs).status_code == 303  # a double click changes nothing
    told = browser.post(edit, data={**mine, "rule": '{"event": "checkout"}'})
    assert told.status_code == 409 and "Somebody has changed it since you opened it." in told.text
    assert parts.registry.get(audience.id).name == "Full carts" and "&#34;checkout&#34;" in told.text
    seen = re.search(r'name="seen" value="(\w+)"', told.text)
    assert seen and browser.post(edit, data={**mine, "seen": seen[1]}).status_code == 303
    assert parts.registry.get(audience.id).name == "Carts"


def test_a_new_name_leaves_the_rule_as_it_was_written_also_where_the_sentence_says_it_otherwise(
    browser: Browser, site: Site, parts: Parts
) -> None:
    tag, _ = tags.create_tag(site.engine.client, "shop", ["https://shop.example"], "opt_in")
    rule = {"event": "checkout", "event_data": {"promo_code": {"in": [" A", "B "]}}}
    audience = parts.registry.create(tag.id, "Coupons", "", rule)
    edit = f"/dashboard/audiences/{audience.id}/edit"
    sign_in(browser, site, "marketer")
    fields = {
        "token": token(browser, edit),
        "from": "sentence",
        "name": "Codes",
        "c.0.role": "main",
        "c.0.event": "checkout",
        "c.0.least": "1",
        "c.0.days": "180",
        "c.0.data.0.key": "promo_code",
        "c.0.data.0.op": "in",
        "c.0.data.0.text": " A, B ",
    }
    shown = browser.get(edit).text
    assert all(f'value="{fields[name]}"' in shown for name in ("c.0.days", "c.0.data.0.text"))
    assert browser.post(edit, data=fields).status_code == 303
    named = parts.registry.get(audience.id)
    assert (named.name, named.rule) == ("Codes", audience.rule)
    assert browser.post(edit, data={**fields, "c.0.days": "30"}).status_code == 303
    assert parts.registry.get(audience.id).parsed().windows()[0].days == 30


def test_what_is_wrong_with_a_rule_is_a_sentence_in_the_readers_language(browser: Browser, site: Site) -> None:
    def wrong(**fields: str) -> dict[str, str]:
        told: dict[str, str] = browser.get(f"/dashboard/audiences/draft?{urlencode(fields)}").json()["wrong"]
        return told

    sign_in(browser, site, "marketer")
    days = {"from": "sentence", "c.0.role": "main", "c.0.days": "541"}
    unknown = {"from": "json", "rule": '{"foo": 1}'}
    empty = {"from": "json", "rule": '{"prefill": true}'}
    assert wrong(**days) == {"c.0.days": "Must be a whole number from 1 to 540."}
    assert wrong(**unknown)["rule"].startswith("foo: is unknown here. Use event, url, ")
    assert wrong(**empty)["rule"].startswith("It is empty. Say whom to take, ")
    browser.speak("sv")
    assert wrong(**days) == {"c.0.days": "Måste vara ett heltal från 1 till 540."}
    assert wrong(**unknown)["rule"].startswith("foo: är okänt här. Använd event, url, ")
    assert wrong(**empty)["rule"].startswith("Den är tom. Ange vilka som ska med, ")
