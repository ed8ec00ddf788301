"""The plan is arithmetic that a reader can do by hand, from the newest numbers that were measured."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

from loadtest.flame import tree
from loadtest.plot import svg
from loadtest.scale import Costs, Missing, limits, measured, newest, plan
from loadtest.soak import growth

ROUND = Costs(
    single=120.0,
    tens=60.0,
    append=6.0,
    apply=6.0,
    worker=12.0,
    visitor=50.0,
    leaf=4.0,
    id=10.0,
    stream=500.0,
    file=600.0,
    archived=50.0,
    request=400.0,
    cold=1e-5,
    warm=1e-6,
    sources=(),
)


def test_a_hundred_thousand_events_a_second() -> None:
    one = plan(ROUND, 100_000, 100_000_000)
    # 100,000 events of 60 µs are 6 busy cores; at 60 % each, 10.
    assert (one.edge, one.edge_single, one.worker, one.redis) == pytest.approx((10, 20, 2, 2))
    # 10⁸ visitors of 50 bytes and 101 columns of 4: 5 and 40.4 GB. Ids of two hours: 7.2. Streams of ten minutes: 30.
    assert (one.dictionary, one.columns, one.ids, one.streams) == pytest.approx((5e9, 40.4e9, 7.2e9, 30e9))
    assert one.ids_default == pytest.approx(10 * 1e5 * 2 * 172_800)
    assert one.shards == 3  # 82.6 GB in Redis of 32
    assert one.partitions == 16  # four a primary are 12
    assert (one.written, one.network) == pytest.approx((60e6, 40e6))
    assert one.archive == pytest.approx(50 * 1e5 * 86_400 * 540)
    assert (one.cold, one.warm) == pytest.approx((1.0, 0.1))
    cores = (10 + 2 + 6) * 20
    memory, disk = 82.6 * 1.5 * 2 * 3, 82.6 * 2 * 2 * 0.10
    assert one.dollars == pytest.approx(cores + memory + disk + one.archive / 1e9 * 0.02)


def test_what_breaks_first_stands_first() -> None:
    rates = [limit.rate for limit in limits(ROUND)]
    assert rates == sorted(rates)
    (ids,) = (limit for limit in limits(ROUND) if "event ids" in limit.what)
    assert ids.rate == pytest.approx(32e9 / 10 / 2 / 172_800)  # two windows of 48 hours
    (redis,) = (limit for limit in limits(ROUND) if "one thread" in limit.what)
    assert redis.rate == pytest.approx(1e6 / 12)


def test_a_rough_result_counts_only_where_there_is_no_other(tmp_path: Path) -> None:
    for name in ("2026-01-01-bench.md", "2026-01-03-bench-quick.md", "2026-01-02-bench-peers.md"):
        (tmp_path / name).touch()
    assert [file.name for file in newest(tmp_path, "*-bench*.md")] == [
        "2026-01-02-bench-peers.md",
        "2026-01-01-bench.md",
        "2026-01-03-bench-quick.md",
    ]


def test_a_number_that_nobody_measured_is_told(tmp_path: Path) -> None:
    with pytest.raises(Missing, match="has a row"):
        measured(tmp_path)


def test_the_newest_results_of_this_repository_hold_every_number() -> None:
    costs = measured()
    assert min(value for value in costs if isinstance(value, float)) > 0
    assert costs.sources


def test_a_plot_is_an_image_with_a_mark_for_every_point() -> None:
    drawn = svg("sizes & memory", "visitors", "ms", {"cold": [(1e4, 2.0), (1e5, 30.0)], "warm": [(1e4, 1.0)]})
    root = ElementTree.fromstring(drawn)  # noqa: S314 — our own
    space = "{http://www.w3.org/2000/svg}"
    marks = [(float(mark.attrib["cx"]), float(mark.attrib["cy"])) for mark in root.iter(f"{space}circle")]
    assert len(marks) == 3
    assert marks[0][0] < marks[1][0], "more visitors stand further right"
    assert marks[0][1] > marks[1][1], "more milliseconds stand higher"


def test_the_tree_of_functions_adds_up() -> None:
    lines = list(tree(["main;read 30", "main;write;flush 60", "main;rare 0", "other 10"]))
    assert lines == [" 90.0% main", " 60.0%   flush", " 30.0%   read", " 10.0% other"]


def test_a_deep_call_is_one_line() -> None:
    assert list(tree([";".join(f"f{n}" for n in range(60)) + " 1"])) == ["100.0% f59"]


def test_growth_is_seen_and_warming_up_is_not() -> None:
    assert growth([10, 90, 100, 100, 100, 100, 100, 100]) == 1.0
    assert growth([1, 1, 10, 10, 15, 15, 20, 20]) == 2.0
