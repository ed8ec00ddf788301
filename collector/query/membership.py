"""Membership: since when a visitor is a member of an audience, worked out from the visitor's own events. Pure."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence

import numpy as np

from collector.audience.columns import Seconds
from collector.audience.match import Matcher
from collector.audience.sizes import Question
from collector.clock import DAY
from collector.event import StreamedEvent


def since(question: Question, events: Sequence[StreamedEvent], barred: int) -> int | None:
    """The second from which on the visitor has been a member without a break up to question.at.

    events: the visitor's, of one tag. barred: nothing up to this second counts. None: they make no member, as when
    the archive has dropped what did.
    """
    matches = _matches(question, events, barred)
    # Membership changes only when something matches or leaves a window.
    instants = {time for times in matches.values() for time in times}
    instants |= {
        time + window.days * DAY + 1 for window in question.windows for time in matches[window.leaf.id]
    }
    moments = sorted(instant for instant in instants if instant <= question.at)
    if not moments:
        return None
    # One question about many moments: each is moved to question.at, and its times with it.
    planes = {
        (leaf, plane): _latest(matches[leaf], plane, moments, question.at)
        for leaf, plane in question.planes()
    }
    mask = question._replace(floor=0).members(planes, len(moments))
    if not mask[-1]:
        return None
    breaks = np.flatnonzero(~mask)
    return moments[int(breaks[-1]) + 1 if len(breaks) else 0]


def _matches(question: Question, events: Sequence[StreamedEvent], barred: int) -> Mapping[str, list[int]]:
    """Leaf id → the seconds of its matches that count, oldest first."""
    leaves = list({window.leaf.id: window.leaf for window in question.windows}.values())
    found: dict[str, list[int]] = {leaf.id: [] for leaf in leaves}
    matcher = Matcher({event.tag: leaves for event in events[:1]})
    for event in events:
        if event.verdict == "full" and event.event_time > barred and event.event_time >= question.floor:
            for place in matcher.match(event):
                found[leaves[place].id].append(event.event_time)
    return {leaf: sorted(times) for leaf, times in found.items()}


def _latest(times: list[int], plane: int, moments: list[int], at: int) -> Seconds:
    """For each moment the latest time but `plane` up to it, moved as far as the moment is from `at`; 0 for none."""
    column = np.zeros(len(moments), dtype=np.uint32)
    for place, moment in enumerate(moments):
        known = bisect_right(times, moment)
        if known > plane:
            column[place] = times[known - 1 - plane] + at - moment
    return column
