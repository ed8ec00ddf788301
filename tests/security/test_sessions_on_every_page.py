"""Every page of the dashboard asks who is there, from its own table of pages: a new page cannot be forgotten."""

from collections.abc import Iterator
from typing import NamedTuple

import httpx
import pytest

from collector import clock, tags
from collector.dashboard import guard, pages
from collector.dashboard.people import People, Rank
from collector.dashboard.sessions import Sessions
from tests.security.conftest import ADMIN, SECRET_NAME, Installed
from tests.security.test_keys_on_every_route import holdings

PUBLIC = {"/sign-in", "/sign-in/key", "/first-run", "/link/{token}", "/sign-out", "/preferences"}
OWN = {"/account", "/account/sessions"}  # what a viewer may change: the own password and sessions
ADMINS_ONLY = ("/keys", "/people")
RANKS: tuple[Rank, ...] = ("admin", "marketer", "viewer")


class Door:
    """The dashboard as somebody's browser asks it."""

    def __init__(self, installed: Installed) -> None:
        self.installed = installed
        self.people = People(installed.client, clock.system)
        self.sessions = Sessions(installed.client, installed.settings, clock.system)

    def person(self, rank: Rank, bound: str | None = None) -> str:
        """The session of somebody new, bound to a tag or to none."""
        login = f"{rank}-{bound or 'all'}"
        self.people.remove(login)
        made = self.people.add(login, login, rank, None if bound is None else [bound])
        return self.sessions.begin(login=login, generation=made.generation)

    def ask(self, path: str, session: str, form: dict[str, str] | None = None) -> httpx.Response:
        """GET, or POST a form with the token that its page would have had."""
        path = guard.PATH + path
        cookies = {"cookie": f"collector_session={session}"}
        if form is None:
            return self.installed.ask("GET", path, headers=cookies)
        sent = {"token": guard.form_token(session), **form}
        return self.installed.ask("POST", path, headers=cookies, data=sent)


@pytest.fixture
def door(installed: Installed) -> Iterator[Door]:
    door = Door(installed)
    yield door
    for person in door.people.all():
        door.people.remove(person.login)


class Address(NamedTuple):
    pattern: str
    path: str


def addresses(installed: Installed) -> list[Address]:
    """Every page, about the first tenant's things."""
    key = next(key for key in tags.list_keys(installed.client) if key.name == "marketer one")
    named = {
        "audience": installed.one.audience,
        "tag": installed.one.tag,
        "key": key.id,
        "login": "marketer-" + installed.one.tag,
        "visitor": "anna",
        "token": "x",
    }
    return [Address(page.path, page.path.format(**named)) for page in pages.ALL]


def test_without_a_session_there_is_nothing_but_the_door(installed: Installed, door: Door) -> None:
    gone = door.person("admin")
    door.people.remove("admin-all")
    ended = door.person("marketer")
    door.sessions.end(ended)
    stolen_digest = door.person("admin")
    hashed = next(iter(installed.client.scan_iter("{c}:session:*"))).decode().rpartition(":")[2]
    before = holdings(installed)
    for session in ("", "guess", gone, ended, hashed, ADMIN):
        assert session != stolen_digest
        for pattern, path in addresses(installed):
            if pattern in PUBLIC:
                continue
            asked = door.ask(path, session)
            assert asked.status_code == 303, (pattern, asked.status_code)
            assert asked.headers["location"].startswith("/dashboard/sign-in"), pattern
            assert door.ask(path, session, {}).status_code in (401, 403), pattern
    assert holdings(installed) == before
    assert {page.path for page in pages.ALL if not page.see and not page.act} == PUBLIC


def test_no_form_is_taken_without_its_token(installed: Installed, door: Door) -> None:
    session = door.person("admin")
    before = holdings(installed)
    for pattern, path in addresses(installed):
        for token in ("", "00.00", guard.form_token("another"), guard.form_token("")):
            answer = door.ask(path, session, {"token": token, "name": "forged", "role": "admin"})
            assert answer.status_code == 403, (pattern, answer.status_code)
    assert holdings(installed) == before


def test_a_rank_does_what_is_its_own(installed: Installed, door: Door) -> None:
    for rank in RANKS:
        session = door.person(rank)
        for pattern, path in addresses(installed):
            if rank == "admin" or pattern in PUBLIC | OWN:
                continue
            before = holdings(installed)
            for_admins = pattern.startswith(ADMINS_ONLY)
            if for_admins:
                assert door.ask(path, session).status_code in (403, 405), (rank, pattern)
            if for_admins or rank == "viewer":
                assert door.ask(path, session, {}).status_code == 403, (rank, pattern)
                assert holdings(installed) == before


@pytest.mark.parametrize("rank", RANKS)
def test_nobody_of_another_tenant_sees_anything(installed: Installed, door: Door, rank: Rank) -> None:
    door.person("marketer", installed.one.tag)  # who is to stay unseen too
    session = door.person(rank, installed.other.tag)
    for pattern, path in addresses(installed):
        for query in ("", f"?tag={installed.one.tag}&ids={installed.one.audience}&q={SECRET_NAME}"):
            if "live" in pattern:  # a stream without an end
                continue
            answer = door.ask(path + query, session)
            assert answer.status_code < 500
            assert f"{SECRET_NAME} one" not in answer.text, pattern
            assert "marketer one" not in answer.text, pattern
            for known in (f"marketer-{installed.one.tag}", installed.one.audience):
                assert known in path + query or known not in answer.text, pattern


def test_an_admin_of_some_tags_gives_no_more_than_that(installed: Installed, door: Door) -> None:
    """Neither a key nor a person, nor by changing or ending those of others."""
    door.person("marketer", installed.one.tag)
    door.person("admin")
    session = door.person("admin", installed.other.tag)
    known = {key.id for key in tags.list_keys(installed.client)}
    for scope in ({}, {"scope": "all"}, {"scope": "some", "tag": installed.one.tag}):
        made = {"name": "wider", "role": "admin", **scope}
        assert door.ask("/keys", session, made).status_code == 200
        door.ask("/people", session, {"login": f"wider{len(scope)}", "rank": "admin", **scope})
    for key in tags.list_keys(installed.client):
        if key.id not in known:
            assert key.tags is not None and set(key.tags) <= {installed.other.tag}
            tags.revoke(installed.client, key.id)
    for person in door.people.all():
        if person.login.startswith("wider"):
            assert person.tags is not None and set(person.tags) <= {installed.other.tag}
    before = holdings(installed)
    for pattern, path in addresses(installed):
        if pattern.startswith(ADMINS_ONLY) and "{" in pattern:
            assert door.ask(path, session, {"rank": "viewer"}).status_code == 404, pattern
    assert door.ask("/people/admin-all/remove", session, {}).status_code == 404
    assert holdings(installed) == before


def test_an_admin_of_some_tags_changes_nothing_of_another(installed: Installed, door: Door) -> None:
    session = door.person("admin", installed.other.tag)
    form = {
        "tag": installed.one.tag,
        "visitor": "anna",
        "name": "taken over",
        "origins": "https://evil.example",
    }
    form |= {"regime": "opt_out", "act": "stop", "letter": "all", "now": "1"}
    before = holdings(installed)
    for pattern, path in addresses(installed):
        if pattern in PUBLIC | OWN or pattern in ("/keys", "/people"):
            continue
        answer = door.ask(path, session, form)
        assert answer.status_code >= 400, (pattern, answer.status_code)
        if pattern.startswith("/operations"):
            assert answer.status_code in (403, 405), pattern
    assert holdings(installed) == before


def test_the_first_admin_has_no_more_than_the_key_that_made_them(installed: Installed, door: Door) -> None:
    form = {"login": "first", "password": "correct horse battery", "key": installed.other.admin}
    token = guard.form_token("a fresh cookie")
    cookie = {"cookie": "collector_form=a fresh cookie"}
    path = f"{guard.PATH}/first-run"
    answer = installed.ask("POST", path, headers=cookie, data={"token": token, **form})
    assert answer.status_code == 303
    (first,) = door.people.all()
    assert first.tags == (installed.other.tag,)


def test_the_holder_of_a_bound_admin_key_is_bound_as_well(installed: Installed, door: Door) -> None:
    key = next(key for key in tags.list_keys(installed.client) if key.name == "admin other")
    session = door.sessions.begin(key=key.id)
    shown = door.ask("/audiences", session)
    assert shown.status_code == 200 and f"{SECRET_NAME} other" in shown.text
    assert f"{SECRET_NAME} one" not in shown.text
    marketer = next(key for key in tags.list_keys(installed.client) if key.name == "marketer other")
    not_an_admin = door.sessions.begin(key=marketer.id)
    assert door.ask("/audiences", not_an_admin).status_code == 303
