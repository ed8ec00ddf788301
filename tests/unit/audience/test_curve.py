"""Curve: one look gives what 540 questions would."""

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings

from collector.audience.curve import Curve
from collector.audience.rules import LONGEST_DAYS, RuleError, parse
from collector.audience.sizes import Question
from collector.connections import Redis
from collector.settings import Settings
from tests import oracle
from tests.traffic import NOW, histories
from tests.unit.audience.test_sizes import column
from tests.unit.parts import NOW as PARTS_NOW
from tests.unit.parts import TAG, Parts, happened


@hypothesis_settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(histories())
def test_every_point_is_the_plain_reading_of_the_rule(
    drawn: tuple[list[dict[str, Any]], list[dict[str, Any]]],
) -> None:
    events, rules = drawn
    visitors = sorted({event["visitor"] for event in events})
    known = [event for event in events if event["time"] <= NOW]
    created_at = NOW - 10 * oracle.DAY
    for written in rules:
        rule = parse(written)
        if not rule.main:
            continue
        floor = 0 if rule.prefill else created_at
        question = Question.of(rule, created_at, NOW)
        times = {plane: column(rule, plane, events, visitors) for plane in question.planes()}
        curve = Curve.of(rule, at=NOW, floor=floor).sizes([times])
        assert len(curve) == LONGEST_DAYS
        ages = {(NOW - event["time"]) // oracle.DAY for event in known}
        # Between two ages of events nothing can change: the days beside them are all that can be wrong.
        for days in sorted({1, LONGEST_DAYS} | {age + step for age in ages for step in (0, 1, 2)}):
            if 1 <= days <= LONGEST_DAYS:
                expected = oracle.members(known, written, at=NOW, created_at=created_at, lookback=days)
                assert curve[days - 1] == len(expected), (written, days)


def test_a_curve_comes_from_the_columns_of_every_partition(redis: Redis, settings: Settings) -> None:
    parts = Parts(redis, settings, partitions=4)
    rule = {"event": "addtocart", "exclude": [{"event": "checkout"}]}
    parts.registry.create(TAG, "", "", rule)
    parts.send(
        *(happened(f"v{n}", "addtocart", age=n * oracle.DAY) for n in range(20)),
        *(happened(f"v{n}", "checkout", age=n * oracle.DAY + 5) for n in range(0, 20, 5)),
    )
    parts.apply()
    curve = parts.sizes.curve(TAG, parse(rule), at=PARTS_NOW, floor=0)
    asked = [parts.sizes.size(TAG, Question.of(parse(rule), 0, PARTS_NOW, days)) for days in range(1, 541)]
    assert curve == asked
    assert np.ptp(asked) > 5


def test_a_rule_without_a_main_condition_has_no_curve() -> None:
    with pytest.raises(RuleError, match="lookback_days"):
        Curve.of(parse({"all": [{"event": "lead"}]}), at=NOW, floor=0)
