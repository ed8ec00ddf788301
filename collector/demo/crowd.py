"""Crowd: sends the simulated shoppers through the shop, by the door that browsers use, and counts their fates."""

import asyncio
import time
import uuid
from collections import Counter
from random import Random
from typing import Any

from collector.demo import shoppers
from collector.demo.client import Client, Failed
from collector.demo.shoppers import WITHDRAW, Act, Shopper

AT_ONCE = 14  # people on the site: with a pause of about 2 s each, four events a second
KNOWN = 60  # people who may come back: few, so that some do so within the first minutes
RETURNING = 0.5
AWAY_SECONDS = 1.0  # until the next person comes through a door
SILENT = "silent"  # nothing was sent: the fate of a page seen without consent


class Crowd:
    """The simulated shoppers. `on` may be switched at any time; who is on the site then stops where they are."""

    def __init__(self, client: Client, tag: str, origin: str, rng: Random, *, on: bool = True) -> None:
        self._client = client
        self._tag = tag
        self._origin = origin
        self._rng = rng
        self._known: list[Shopper] = []
        self._on = asyncio.Event()
        self.switch(on=on)
        self.visits = 0
        self.returning = 0
        self.fates: Counter[tuple[str, str]] = Counter()

    @property
    def on(self) -> bool:
        return self._on.is_set()

    def switch(self, *, on: bool) -> None:
        if on:
            self._on.set()
        else:
            self._on.clear()

    def report(self) -> dict[str, Any]:
        """What the panel shows."""
        return {
            "on": self.on,
            "visits": self.visits,
            "returning": self.returning,
            "fates": [
                {"outcome": outcome, "reason": reason, "events": events}
                for (outcome, reason), events in self.fates.most_common()
            ],
        }

    async def run(self) -> None:
        """Keep people coming, for ever; cancel it to stop."""
        async with asyncio.TaskGroup() as doors:
            for _ in range(AT_ONCE):
                doors.create_task(self._door())

    async def _door(self) -> None:
        while True:
            await asyncio.sleep(AWAY_SECONDS * self._rng.uniform(0.2, 1.8))
            await self._on.wait()
            shopper = self._next()
            self.visits += 1
            for act in shoppers.visit(shopper, self._rng):
                await asyncio.sleep(act.pause)
                await self._on.wait()
                await self._do(shopper, act)
                if act.event == WITHDRAW:
                    break
            else:
                self._known.append(shopper)  # only now: nobody walks in twice at a time
                del self._known[:-KNOWN]

    def _next(self) -> Shopper:
        if self._known and self._rng.random() < RETURNING:
            self.returning += 1
            known = self._rng.choices(self._known, [shopper.keen for shopper in self._known])[0]
            self._known.remove(known)
            return shoppers.welcome_back(known, self._rng)
        return shoppers.meet(self._rng)

    async def _do(self, shopper: Shopper, act: Act) -> None:
        if shopper.choice == "refuses":
            self.fates[SILENT, "consent_denied"] += 1
            return
        try:
            results = await asyncio.to_thread(
                self._client.events, self._body(shopper, act), self._headers(shopper)
            )
        except Failed:
            self.fates["retry", "unavailable"] += 1
            return
        for result in results or [{"outcome": "accepted", "reason": "withdrawn"}]:
            self.fates[result["outcome"], result["reason"]] += 1

    def _body(self, shopper: Shopper, act: Act) -> dict[str, Any]:
        """The request as the tag writes it."""
        now = time.time()
        leaving = act.event == WITHDRAW
        event = {
            "event": act.event,
            "event_id": uuid.UUID(int=self._rng.getrandbits(128), version=4).hex,
            "event_time": round(now, 3),
            "url": self._origin + act.path,
            "data": act.data,
        }
        return {
            "tag": self._tag,
            "visitor": shopper.visitor,
            "sent_at": int(now * 1000),
            "withdraw": leaving,
            "consent": shopper.consent,
            "events": [] if leaving else [event],
        }

    def _headers(self, shopper: Shopper) -> dict[str, str]:
        return {"origin": self._origin, "user-agent": shopper.agent}
