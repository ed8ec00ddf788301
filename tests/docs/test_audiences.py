"""The rules of docs/audiences.md mean what the page says: who is in, and who is out."""

import json
import re
from itertools import pairwise
from typing import Any, NamedTuple
from urllib.parse import unquote_plus

import pytest

from collector.audience import rules
from collector.connections import Redis
from collector.event import scalar
from collector.settings import Settings
from tests import oracle
from tests.docs.pages import DOCS, PAGES, Fence, Page
from tests.unit.parts import NOW, Parts, happened

_EVENT = re.compile(r"(?P<name>\w+) (?P<days>\d+) days? ago(?P<data>( \w+=\S+)*)$")


class Case(NamedTuple):
    """A rule, and visitors by whether they are in: the text of each is its id."""

    title: str
    rule: dict[str, Any]
    visitors: dict[str, bool]


def cases() -> list[Case]:
    found = []
    for rule, told in pairwise(Page(DOCS / "audiences.md").fences):
        if (rule.language, told.language) == ("json", "text"):
            lines = [line.partition(" ") for line in told.text.splitlines()]
            assert {word for word, _, _ in lines} <= {"in", "out"}, told
            found.append(
                Case(
                    rule.title, json.loads(rule.text), {text.strip(): word == "in" for word, _, text in lines}
                )
            )
    return found


def events(text: str) -> list[dict[str, Any]]:
    """«addtocart 3 days ago value=5, checkout 1 day ago» as events for the oracle; a + is a blank."""
    parsed = []
    for part in text.split(", "):
        found = _EVENT.fullmatch(part)
        assert found, f"cannot be read: {part}"
        data = dict(pair.split("=", 1) for pair in found["data"].split())
        url = data.pop("url", "")
        typed = {key: scalar(unquote_plus(value)) for key, value in data.items()}
        parsed.append({"event": found["name"], "days": int(found["days"]), "url": url, "data": typed})
    return parsed


def test_the_page_has_its_cases() -> None:
    assert len(cases()) >= 16
    assert all(len(set(case.visitors.values())) == 2 for case in cases()), (
        "each shows somebody in and somebody out"
    )


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.title)
def test_who_is_in_and_who_is_out(case: Case, redis: Redis, settings: Settings) -> None:
    parts = Parts(redis, settings)
    seen = []
    for number, text in enumerate(case.visitors):
        for event in events(text):
            age = event.pop("days") * oracle.DAY
            parts.send(happened(f"v{number}", event["event"], age=age, url=event["url"], data=event["data"]))
            seen.append({**event, "visitor": f"v{number}", "time": NOW - age})
    promised = {f"v{number}" for number, is_in in enumerate(case.visitors.values()) if is_in}
    assert oracle.members(seen, case.rule, at=NOW) == promised, "the page promises what the contract does not"
    assert set(parts.members(case.rule)) == promised


def rules_written() -> list[Fence]:
    return [fence for page in PAGES for fence in page.fences if fence.language == "json"]


@pytest.mark.parametrize("fence", rules_written(), ids=lambda fence: f"{fence.title}:{fence.line}")
def test_every_rule_can_be_taken(fence: Fence) -> None:
    rules.parse(json.loads(fence.text))
