"""Edge: durable events a second of one core, beside a no-op endpoint on the same core in the same run."""

import subprocess
import sys
from collections.abc import Iterator
from statistics import median
from typing import NamedTuple

from collector import keys
from loadtest.client import Client, Sent
from loadtest.report import Asked, Line, at_least, at_most
from loadtest.rig import FIRST, SECOND, Rig, free_port, processor_seconds

ROUNDS = 3  # each of no-op, single, tens in turn: a busy moment of the machine hits all alike
SINGLE_GOAL = 0.45  # of the no-op's requests
TENS_GOAL = 50_000  # events


class Turn(NamedTuple):
    """One client's run against one server; processor: the server's microseconds a request."""

    sent: Sent
    processor: float


def measure(asked: Asked) -> Iterator[Line]:
    """The edge process alone on one core; the client and Redis (AOF always) share the other."""
    seconds = 2 if asked.quick else 4
    rounds: list[tuple[Turn, Turn, Turn]] = []
    with Rig(server_core=SECOND) as rig:
        edge, url = rig.serve("--only", "edge", core=FIRST)
        nothing, other = noop(rig, FIRST)

        def turn(process: subprocess.Popen[bytes], base: str, events: int) -> Turn:
            before = processor_seconds(process.pid)
            client = Client(f"{base}/v1/events", rig.tag.id, seconds, events=events, core=SECOND)
            sent = client.result()
            used = processor_seconds(process.pid) - before
            return Turn(sent, 1e6 * used / max(sent.requests * seconds, 1))

        turn(edge, url, 1)  # warm
        stored = _stored(rig)
        for _ in range(1 if asked.quick else ROUNDS):
            rounds.append((turn(nothing, other, 1), turn(edge, url, 1), turn(edge, url, 10)))
        stored = _stored(rig) - stored
    none, single, tens = (
        max(turns, key=lambda turn: turn.sent.events) for turns in zip(*rounds, strict=True)
    )
    yield Line(
        "no-op Starlette POST, requests/s",
        f"{none.sent.requests:,.0f}",
        beside=f"{none.processor:.0f} µs of processor; body read, not parsed; server on one core, "
        "wrk and Redis on the other, as in the next two",
    )
    yield at_least(
        "edge, one event a request: share of the no-op",
        median(one.sent.requests / nothing.sent.requests for nothing, one, _ in rounds),
        SINGLE_GOAL,
        f"{single.sent.events:,.0f} durable events/s, {single.processor:.0f} µs of processor; "
        f"p50 {single.sent.p50:.1f} ms, p99 {single.sent.p99:.1f} ms",
        digits=2,
    )
    yield at_least(
        "edge, ten events a request: events/s",
        tens.sent.events,
        TENS_GOAL,
        f"{tens.sent.requests:,.0f} requests/s, {tens.processor:.0f} µs of processor each; "
        f"p50 {tens.sent.p50:.1f} ms, p99 {tens.sent.p99:.1f} ms",
    )
    yield at_most(
        "client: share of its core while it drives the no-op",
        none.sent.busy,
        0.5,
        f"it could drive {1 / max(none.sent.busy, 0.01):.1f} times as much; "
        f"{single.sent.busy:.2f} with single events, {tens.sent.busy:.2f} with tens",
        digits=2,
    )
    ours = [turn.sent for _, *turns in rounds for turn in turns]
    acknowledged = sum(sent.events * seconds for sent in ours)
    errors = sum(sent.errors for sent in ours)
    yield Line(
        "events in the streams / events acknowledged",
        f"{stored:,} / {acknowledged:,.0f}",
        "≥ 1",
        stored >= 0.99 * acknowledged and not errors,
        f"{errors} errors; what is stored but not answered when a turn ends is not counted as acknowledged",
    )


def noop(rig: Rig, core: int) -> tuple[subprocess.Popen[bytes], str]:
    """The endpoint to compare with: its process and URL."""
    port = free_port()
    return rig.listen([sys.executable, "-m", "loadtest.noop", str(port)], port, core)


def _stored(rig: Rig) -> int:
    return sum(rig.client.xlen(keys.events(number)) for number in range(rig.installation.partitions))
