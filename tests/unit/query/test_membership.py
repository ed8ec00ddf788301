"""«Member since» against the plain reading of the contract, asked at every moment at which something could change."""

from typing import Any

from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from collector.audience.rules import parse
from collector.audience.sizes import Question
from collector.query.membership import since
from tests import oracle
from tests.traffic import NOW, histories, streamed

DAY = oracle.DAY


def days_in(rule: Any) -> set[int]:
    if isinstance(rule, list):
        return set().union(*map(days_in, rule)) if rule else set()
    if not isinstance(rule, dict):
        return set()
    own = {rule["retention_days"]} if "retention_days" in rule else set()
    return own.union(*(days_in(value) for value in rule.values()))


@hypothesis_settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(histories(), st.sampled_from([0, NOW - 5 * DAY]))
def test_since_is_when_the_membership_of_now_began(
    drawn: tuple[list[dict[str, Any]], list[dict[str, Any]]], barred: int
) -> None:
    events, rules = drawn
    created_at = NOW - 10 * DAY
    for written in rules:
        question = Question.of(parse(written), created_at, NOW)
        windows = days_in(written) | {180}
        for who in {event["visitor"] for event in events}:
            own = [event for event in events if event["visitor"] == who and event["time"] <= NOW]

            def member(at: int, own: Any = own, who: str = who, written: Any = written) -> bool:
                marks = {who: barred}
                return bool(oracle.members(own, written, at=at, created_at=created_at, marks=marks))

            first = since(question, [streamed(event) for event in own], barred)
            if first is None:
                assert not member(NOW), written
                continue
            turns = {
                event["time"] + days * DAY + more for event in own for days in windows for more in (0, 1)
            }
            turns |= {event["time"] for event in own}
            assert all(member(at) for at in [first, *turns, NOW] if first <= at <= NOW), written
            assert not member(first - 1), written


def test_an_example_that_a_person_can_follow() -> None:
    """A cart a day, three days long, and a window of two days: a member since the first cart, but for a gap."""
    question = Question.of(parse({"event": "addtocart", "retention_days": 2}), 0, NOW)

    def carts(*ages: float) -> list[Any]:
        return [
            streamed({"time": int(NOW - age * DAY), "visitor": "anna", "event": "addtocart"}) for age in ages
        ]

    assert since(question, carts(1, 2.5, 4), 0) == NOW - 4 * DAY
    assert since(question, carts(1, 4), 0) == NOW - 1 * DAY
    assert since(question, carts(3), 0) is None
    assert since(question, carts(1, 2.5), NOW - 2 * DAY) == NOW - 1 * DAY
