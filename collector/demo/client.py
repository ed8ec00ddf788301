"""Client: the collector as the shop's server side reaches it, over HTTP with a marketer's key. Blocks."""

import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

import orjson

PATIENCE = 5.0  # seconds for an answer


class Failed(Exception):
    """The collector did not take the question, or did not answer."""


class Client:
    """Asks one collector. Every method raises Failed."""

    def __init__(self, collector: str, key: str) -> None:
        self._collector = collector
        self._key = key

    def get(self, path: str) -> Any:
        return self._ask(urllib.request.Request(self._collector + path, headers=self._authorised()))

    def post(self, path: str, body: object) -> Any:
        headers = self._authorised() | {"content-type": "application/json"}
        return self._ask(
            urllib.request.Request(self._collector + path, orjson.dumps(body), headers, method="POST")
        )

    def events(self, body: object, headers: Mapping[str, str]) -> list[dict[str, str]]:
        """Post a browser's events, as a browser does: without a key. The results, in the events' order."""
        found = self._ask(
            urllib.request.Request(
                f"{self._collector}/v1/events",
                orjson.dumps(body),
                {"content-type": "text/plain", **headers},
                method="POST",
            )
        )
        results: list[dict[str, str]] = found["results"]
        return results

    def _authorised(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self._key}"}

    def _ask(self, request: urllib.request.Request) -> Any:
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return orjson.loads(answer.read())
        except (OSError, ValueError) as error:  # URLError is an OSError; JSONDecodeError a ValueError
            raise Failed from error
