"""Two tenants with equal visitor ids never see each other: not in an answer, and not in a command that Redis gets."""

import re
import secrets
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.conftest import Live
from tests.security.conftest import ADMIN, VISITORS, Installed, Tenant, environment
from tests.security.test_keys_on_every_route import ADMINS, SERVERS, routes


def known(installed: Installed, tenant: Tenant, visitor: str) -> Any:
    asked = {"params": {"tag": tenant.tag}}
    return installed.ask("GET", f"/v1/visitors/{visitor}", tenant.marketer, **asked).json()


def test_the_same_id_is_another_person_for_each_tenant(installed: Installed) -> None:
    for tenant in (installed.one, installed.other):
        for visitor in VISITORS:
            shown = known(installed, tenant, visitor)
            assert {event["event"] for event in shown["events"]} == {tenant.event}
            assert [audience["id"] for audience in shown["audiences"]] == [tenant.audience]


def test_the_same_event_id_is_another_event_for_each_tenant(installed: Installed) -> None:
    event = {"event": "lead", "event_id": secrets.token_hex(8)}
    for tenant in (installed.one, installed.other):
        for outcome in ("accepted", "duplicate"):
            assert tenant.send("anna", **event).json()["results"][0]["outcome"] == outcome


def test_who_is_erased_for_one_stays_for_the_other(installed: Installed) -> None:
    one, other = installed.one, installed.other
    for tenant in (one, other):
        tenant.send("dora", event=tenant.event)
        installed.await_size(tenant.audience, len(VISITORS) + 1)
    gone = installed.ask("DELETE", "/v1/visitors/dora", one.marketer, params={"tag": one.tag})
    assert gone.status_code == 200
    installed.await_size(one.audience, len(VISITORS))
    listed = {tenant.tag: members(installed, tenant) for tenant in (one, other)}
    assert listed == {one.tag: {*VISITORS}, other.tag: {*VISITORS, "dora"}}
    assert known(installed, one, "dora")["events"] == []
    assert len(known(installed, other, "dora")["events"]) == 1
    assert known(installed, other, "dora")["erasures"] == []
    installed.ask("DELETE", "/v1/visitors/dora", other.marketer, params={"tag": other.tag})
    installed.await_size(other.audience, len(VISITORS))


def members(installed: Installed, tenant: Tenant) -> set[str]:
    answer = installed.ask("GET", f"/v1/audiences/{tenant.audience}/members", tenant.marketer)
    return {re.fullmatch(r'{"visitor":"(\w+)"}', line)[1] for line in answer.text.splitlines()}  # type: ignore[index]


@contextmanager
def only_questions(installed: Installed, folder: Path) -> Iterator[str]:
    """A process that only answers questions, the others frozen: every command that Redis gets belongs to one."""
    live = Live(["serve", "--only", "query"], environment(installed.settings), folder / "query.out")
    others = (installed.serve.process, installed.worker.process)
    try:
        url = live.await_ready()
        for process in others:
            process.send_signal(signal.SIGSTOP)
        yield url
    finally:
        for process in others:
            process.send_signal(signal.SIGCONT)
        live.process.kill()
        live.process.wait()


# What a new audience is weighed by: how many visitors and leaves the others have, and nothing of either.
WEIGHED = re.compile(r"(HMGET \S+:meta visitors next buckets|SMEMBERS \S+:leaves|HM?GET \S+:leaf:\w+ count)")


def test_no_question_of_one_makes_redis_touch_a_key_of_the_other(
    installed: Installed, tmp_path: Path
) -> None:
    one, other = installed.one, installed.other
    asked = [
        route for route in routes(installed, one.tag, one.audience) if route.operation not in SERVERS | ADMINS
    ]
    with (
        only_questions(installed, tmp_path) as url,
        httpx.Client(base_url=url, headers={"authorization": f"Bearer {one.admin}"}, timeout=30) as http,
        installed.client.monitor() as watch,
    ):
        for route in asked:
            if route.operation == ("DELETE", "/v1/audiences/{audience}"):
                continue  # below, of one that is made here
            installed.client.echo(" ".join(route.operation))
            answer = http.request(route.operation[0], route.path, **route.asked)
            assert answer.status_code in (200, 201), (route, answer.text)
            if route.operation == ("POST", "/v1/audiences"):
                assert http.delete(f"/v1/audiences/{answer.json()['id']}").status_code == 204
        installed.client.echo("the end")
        commands = list(until_the_end(watch))
    assert sum(one.tag in command for _, command in commands) > 3 * len(asked), "the watch sees what is asked"
    foreign = [row for row in commands if other.tag in row[1] or other.audience in row[1]]
    weighed = [row for row in foreign if row[0] == "POST /v1/audiences" and WEIGHED.fullmatch(row[1])]
    assert set(foreign) - set(weighed) == set()
    restored = installed.ask("PATCH", f"/v1/audiences/{one.audience}", ADMIN, json={"name": one.name})
    assert restored.status_code == 200
    time.sleep(1)  # what happens in the very second of an erasure is gone
    one.send(*VISITORS, event=one.event)
    installed.await_size(one.audience, len(VISITORS))


def until_the_end(watch: Any) -> Iterator[tuple[str, str]]:
    """(question, command) of every command that MONITOR tells of, those within scripts too."""
    question = ""
    for row in watch.listen():
        if row["command"] == "ECHO the end":
            return
        if row["command"].startswith("ECHO "):
            question = row["command"].removeprefix("ECHO ")
        yield question, row["command"]
