"""Every route of openapi.json asks for its key, and each kind of key gets what is its own: no route is forgotten."""

import hashlib
import re
from typing import Any, NamedTuple

import httpx
import pytest

from collector import keys, tags
from tests.security.conftest import ADMIN, GRANTED, ORIGIN, SECRET_NAME, Installed

Asked = dict[str, Any]
Operation = tuple[str, str]

PUBLIC = {
    ("POST", "/v1/events"),
    ("GET", "/v1/pixel.gif"),
    ("GET", "/v3/"),
    ("GET", "/tag.js"),
    ("GET", "/tag/{version}.js"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
    ("GET", "/openapi.json"),
}
ADMINS = {("POST", "/v1/tags")}
SERVERS = {("POST", "/v1/server/events")}
RULE = {"event": "checkout"}
BODIES: dict[Operation, Asked] = {
    ("POST", "/v1/tags"): {"name": "a new one", "origins": [ORIGIN]},
    ("POST", "/v1/server/events"): {"consent": GRANTED, "events": [{"event": "search", "visitor": "carl"}]},
    ("POST", "/v1/audiences"): {"name": "a new one", "rule": RULE},
    ("POST", "/v1/audiences/preview"): {"rule": RULE},
    ("PATCH", "/v1/audiences/{audience}"): {"name": "renamed"},
}
NOBODYS = "1000000000000"  # an id that no tag and no audience has: their own are random above it


class Route(NamedTuple):
    operation: Operation
    path: str  # filled in for the first tenant
    asked: Asked

    def ask(self, installed: Installed, key: str = "", **headers: str) -> httpx.Response:
        return installed.ask(self.operation[0], self.path, key, headers=headers, **self.asked)

    @property
    def roles(self) -> set[str]:
        """Who may, by CONTRACT: admins what makes tags, servers what takes events, marketers all else."""
        if self.operation in ADMINS:
            return {"admin"}
        return {"server", "admin"} if self.operation in SERVERS else {"marketer", "admin"}


def described(installed: Installed) -> dict[Operation, Any]:
    document = installed.ask("GET", "/openapi.json").json()
    return {
        (method.upper(), path): operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def routes(installed: Installed, tag: str, audience: str) -> list[Route]:
    """Every operation that is not public, asked about that tag."""
    found = []
    for operation in sorted(described(installed).keys() - PUBLIC):
        path = operation[1].format(audience=audience, tag=tag, visitor="anna")
        body = BODIES.get(operation)
        asked: Asked = {"params": {"tag": tag, "ids": audience}}
        if body is not None:
            asked["json"] = body if operation in ADMINS or operation[0] == "PATCH" else {"tag": tag, **body}
        found.append(Route(operation, path, asked))
    return found


@pytest.fixture
def mine(installed: Installed) -> list[Route]:
    return routes(installed, installed.one.tag, installed.one.audience)


def holdings(installed: Installed) -> list[Any]:
    """What a request that was refused must not have changed."""
    hashes = [
        keys.TAGS,
        keys.API_KEYS,
        keys.AUDIENCES,
        keys.PEOPLE,
        *sorted(installed.client.scan_iter("*:tombs")),
    ]
    return [
        installed.client.get(keys.ERASE_NOW),
        *((name, installed.client.hgetall(name)) for name in hashes),
    ]


def test_what_needs_no_key_is_a_closed_list(installed: Installed) -> None:
    operations = described(installed)
    assert {operation for operation, told in operations.items() if "security" not in told} == PUBLIC
    writing = {operation for operation in operations if operation[0] in ("POST", "PATCH", "PUT")} - PUBLIC
    assert writing == BODIES.keys(), "a new route needs a body here"
    assert len(operations) > len(PUBLIC) + 12


def test_without_a_key_in_use_every_route_answers_401_and_does_nothing(
    installed: Installed, mine: list[Route]
) -> None:
    record, _ = installed.key("admin")
    digest = hashlib.sha256(ADMIN.encode()).hexdigest()
    bearers = {
        "none": "",
        "nothing": "Bearer",
        "garbage": "Bearer \xff\x80 garbage",
        "long": "Bearer " + "a" * 8_000,
        "another scheme": f"Basic {ADMIN}",
        "the record's hash": f"Bearer {digest}",
        "the record's id": f"Bearer {record.id}",
        "another case": f"Bearer {ADMIN.upper()}",
        "part of it": f"Bearer {ADMIN[:-1]}",
        "expired": f"Bearer {installed.expired}",
        "revoked": f"Bearer {installed.revoked}",
    }
    before = holdings(installed)
    for route in mine:
        for kind, bearer in bearers.items():
            answer = route.ask(installed, authorization=bearer.encode("latin-1"))  # type: ignore[arg-type]
            assert answer.status_code == 401, (route.operation, kind, answer.text)
            assert answer.json()["error"].keys() == {"code", "message", "hint"}
            assert ADMIN not in answer.text and digest not in answer.text
        in_query = dict(route.asked, params={**route.asked["params"], "key": ADMIN, "access_token": ADMIN})
        answer = installed.ask(route.operation[0], route.path, **in_query)
        assert answer.status_code == 401, "a key in a URL ends up in logs"
    assert holdings(installed) == before


def test_no_method_of_a_route_goes_past_its_key(installed: Installed, mine: list[Route]) -> None:
    public = {path for _, path in PUBLIC}
    for path in {route.path for route in mine if route.operation[1] not in public}:
        for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"):
            answer = installed.ask(method, path)
            # The edge answers a page's preflight, with nothing in it.
            preflight = method == "OPTIONS" and answer.status_code == 204 and not answer.content
            assert answer.status_code in (401, 405) or preflight, (method, path)


def test_a_key_of_another_role_gets_403_and_does_nothing(installed: Installed, mine: list[Route]) -> None:
    made: dict[tags.Role, str] = {role: installed.key(role)[1] for role in ("admin", "marketer", "server")}
    before = holdings(installed)
    tried = 0
    for route in mine:
        for role, key in made.items():
            if role not in route.roles:
                answer = route.ask(installed, key)
                assert answer.status_code == 403, (route.operation, role, answer.text)
                tried += 1
    assert tried >= len(mine)
    assert holdings(installed) == before


def test_another_tenants_key_learns_nothing_and_does_nothing(installed: Installed, mine: list[Route]) -> None:
    """What it may not see looks as what is not there, to the byte."""
    nothing = {route.operation: route for route in routes(installed, NOBODYS, NOBODYS)}
    before = holdings(installed)
    other = installed.other
    for route in mine:
        for key in (other.admin, other.marketer, other.server):
            answer = route.ask(installed, key)
            absent = nothing[route.operation].ask(installed, key)
            assert SECRET_NAME + " one" not in answer.text
            assert installed.one.audience not in answer.text
            if answer.status_code == 200:
                assert route.operation == ("GET", "/v1/tags"), route.operation  # the own ones
                assert [row["tag"] for row in answer.json()["items"]] == [other.tag]
            else:
                assert answer.status_code in (403, 404), (route.operation, answer.text)
            assert (answer.status_code, answer.content) == (absent.status_code, absent.content), (
                route.operation
            )
    assert holdings(installed) == before


def test_lists_hold_the_own_only(installed: Installed) -> None:
    for key in (installed.other.admin, installed.other.marketer):
        listed = installed.ask("GET", "/v1/audiences", key).json()["items"]
        assert [row["id"] for row in listed] == [installed.other.audience]
        mixed = f"{installed.other.audience},{installed.one.audience}"
        assert installed.ask("GET", "/v1/overlap", key, params={"ids": mixed}).status_code == 404


def test_every_key_is_let_in_where_it_belongs(installed: Installed, mine: list[Route]) -> None:
    """The other side: the refusals above come of the key, not of the request."""
    one = installed.one
    own = {"admin": one.admin, "marketer": one.marketer, "server": one.server}
    for route in mine:
        if route.operation[0] in ("DELETE", "PATCH") or route.operation in ADMINS:
            continue  # they would change the tenants
        for role in route.roles:
            answer = route.ask(installed, own[role])
            assert answer.status_code in (200, 201), (route.operation, role, answer.text)
            if route.operation == ("POST", "/v1/audiences"):
                assert (
                    installed.ask("DELETE", f"/v1/audiences/{answer.json()['id']}", one.admin).status_code
                    == 204
                )


def test_redis_holds_no_key_that_could_be_presented(installed: Installed) -> None:
    records = installed.client.hgetall(keys.API_KEYS)
    for presented in (ADMIN, installed.one.server, installed.other.marketer):
        assert hashlib.sha256(presented.encode()).hexdigest().encode() in records
    everything = b"".join(field + record for field, record in records.items())
    for presented in (ADMIN, installed.one.server, installed.other.marketer):
        assert presented.encode() not in everything
    assert all(re.fullmatch(rb"[0-9a-f]{64}", field) for field in records)


def test_a_record_moved_under_another_digest_opens_nothing(installed: Installed) -> None:
    """Who could write one field of Redis still has no key."""
    forged = "a key that was never made"
    digest = hashlib.sha256(forged.encode()).hexdigest()
    installed.client.hset(keys.API_KEYS, digest, installed.client.hget(keys.API_KEYS, _digest(ADMIN)))
    try:
        assert installed.ask("GET", "/v1/tags", forged).status_code == 401
    finally:
        installed.client.hdel(keys.API_KEYS, digest)


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
