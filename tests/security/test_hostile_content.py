"""Whatever comes through any field: no 5xx, nothing executed or injected, one log line an entry, nothing else lost."""

import csv
import gzip
import io
import json
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from collector import tags
from collector.dashboard.sessions import Sessions
from collector.outcomes import TABLE
from tests.security.conftest import ADMIN, GRANTED, ORIGIN, Installed, Log, Tenant
from tests.security.test_key_rotation import said

MARK = "zq9xmark"  # in everything that is sent: no log may hold it
CHROME = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"
)
ID = "0123456789abcdef0123456789abcdef"
FATES = {(fate.outcome, fate.reason) for fate in TABLE}

NAUGHTY = [
    "",
    " ",
    "\0",
    "a\0b",
    "\r\nSet-Cookie: session=1\r\n\r\n<html>",
    '\n{"level":"info","event":"forged"}',
    "\x1b[2J\x1b]0;forged\x07",
    "\x7f\x80\x9b",
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>'",
    "javascript:alert(1)",
    "{{7*7}}${7*7}<%= 7*7 %>#{7*7}",
    "=cmd|' /C calc'!A1",
    "+1+1",
    "-2+3",
    "@SUM(1)",
    "\t=1+1",
    "\r=1+1",
    "a,b;c\"d'",
    "'; DROP TABLE rows; --",
    "' OR '1'='1",
    "x') UNION SELECT * FROM read_csv('/etc/passwd') --",
    "../../../etc/passwd",
    "..\\..\\windows",
    "%00%0d%0aX-Injected: 1",
    "%s%n%x{0}",
    "$(touch injected)`touch injected`|touch injected",
    "{p00}:events",
    "*1\r\n$8\r\nFLUSHALL\r\n",
    "\u202egnp.exe\u202c",
    "\ufeffbom",
    "\u2028\u2029",
    "\ufffe\uffff\ue000",
    "𝕏😀👨\u200d👩\u200d👧",
    "e" + "\u0301" * 60,
    "NaN",
    "-Infinity",
    "1e400",
    "9" * 60,
    "-0",
    "0x7f",
    "null",
    "__proto__",
    "constructor",
    "(a+)+$",
    "a" * 3_000,
]
NUMBERS = [
    "1e400",
    "-1e400",
    "1e-400",
    "9" * 400,
    "-0",
    "-0.0",
    "18446744073709551616",
    "9007199254740993",
    "0.1e-320",
    "1".zfill(18) + "0" * 5_000,
]
UNREADABLE = [
    b"",
    b"{",
    b"null",
    b"[]",
    b'"text"',
    b"\xff\xfe",
    b"\xef\xbb\xbf{}",
    b'{"tag": "\xc0\xaf"}',
    b'{"tag": "\\ud800"}',
    b'{"tag": NaN}',
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b'{"events": [' + b"[" * 100_000 + b"]" * 100_000 + b"]}",
    b"\0" * 1_000,
    gzip.compress(b"{}")[:-4],
]
# What takes exponential time in an engine that goes back, or too much memory in one that does not.
EVIL_PATTERNS = [
    "(a+)+$",
    "(a|a)*$",
    "(a|aa)+$",
    "(.*a){25}$",
    "(?:a+a+)+!",
    "^(([a-z])+.)+[A-Z]([a-z])+$",
    "((a{1,100}){1,100}){1,100}",
    "(" * 400 + "a" + ")" * 400,
    "(?=a)a",
    r"(a)\1",
    "[",
    "(?P<a>",
    r"\C*",
    "(*UTF8)a",
    r"\p{Nope}",
]


@pytest.fixture(scope="module")
def tenant(installed: Installed) -> Tenant:
    """A tenant of these tests' own."""
    return Tenant(installed, "hostile", "signup")


def calm(answer: httpx.Response) -> httpx.Response:
    """An answer that was meant: no 5xx, no header that the request brought in."""
    assert answer.status_code < 500, answer.text[:500]
    assert (
        not {"set-cookie", "x-injected"} & answer.headers.keys()
        or "_collector_id=" in answer.headers["set-cookie"]
    )
    return answer


def undisturbed(log: Log) -> None:
    """Each line of the log is one entry of ours, no fault was logged, and nothing of what was sent."""
    for line in log.lines:
        entry = json.loads(line)
        assert entry["event"] != "forged" and entry["level"] not in ("error", "critical"), line
    assert MARK not in log.text


def fields(text: str) -> list[dict[str, Any]]:
    """One event for each field, with this text in it."""
    good: dict[str, Any] = {"event": "addtocart", "data": {"value": 1}}
    return [
        {**good, **bad}
        for bad in (
            {"event": text},
            {"event_id": text},
            {"event_time": text},
            {"url": text},
            {"url": f"{ORIGIN}/{text}?q={text}#{text}"},
            {"referrer": text},
            {"action_source": text},
            {"data": text},
            {"data": {text: text}},
            {"data": {"value": text, "currency": text, "line_items": text}},
            {"data": {"line_items": [{text: text, "product_id": text, "product_price": text}]}},
            {"data": {"deep": [[[{"er": text}]]]}},
            {"user_data": {"em": text, "ph": text, "external_id": text, "maid": text}},
            {"click_ids": {"epik": text, text: text}},
            {"consent": text},
            {"visitor": text},
            {text: text},
        )
    ]


def fates(answer: httpx.Response, count: int) -> None:
    """Each event has one fate of the closed list."""
    results = calm(answer).json()["results"]
    assert len(results) == count
    assert {(result["outcome"], result["reason"]) for result in results} <= FATES


@pytest.mark.parametrize("wrapped", [str, lambda text: f"{text}{MARK}"], ids=["as it is", "marked"])
def test_no_text_in_an_event_does_anything_but_be_an_event(
    installed: Installed, tenant: Tenant, logged: Log, wrapped: Callable[[str], str]
) -> None:
    for naughty in map(wrapped, NAUGHTY):
        events = fields(naughty)
        body = {"tag": tenant.tag, "visitor": ID, "consent": GRANTED, "events": events}
        fates(
            installed.ask("POST", "/v1/events", json=body, headers={"origin": ORIGIN, "user-agent": CHROME}),
            len(events),
        )
        server = {**body, "visitor": "eva"}
        fates(installed.ask("POST", "/v1/server/events", tenant.server, json=server), len(events))
        for top in (
            "tag",
            "visitor",
            "sent_at",
            "consent",
            "withdraw",
            "user_data",
            "click_ids",
            "opt_out",
            "events",
        ):
            if top != "withdraw":  # of text it is a withdrawal, if anything
                calm(installed.ask("POST", "/v1/server/events", tenant.server, json={**server, top: naughty}))
        query = {
            "tag": tenant.tag,
            "event": naughty,
            f"ed[{naughty}]": naughty,
            "ed": naughty,
            "pd": naughty,
            "gpp": naughty,
        }
        calm(installed.ask("GET", "/v1/pixel.gif", params=query))
        calm(
            installed.ask(
                "GET",
                "/v3/",
                params={**query, "tid": tenant.tag, "gdpr_consent": naughty, "consent": "granted"},
            )
        )
    undisturbed(logged)


def test_no_text_in_a_header_does_anything(installed: Installed, tenant: Tenant, logged: Log) -> None:
    body = {"tag": tenant.tag, "consent": GRANTED, "events": [{"event": "lead"}]}
    names = (
        "origin",
        "referer",
        "host",
        "cookie",
        "user-agent",
        "x-forwarded-for",
        "forwarded",
        "sec-gpc",
        "dnt",
    )
    for naughty in [
        *NAUGHTY,
        "[",
        "http://[::1",
        "http://a:b",
        "_collector_id=" + "a" * 3_000,
        "http://" + "x." * 500,
    ]:
        value = "".join(letter for letter in naughty + MARK if letter not in "\r\n\0").encode().strip()
        for name in (*names, "content-type", "content-encoding", "accept", "accept-language", "sec-purpose"):
            headers: Any = {"origin": ORIGIN, name: value}
            for method, path, sent in (
                ("POST", "/v1/events", body),
                ("GET", f"/v1/pixel.gif?tag={tenant.tag}&event=lead", None),
                ("GET", "/dashboard/sign-in", None),
            ):
                answer = installed.ask(method, path, headers=headers, json=sent)
                assert answer.status_code < 500, (name, value, answer.text)
    undisturbed(logged)


@pytest.mark.parametrize("number", NUMBERS, ids=lambda text: text[:12])
def test_no_number_is_too_large_or_too_odd(
    installed: Installed, tenant: Tenant, logged: Log, number: str
) -> None:
    written = (
        '{"tag":"%s","visitor":"eva","consent":%s,"sent_at":%s,"events":[{"event":"lead","event_time":%s},'
        '{"event":"lead","event_id":%s,"data":{"value":%s,"k":%s}}]}'
    )
    body = written % (tenant.tag, json.dumps(GRANTED), number, *[number] * 4)
    calm(installed.ask("POST", "/v1/server/events", tenant.server, content=body.encode()))
    condition = '{"event":"lead","min_count":%s,"retention_days":%s,"event_data":{"value":{">":%s}}}'
    for rule in (condition % (number, 1, 1), condition % (1, number, 1), condition % (1, 1, number)):
        asked = f'{{"tag":"{tenant.tag}","name":"numbers","rule":{rule}}}'.encode()
        calm(installed.ask("POST", "/v1/audiences/preview", tenant.marketer, content=asked))
    for name in ("lookback_days", "as_of"):
        calm(
            installed.ask(
                "GET", f"/v1/audiences/{tenant.audience}/size", tenant.marketer, params={name: number}
            )
        )
    for name in ("cursor", "limit"):
        calm(installed.ask("GET", "/v1/audiences", tenant.marketer, params={name: number}))
    undisturbed(logged)


@pytest.mark.parametrize("number", [2**63, 2**64, 12345678901234567890123, -(10**40), 0.1, 10**15, 2.5e17])
def test_a_rule_finds_a_number_as_it_was_sent(installed: Installed, tenant: Tenant, number: float) -> None:
    visitor = f"counts {number:.3g}"  # erased at the end, which takes what is of the same second
    sent = tenant.send(visitor, event="schedule", data={"k": number}).json()
    assert sent["results"][0]["outcome"] == "accepted"
    for asked, size in (({"=": number}, 1), ({"in": [number]}, 1), ({"!=": number}, 0)):
        rule = {"event": "schedule", "event_data": {"k": asked}}
        preview = {"tag": tenant.tag, "rule": rule}
        end = time.monotonic() + 10
        while True:
            found = installed.ask("POST", "/v1/audiences/preview", tenant.marketer, json=preview).json()["size"]
            if found == size:
                break
            assert time.monotonic() < end, (asked, found)
            time.sleep(0.05)
    installed.ask("DELETE", f"/v1/visitors/{visitor}", ADMIN, params={"tag": tenant.tag})


def test_where_nothing_is_is_an_error_like_all_others(installed: Installed) -> None:
    for method, path, status in (("GET", "/v1/nope", 404), ("DELETE", "/v1/tags", 405), ("PUT", "/v1/audiences", 405)):
        answer = installed.ask(method, path, ADMIN, headers={"origin": ORIGIN})
        assert answer.status_code == status
        assert answer.json()["error"].keys() == {"code", "message", "hint"}
        assert answer.headers["access-control-allow-origin"] == "*"
        assert (status == 405) == ("allow" in answer.headers)


def test_what_cannot_be_read_is_a_400_at_every_way_in(
    installed: Installed, tenant: Tenant, logged: Log
) -> None:
    for raw in UNREADABLE:
        for path, key in (
            ("/v1/events", ""),
            ("/v1/server/events", tenant.server),
            ("/v1/audiences", tenant.marketer),
            ("/v1/audiences/preview", tenant.marketer),
            ("/v1/tags", ADMIN),
        ):
            answer = installed.ask("POST", path, key, content=raw, headers={"origin": ORIGIN})
            assert answer.status_code in (400, 401), (path, raw[:30], answer.text)
            assert answer.json()["error"].keys() == {"code", "message", "hint"}
    undisturbed(logged)


def test_instants_and_cursors_are_read_or_refused(installed: Installed, tenant: Tenant, logged: Log) -> None:
    path = f"/v1/audiences/{tenant.audience}"
    odd = [
        "0001-01-01",
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59-23:59",
        "2026-02-30",
        "20261121",
        "1969-12-31",
    ]
    for text in [*odd, *NAUGHTY, "9999-9999999999", "0-0", "1-1-1", "-1", "٣"]:
        for where, name in (
            (f"{path}/size", "as_of"),
            (f"{path}/size", "lookback_days"),
            ("/v1/audiences", "tag"),
        ):
            calm(installed.ask("GET", where, tenant.marketer, params={name: text}))
        for name in ("cursor", "as", "format"):
            calm(installed.ask("GET", f"{path}/members", tenant.marketer, params={name: text}))
        calm(installed.ask("GET", "/v1/overlap", tenant.marketer, params={"ids": text}))
        erased = f"/v1/visitors/{quote(text or 'x', safe='')}"
        calm(installed.ask("DELETE", erased, tenant.marketer, params={"tag": tenant.tag}))
    for text in NAUGHTY[1::5]:  # each reads the archive
        known = f"/v1/visitors/{quote(text, safe='')}"
        calm(installed.ask("GET", known, tenant.marketer, params={"tag": tenant.tag}))
    undisturbed(logged)


def test_no_pattern_takes_long(installed: Installed, tenant: Tenant, logged: Log) -> None:
    long = {"event": "viewcontent", "url": f"{ORIGIN}/{'a' * 1_500}!"}
    assert tenant.send("eva", **long).json()["results"][0]["outcome"] == "accepted"
    for pattern in EVIL_PATTERNS:
        rule = {"event": "viewcontent", "url": {"matches": pattern}}
        begun = time.monotonic()
        preview = {"tag": tenant.tag, "rule": rule}
        answer = calm(installed.ask("POST", "/v1/audiences/preview", tenant.marketer, json=preview))
        assert answer.status_code in (200, 422), answer.text
        assert time.monotonic() - begun < 3, pattern
        if answer.status_code == 200:
            made = installed.ask(
                "POST", "/v1/audiences", tenant.marketer, json={**preview, "name": "pattern"}
            ).json()
            end = time.monotonic() + 10  # the worker has matched it, live and past
            while installed.ask("GET", f"/v1/audiences/{made['id']}", tenant.marketer).json()["size"] is None:
                assert time.monotonic() < end, pattern
                time.sleep(0.02)
            installed.ask("DELETE", f"/v1/audiences/{made['id']}", tenant.marketer)
    undisturbed(logged)


def test_hostile_names_are_shown_as_they_are_or_refused(
    installed: Installed, tenant: Tenant, logged: Log
) -> None:
    """In the API to the letter, on a page as text, in a terminal as one line that obeys nothing."""
    session = Sessions(installed.client, installed.settings, time.time).begin(
        key=next(key.id for key in tags.list_keys(installed.client) if key.name == "admin hostile")
    )
    taken: list[str] = []
    conditions: list[Any] = []
    for naughty in NAUGHTY:
        condition = {
            "event": naughty,
            "url": {"contains": naughty},
            "event_data": {naughty: {"in": [naughty]}},
        }
        body: dict[str, Any] = {"tag": tenant.tag, "name": naughty, "description": naughty}
        answer = calm(
            installed.ask("POST", "/v1/audiences", tenant.marketer, json={**body, "rule": condition})
        )
        if answer.status_code == 201:
            conditions.append(condition)
            installed.ask("DELETE", f"/v1/audiences/{answer.json()['id']}", tenant.marketer)
        body["rule"] = {"event": "lead"}
        calm(
            installed.ask(
                "POST", "/v1/audiences/preview", tenant.marketer, json={"tag": tenant.tag, "rule": naughty}
            )
        )
        calm(
            installed.ask(
                "POST", "/v1/tags", ADMIN, json={"name": "x", "origins": [naughty], "regime": naughty}
            )
        )
        calm(
            installed.ask("POST", "/v1/tags", ADMIN, json={"name": naughty, "origins": ["http://[", naughty]})
        )
        answer = calm(installed.ask("POST", "/v1/audiences", tenant.marketer, json=body))
        if answer.status_code == 201:
            shown = answer.json()
            assert (shown["name"], shown["description"]) == (naughty.strip(), naughty)
            taken.append(shown["id"])
    for searched in ("", *NAUGHTY[:12:3]):
        cookie = {"cookie": f"collector_session={session}"}
        page = installed.ask("GET", "/dashboard/audiences", headers=cookie, params={"q": searched})
        assert page.status_code == 200
        assert "<script>alert" not in page.text and "<img src=x" not in page.text
    assert len(taken) > len(NAUGHTY) / 2 and len(conditions) > len(NAUGHTY) / 2
    past = {"tag": tenant.tag, "rule": {"any": conditions}}
    assert installed.ask("POST", "/v1/audiences/preview", tenant.marketer, json=past).json()["size"] == 0
    listed = said(installed, "audience", "list")
    assert not any(
        (ord(letter) < 32 and letter != "\n") or letter in "\x7f\x9b\u202e\u2028" for letter in listed
    )
    assert all(any(line.startswith(known) for line in listed.splitlines()) for known in taken)
    for known in taken:
        installed.ask("DELETE", f"/v1/audiences/{known}", tenant.marketer)
    undisturbed(logged)


def test_exports_hold_hostile_visitors_and_nothing_that_runs(installed: Installed, logged: Log) -> None:
    tenant = Tenant(installed, "exported", "schedule")
    accepted = set()
    for naughty in NAUGHTY:
        (result,) = tenant.send(naughty, event="schedule").json()["results"]
        if result["outcome"] == "accepted":
            accepted.add(naughty)
    assert len(accepted) > 30
    everybody = accepted | {"anna", "bertil"}
    installed.await_size(tenant.audience, len(everybody))
    path = f"/v1/audiences/{tenant.audience}/members"
    lines = installed.ask("GET", path, tenant.marketer).content.splitlines()
    assert {json.loads(line)["visitor"] for line in lines} == everybody
    table = installed.ask("GET", path, tenant.marketer, params={"format": "csv"}).content.decode()
    head, *rows = csv.reader(io.StringIO(table, newline=""))
    assert head == ["visitor"] and all(len(row) == 1 for row in rows)
    assert not [cell for (cell,) in rows if cell[:1] in ("=", "+", "-", "@", "\t", "\r")]
    unquoted = {
        cell.removeprefix("'") if cell[1:2] in ("=", "+", "-", "@", "\t", "\r") else cell for (cell,) in rows
    }
    assert unquoted == everybody
    undisturbed(logged)


def test_nothing_of_it_became_a_dead_letter(installed: Installed) -> None:
    """The worker is as it was, and took all of it."""
    assert installed.worker.process.poll() is None
    assert [key for key in installed.client.scan_iter("*:dead") if installed.client.hlen(key)] == []
    answer = installed.ask("GET", "/readyz")
    assert (answer.status_code, answer.json()["reasons"]) == (200, [])
