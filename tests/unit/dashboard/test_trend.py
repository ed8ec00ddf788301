"""What recorded sizes say is what a person with a ruler would say."""

from itertools import pairwise

import pytest

from collector.clock import DAY
from collector.dashboard import trend
from collector.dashboard.trend import HEIGHT, WIDTH

NOW = 1_763_750_000
HOUR = 3_600


def test_change_is_against_the_last_size_recorded_by_then() -> None:
    points = [(NOW - DAY - 2 * HOUR, 10), (NOW - DAY - HOUR, 12), (NOW - DAY + HOUR, 40)]
    assert trend.change(points, NOW, 50, DAY) == 38


def test_change_is_unknown_where_nothing_was_recorded_near_then() -> None:
    assert trend.change([], NOW, 50, DAY) is None
    assert trend.change([(NOW - HOUR, 10)], NOW, 50, DAY) is None
    assert trend.change([(NOW - 3 * DAY, 10)], NOW, 50, DAY) is None


def test_ten_a_day_from_sixty_is_ready_in_four_days() -> None:
    points = [(NOW - 2 * DAY, 40), (NOW - DAY, 50)]
    assert trend.ready_at(points, NOW, 60, 100) == NOW + 4 * DAY


@pytest.mark.parametrize(
    ("points", "size"),
    [
        ([], 60),
        ([(NOW - 600, 10)], 60),  # not watched for long enough
        ([(NOW - DAY, 60)], 60),  # it does not grow
        ([(NOW - DAY, 70)], 60),
        ([(NOW - 8 * DAY, 49)], 50),  # one in eight days: the other fifty would take over a year
        ([(NOW - DAY, 10)], 100),  # large enough already
    ],
)
def test_there_is_no_forecast_without_ground(points: list[trend.Point], size: int) -> None:
    assert trend.ready_at(points, NOW, size, 100) is None


def test_a_curve_fills_its_box_and_ends_with_the_present() -> None:
    points = [(NOW + step * HOUR, size) for step, size in enumerate(range(1_000))]
    drawn = trend.curve(points)
    assert drawn is not None
    marks = [tuple(map(float, mark.split(","))) for mark in drawn.line.split()]
    assert 2 <= len(marks) <= trend.MARKS + 1
    assert marks[0] == (0.0, HEIGHT - trend.EDGE) and marks[-1] == (WIDTH, trend.EDGE)
    assert all(x < y for (x, _), (y, _) in pairwise(marks))


def test_one_size_draws_nothing_and_equal_sizes_a_flat_line() -> None:
    assert trend.curve([(NOW, 5)]) is None
    flat = trend.curve([(NOW, 5), (NOW + HOUR, 5)])
    assert flat is not None and len({mark.split(",")[1] for mark in flat.line.split()}) == 1
