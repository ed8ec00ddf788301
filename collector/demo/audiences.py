"""Audiences: the three that the demo shop's panel shows, kept in the collector as any marketer's are."""

import threading
import time
from typing import Any, NamedTuple

from collector.demo.client import Client, Failed

FRESH_SECONDS = 0.9  # a panel asks every second; any number of them cost one question


class Shown(NamedTuple):
    """An audience of the panel: its name and rule in the collector, and the rule in words."""

    name: str
    words: str
    rule: dict[str, Any]


SHOWN = (
    Shown(
        "Left a cart",
        "Added to the cart in 30 days, and has not bought since",
        {
            "event": "addtocart",
            "retention_days": 30,
            "exclude": [{"event": "checkout", "since": "match"}],
        },
    ),
    Shown(
        "Viewed shoes, not carted",
        "Looked at shoes in 14 days, and put none in the cart",
        {
            "event": "viewcontent",
            "event_data": {"product_category": "Shoes"},
            "retention_days": 14,
            "exclude": [{"event": "addtocart", "event_data": {"product_category": "Shoes"}}],
        },
    ),
    Shown(
        "Bought twice",
        "At least two orders in 180 days",
        {"event": "checkout", "min_count": 2, "retention_days": 180},
    ),
)


class Audiences:
    """What the panel shows of them. Blocks, and is safe to use from several threads."""

    def __init__(self, client: Client, tag: str) -> None:
        self._client = client
        self._tag = tag
        self._reading = threading.Lock()  # two at once would both create what is missing
        self._read_at = float("-inf")
        self._rows: list[dict[str, Any]] = []

    def rows(self) -> list[dict[str, Any]]:
        """Name, words, size (None while it is worked out), status; [] while the collector cannot be asked."""
        with self._reading:
            if time.monotonic() - self._read_at >= FRESH_SECONDS:
                try:
                    known = self._known()
                    self._rows = [self._row(shown, known) for shown in SHOWN]
                except Failed:
                    self._rows = []
                self._read_at = time.monotonic()
            return self._rows

    def of(self, visitor: str) -> list[str]:
        """The names of those that the visitor is in."""
        try:
            found = self._client.get(f"/v1/visitors/{visitor}?tag={self._tag}")
        except Failed:
            return []
        return [audience["name"] for audience in found["audiences"]]

    def _known(self) -> dict[str, dict[str, Any]]:
        page = self._client.get(f"/v1/audiences?tag={self._tag}")
        return {audience["name"]: audience for audience in page["items"]}

    def _row(self, shown: Shown, known: dict[str, dict[str, Any]]) -> dict[str, Any]:
        audience = known.get(shown.name) or self._client.post(
            "/v1/audiences",
            {"tag": self._tag, "name": shown.name, "description": shown.words, "rule": shown.rule},
        )
        return {
            "name": shown.name,
            "words": shown.words,
            "size": audience["size"],
            "status": audience["status"],
        }
