"""Console: one line about what is going on, for whoever started `up` and looks at it."""

import re
import shutil
import sys
import threading
import time
import urllib.request
from collections import Counter
from typing import Any, NamedTuple

import orjson
import typer

SECONDS = 1.0
LOG_SECONDS = 10.0  # where lines pile up instead of being written over
SPARE = 20  # a question may take this share of the time, so that a console never slows its collector
MOST = 3  # audiences in the line: the newest
LONGEST_NAME = 18  # of an audience in it
START = "\r\x1b[K"  # to the start of the line, and clear it
_EVENTS = re.compile(rb'^collector_events_total\{outcome="(\w+)",reason="(\w*)".*\} ([\d.e+]+)$', re.M)


class Seen(NamedTuple):
    """What a look found: events by outcome, of this run; the newest audiences and their sizes."""

    outcomes: Counter[str]
    audiences: tuple[tuple[str, int | None], ...]


class Console:
    """Looks once a second and shows it: on a terminal in one line that moves, else in a line now and then."""

    def __init__(self, collector: str, key: str) -> None:
        self._collector = collector
        self._key = key
        self._closed = threading.Event()
        self._terminal = sys.stdout.isatty()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Leave the line as it is and the cursor below it."""
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join(SECONDS)
            if self._terminal:
                self._write("\n")

    def _run(self) -> None:
        before: Seen | None = None
        written = ""
        while True:
            began = time.monotonic()
            seen = self._look()
            took = time.monotonic() - began
            if self._closed.wait(max(SECONDS if self._terminal else LOG_SECONDS, SPARE * took) - took):
                return
            if seen is None:
                continue
            line = told(seen, before)
            if self._terminal:
                self._write(START + cut(line, shutil.get_terminal_size().columns - 1))
            elif line != written:
                self._write(line + "\n")
            before, written = seen, line

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()

    def _look(self) -> Seen | None:
        try:
            outcomes = outcomes_of(self._ask("/metrics"))
            listed = orjson.loads(self._ask("/v1/audiences?limit=1000"))["items"]
        except (OSError, ValueError):
            return None  # it is starting again: up says so itself
        return Seen(outcomes, newest(listed))

    def _ask(self, path: str) -> bytes:
        request = urllib.request.Request(
            self._collector + path, headers={"authorization": f"Bearer {self._key}"}
        )
        with urllib.request.urlopen(request, timeout=5) as answer:
            return bytes(answer.read())


def say(text: str) -> None:
    """A message on stderr, in the place of the moving line, which goes on below it."""
    typer.echo((START if sys.stdout.isatty() else "") + text, err=True)


def outcomes_of(metrics: bytes) -> Counter[str]:
    """Events by outcome, from the text of /metrics."""
    counts: Counter[str] = Counter()
    for outcome, _, number in _EVENTS.findall(metrics):
        counts[outcome.decode()] += int(float(number))
    return counts


def newest(audiences: list[dict[str, Any]]) -> tuple[tuple[str, int | None], ...]:
    return tuple((audience["name"], audience["size"]) for audience in audiences[-MOST:])


def told(seen: Seen, before: Seen | None) -> str:
    """The line: what came in since the look before is in brackets."""
    parts = []
    for outcome in ("accepted", "refused", "duplicate"):
        number = seen.outcomes[outcome]
        fresh = number - before.outcomes[outcome] if before else 0
        if number or outcome == "accepted":
            parts.append(f"{number:,} {outcome}" + (f" (+{fresh})" if fresh > 0 else ""))
    sizes = [
        f"{cut(name, LONGEST_NAME)} {'…' if size is None else f'{size:,}'}" for name, size in seen.audiences
    ]
    return " · ".join(["events: " + ", ".join(parts), *sizes])


def cut(line: str, width: int) -> str:
    return line if len(line) <= width else line[: max(0, width - 1)] + "…"
