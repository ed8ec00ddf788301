"""The console's line says what came in, and stays one line."""

from collections import Counter

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client import Counter as Metric

from collector.cli.console import Seen, cut, outcomes_of, told


def test_outcomes_are_added_up_over_sources_and_reasons() -> None:
    registry = CollectorRegistry()
    metric = Metric("collector_events_total", "…", ["source", "outcome", "reason"], registry=registry)
    metric.labels("web", "accepted", "full").inc(3)
    metric.labels("server", "accepted", "limited").inc(2)
    metric.labels("web", "refused", "bot").inc()
    assert outcomes_of(generate_latest(registry)) == {"accepted": 5, "refused": 1}


def test_the_line_tells_totals_what_is_new_and_sizes() -> None:
    before = Seen(Counter(accepted=1000), ())
    after = Seen(Counter(accepted=1204, refused=2), (("Left a cart", 12), ("New", None)))
    assert told(after, before) == "events: 1,204 accepted (+204), 2 refused (+2) · Left a cart 12 · New …"
    assert told(after, None) == "events: 1,204 accepted, 2 refused · Left a cart 12 · New …"


def test_a_restart_of_the_counters_is_not_shown_as_less_than_nothing() -> None:
    assert "(" not in told(Seen(Counter(accepted=3), ()), Seen(Counter(accepted=900), ()))


def test_a_line_never_wraps() -> None:
    assert cut("abcdef", 4) == "abc…"
    assert cut("abcd", 4) == "abcd"
    assert cut("abcd", 0) == "…"[:1]
