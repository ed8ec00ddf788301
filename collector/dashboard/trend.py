"""Trend: what an audience's recorded sizes say: its change, its curve, and when it will be large enough. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

from collector.clock import DAY

HOUR = 3_600
FAR = 365 * DAY  # beyond it a forecast says nothing
MARKS = 32  # points of a curve: one every three units of its width
WIDTH, HEIGHT, EDGE = 96, 28, 2  # of a sparkline's box, in its own units

Point = tuple[int, int]
"""(Unix second, size)."""


class Curve(NamedTuple):
    """A sparkline: SVG points of the line, and of the area under it."""

    line: str
    area: str


def change(points: Sequence[Point], now: float, size: int, seconds: int) -> int | None:
    """How much larger `size` is than the last one recorded that long ago; None where none was, or it is too old."""
    then = [(at, was) for at, was in points if at <= now - seconds]
    if not then or then[-1][0] < now - seconds - DAY:
        return None
    return size - then[-1][1]


def direction(by: int) -> str:
    return "up" if by > 0 else "down" if by < 0 else "same"


def ready_at(points: Sequence[Point], now: float, size: int, least: int) -> int | None:
    """When an audience that goes on growing as it has done has `least` members, in Unix seconds.

    points: up to a week of them, oldest first. None when it does not grow, was watched for less than an hour,
    or would take a year.
    """
    if not points or size >= least or now - points[0][0] < HOUR:
        return None
    rate = (size - points[0][1]) / (now - points[0][0])
    if rate <= 0 or (least - size) / rate > FAR:
        return None
    return int(now + (least - size) / rate)


def curve(points: Sequence[Point]) -> Curve | None:
    """The sizes over time, the lowest at the bottom; None for fewer than two."""
    if len(points) < 2 or points[0][0] == points[-1][0]:
        return None
    step = -(-len(points) // MARKS)
    points = [*points[:-1:step], points[-1]]
    (first, _), (last, _) = points[0], points[-1]
    sizes = [size for _, size in points]
    low, span = min(sizes), max(max(sizes) - min(sizes), 1)
    marks = [
        (
            (at - first) / (last - first) * WIDTH,
            HEIGHT - EDGE - (size - low) / span * (HEIGHT - 2 * EDGE),
        )
        for at, size in points
    ]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in marks)
    return Curve(line, f"0,{HEIGHT} {line} {WIDTH},{HEIGHT}")
