"""Bars: counts as the pages draw them, in percent of a box. Pure."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Line(NamedTuple):
    """One line of a list. share: percent of the largest, at least a sliver; of: percent of all."""

    name: str
    events: int
    share: float
    of: float


class Piece(NamedTuple):
    """A piece of a column, from the top; x, y, width, height in percent of the box."""

    kind: str
    x: float
    y: float
    width: float
    height: float


def lines(counts: Sequence[tuple[str, int]]) -> list[Line]:
    """The counts, most first, each beside the largest."""
    ordered = sorted(counts, key=lambda each: -each[1])
    total = sum(count for _, count in ordered) or 1
    most = max((count for _, count in ordered), default=0) or 1
    return [
        Line(name, count, round(max(100 * count / most, 0.8), 1), round(100 * count / total, 1))
        for name, count in ordered
    ]


def columns(periods: Sequence[Mapping[str, int]], kinds: Sequence[str], gap: float = 0.2) -> list[Piece]:
    """A column for each period, its kinds stacked from the bottom, the highest as high as the box.

    gap: of a column's width.
    """
    most = max((sum(period.get(kind, 0) for kind in kinds) for period in periods), default=0)
    if not most:
        return []
    step, pieces = 100 / len(periods), []
    for place, period in enumerate(periods):
        top = 100.0
        for kind in kinds:
            height = 100 * period.get(kind, 0) / most
            top -= height
            if height:
                x, width = place * step + step * gap / 2, step * (1 - gap)
                pieces.append(Piece(kind, *(round(each, 2) for each in (x, top, width, height))))
    return pieces
