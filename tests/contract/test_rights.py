"""A visitor's rights by API and command: access with dates and records, erasure with its proof, GPC answered."""

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from collector import connections, tags
from collector.audience.columns import Columns
from collector.settings import Settings
from collector.stream.partitions import open_installation
from tests.conftest import Start
from tests.contract.test_cli import findings
from tests.contract.test_cli_data import Cli

GRANTED = dict.fromkeys(("ad_storage", "ad_user_data", "ad_personalization"), "granted")
KEY = "k" * 40
PATIENCE = 40.0


class Office:
    """Who answers visitors' letters, by the API and by commands."""

    def __init__(self, api: httpx.Client, cli: Cli, redis: connections.Redis) -> None:
        self.api, self.cli, self.redis = api, cli, redis
        self.tag, self.server_key = "", ""
        made, self.server_key = tags.create_tag(redis, "shop", ["https://shop.example"], "opt_in")
        self.tag = made.id

    def send(self, visitor: str, *ages: int, **over: Any) -> httpx.Response:
        now = int(time.time())
        events = [{"event": "addtocart", "visitor": visitor, "event_time": now - age} for age in ages]
        return self.api.post(
            "/v1/server/events",
            json={"consent": GRANTED, "visitor": visitor, "events": events, **over},
            headers={"authorization": f"Bearer {self.server_key}"},
        )

    def ask(self, path: str, **parameters: str) -> Any:
        return self.api.get(path, params={"tag": self.tag, **parameters}).raise_for_status().json()


@pytest.fixture
def office(start: Start, settings: Settings, redis: connections.Redis) -> Iterator[Office]:
    url = start("serve", admin_key=KEY).await_ready()
    start("worker", flush_seconds=0.2)
    with httpx.Client(base_url=url, headers={"authorization": f"Bearer {KEY}"}, timeout=30) as api:
        yield Office(api, Cli(settings), redis)


def awaited(office: Office, path: str, wanted: Any) -> Any:
    end = time.monotonic() + PATIENCE
    while not wanted(found := office.ask(path)):
        assert time.monotonic() < end, found
        time.sleep(0.05)
    return found


def test_access_tells_audiences_with_dates_events_and_consent_records(office: Office) -> None:
    rule = {"tag": office.tag, "name": "carts", "rule": {"event": "addtocart", "retention_days": 1}}
    made = office.api.post("/v1/audiences", json=rule).json()
    office.send("anna", 50 * 3_600, 20 * 3_600, 3_600)
    office.send("anna", 60, consent={**GRANTED, "ad_personalization": "denied"})
    known = awaited(
        office, "/v1/visitors/anna", lambda shown: shown["audiences"] and len(shown["consent_records"]) == 2
    )
    first, second = known["events"][1]["event_time"], known["events"][2]["event_time"]
    assert known["audiences"] == [{"id": made["id"], "name": "carts", "since": first, "last_match": second}]
    assert [record["verdict"] for record in known["consent_records"]] == ["full", "limited"]
    assert {record["method"] for record in known["consent_records"]} == {"words"}
    assert "anna" not in json.dumps(known["consent_records"])
    assert len(known["events"]) == 4 and known["erasures"] == []
    assert json.loads(office.cli.said("subject", "anna", "--tag", office.tag)) == known


def test_an_erasure_is_pending_until_its_proof_and_at_once_on_request(office: Office) -> None:
    office.send("anna", 60)
    office.send("bert", 60)
    awaited(office, "/v1/visitors/anna", lambda shown: shown["consent_records"])
    gone = office.api.delete("/v1/visitors/anna", params={"tag": office.tag})
    assert gone.json() == {"tag": office.tag, "visitor": "anna", "erased_until": gone.json()["erased_until"]}
    (waiting,) = awaited(
        office, "/v1/erasures", lambda shown: shown["items"][0]["waits_for"] == "append_only_file"
    )["items"]
    assert (waiting["record"], waiting["files_rewritten_at"]) == (None, None)
    assert waiting["asked_at"] == gone.json()["erased_until"] <= waiting["rows_gone_at"]
    assert "waits for append_only_file" in office.cli.said("erasures", "--tag", office.tag)

    said = office.cli.said("forget", "bert", "--tag", office.tag, "--now")
    assert said.startswith("Erased, ") and "Proven: " in said
    proven = awaited(
        office, "/v1/erasures", lambda shown: all(one["waits_for"] is None for one in shown["items"])
    )["items"]
    assert len(proven) == 2
    for one in proven:
        assert one["asked_at"] <= one["rows_gone_at"] <= one["files_rewritten_at"]
    assert office.cli.json("erasures", "--tag", office.tag) == proven
    (mine,) = office.ask("/v1/visitors/anna")["erasures"]
    assert mine["visitor"] == waiting["visitor"] and mine in proven


def test_another_tag_s_erasures_are_not_shown_and_a_wrong_word_is_refused(office: Office) -> None:
    other, _ = tags.create_tag(office.redis, "other", ["https://other.example"], "opt_in")
    office.api.delete("/v1/visitors/anna", params={"tag": office.tag})
    assert office.ask("/v1/erasures", tag=other.id) == {"items": []}
    refused = office.api.delete("/v1/visitors/anna", params={"tag": office.tag, "now": "yes"})
    assert refused.status_code == 422 and refused.json()["error"]["message"].startswith("now: ")


def test_nobody_is_neither_shown_nor_erased(office: Office) -> None:
    for method in ("GET", "DELETE"):
        refused = office.api.request(method, "/v1/visitors/", params={"tag": office.tag})
        assert refused.status_code == 422 and refused.json()["error"]["message"] == "visitor: is empty."
    assert office.ask("/v1/erasures") == {"items": []}


@pytest.mark.parametrize("path", ["/v1/audiences", "/v1/audiences/preview"])
def test_what_stands_beside_a_rule_and_would_do_nothing_is_refused(office: Office, path: str) -> None:
    body = {"tag": office.tag, "name": "Carts", "rule": {"event": "addtocart"}}
    refused = office.api.post(path, json={**body, "prefill": False})
    assert refused.status_code == 422
    assert refused.json()["error"]["message"] == "prefill: is not read here."
    assert office.api.post(path, json=body).is_success


def test_the_doctor_fails_an_installation_that_owes_a_proof_for_a_day(
    settings: Settings, redis: connections.Redis
) -> None:
    installation = open_installation(redis, settings)
    now = int(time.time())
    for who, age, state in (("anna", 3_600, "ok"), ("bert", 86_401, "fail")):
        Columns(redis, installation, 0).forget("2612345678901", who, "tombstone", now - age)
        assert findings(settings, redis)["erasures"].state == state


def test_health_names_what_events_of_any_way_in_lack(office: Office) -> None:
    path = f"/v1/tags/{office.tag}/health"
    assert [one["code"] for one in office.ask(path)["findings"]] == ["no_event"]
    office.send("anna", events=[{"event": "checkout", "data": {"note": "anna@example.org"}}])
    office.send("anna", 60, consent={"gpc": True})
    shown = awaited(office, path, lambda shown: shown["looked_at"] and len(shown["outcomes"]) == 2)
    codes = {one["code"] for one in shown["findings"]}
    assert codes >= {
        "checkout_without_value",
        "checkout_without_currency",
        "checkout_without_order_id",
        "plain_email",
        "no_consent_signal",
    }
    assert all(one["mend"] for one in shown["findings"])
    assert "anna" not in json.dumps(shown)


def test_gpc_is_answered_on_every_way_in_and_the_page_may_read_it(office: Office) -> None:
    page = {"origin": "https://shop.example", "sec-gpc": "1", "user-agent": "Firefox/144.0"}
    body = {"tag": office.tag, "events": [{"event": "lead"}], "consent": GRANTED}
    image = f"/v1/pixel.gif?tag={office.tag}&event=lead&consent=granted"
    answers = [
        office.api.post("/v1/events", json=body, headers=page),
        office.api.get(image, headers=page),
        office.send("anna", 60, consent={**GRANTED, "gpc": True}),
    ]
    for answer in answers:
        assert answer.headers["x-collector-optout"] == "honoured"
    for answer in answers[:2]:
        assert "x-collector-optout" in answer.headers["access-control-expose-headers"]
    assert "x-collector-optout" not in office.send("anna", 60).headers
