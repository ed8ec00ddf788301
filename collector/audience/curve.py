"""Curve: an audience's size at every lookback from 1 to 540 days, from one look at its columns. Pure."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from collector.audience.columns import Seconds
from collector.audience.rules import LONGEST_DAYS, Rule, Window
from collector.clock import DAY

NEVER = LONGEST_DAYS + 1
Days = NDArray[np.int32]


class Curve(NamedTuple):
    """A rule with a main condition, whose lookback is left open, at a second.

    For each visitor a condition that follows the lookback is met from one lookback on, and so is an exclusion:
    whoever is a member is one in a single run of lookbacks, and two counts a visitor make the whole curve.
    """

    windows: tuple[Window, ...]
    follows: tuple[bool, ...]  # for each window whether it follows the lookback
    at: int
    floor: int

    @classmethod
    def of(cls, rule: Rule, *, at: int, floor: int) -> "Curve":
        """Raises RuleError when the rule has no main condition."""
        short, long = rule.windows(1), rule.windows(2)
        return cls(short, tuple(one.days != other.days for one, other in zip(short, long, strict=True)), at, floor)

    def sizes(self, chunks: Iterable[Mapping[tuple[str, int], Seconds]]) -> NDArray[np.int64]:
        """540 sizes, that of a lookback of one day first. chunks: (leaf, plane) → seconds by ordinal."""
        steps = np.zeros(NEVER + 1, dtype=np.int64)
        for times in chunks:
            first, end = self._runs(times)
            inside = first < end
            steps += np.bincount(first[inside], minlength=NEVER + 1)
            steps -= np.bincount(end[inside], minlength=NEVER + 1)
        return np.cumsum(steps)[1:NEVER]

    def _runs(self, times: Mapping[tuple[str, int], Seconds]) -> tuple[Days, Days]:
        """By ordinal, the first lookback in which the visitor is a member, and the first after it in which not."""
        length = max((len(column) for column in times.values()), default=0)
        first, end = np.ones(length, dtype=np.int32), np.full(length, NEVER, dtype=np.int32)
        some: Days | None = None
        for window, follows in zip(self.windows, self.follows, strict=True):
            column = _padded(times[window.leaf.id, window.leaf.count - 1], length)
            # From how many days on the window holds the time: days begun, at least one.
            reach = np.clip(-((column - self.at) // DAY), 1, NEVER).astype(np.int32)
            reach[column < max(self.floor, 1)] = NEVER  # 0 stands for never
            if window.since:
                reach[column < _padded(times[self.windows[0].leaf.id, 0], length)] = NEVER
            if not follows:
                reach = np.where(reach <= window.days, 1, NEVER).astype(np.int32)
            match window.role:
                case "exclude":
                    np.minimum(end, reach, out=end)
                case "any":
                    some = reach if some is None else np.minimum(some, reach)
                case _:
                    np.maximum(first, reach, out=first)
        return (first if some is None else np.maximum(first, some)), end


def _padded(column: Seconds, length: int) -> NDArray[np.int64]:
    padded = np.zeros(length, dtype=np.int64)
    padded[: len(column)] = column
    return padded
