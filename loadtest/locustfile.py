"""Shoppers for locust: sessions, carts, refusals, second thoughts; each keeps account of what it was answered.

    locust -f loadtest/locustfile.py --host http://127.0.0.1:8000

with LOAD_TAG the tag's id, whose origins must have the host; LOAD_SECONDS: when shoppers stop, before locust's own
end (-t); LOAD_ACCOUNT: a file for the account at the end.
`python -m loadtest.load` does all that and closes the account.
"""

import json
import os
import random
import time
import uuid
from collections import Counter
from pathlib import Path
from typing import Any

from locust import FastHttpUser, events, task
from locust.exception import StopUser

TAG = os.environ.get("LOAD_TAG", "")
END = time.monotonic() + float(os.environ.get("LOAD_SECONDS", "inf"))
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"
WORDS = ("ad_storage", "ad_user_data", "ad_personalization")
GRANTED = dict.fromkeys(WORDS, "granted")
NO_ADS = {**GRANTED, "ad_personalization": "denied"}
DENIED = dict.fromkeys(WORDS, "denied")
BAD: tuple[dict[str, Any], ...] = (
    {"event": ""},
    {"event": "checkout", "event_time": 1_763_750_000_000},
    {"event": "addtocart", "data": "shoes"},
    {"event": "pagevisit", "event_id": "x" * 200},
    {"event": "pagevisit", "event_time": 1_400_000_000},
)

ACCOUNT: Counter[str] = Counter()
"""«sent», «unanswered», «erased», and «outcome reason» of each fate."""


class Shopper(FastHttpUser):
    """One browser. Between sessions it may come back with its cookie, or be somebody else's."""

    def wait_time(self) -> float:
        """Seconds between two requests. At the end shoppers stop here: locust would cut requests short."""
        if time.monotonic() > END:
            raise StopUser
        return random.uniform(0.02, 0.2)

    def on_start(self) -> None:
        self.client.cookiejar.clear()
        self.accepted = 0  # events on disk under the present cookie
        self.last: list[dict[str, Any]] = []
        self.consent = random.choices((GRANTED, NO_ADS, DENIED), (85, 5, 10))[0]
        self.gpc = random.random() < 0.03
        self.agent = BROWSER if random.random() < 0.98 else "curl/8.14.1"
        self.stage = "pagevisit"

    @task(70)
    def go_on(self) -> None:
        """The next page of the session: carts are abandoned more often than paid."""
        product = random.randrange(200)
        number = 1 if random.random() < 0.8 else random.randrange(2, 6)  # what a queue kept while offline
        self.post([self.page(product) for _ in range(number)])
        following = {
            "pagevisit": (("viewcategory", 70), ("addtocart", 30)),
            "viewcategory": (("viewcategory", 50), ("addtocart", 30), ("leave", 20)),
            "addtocart": (("initiatecheckout", 30), ("viewcategory", 40), ("leave", 30)),
            "initiatecheckout": (("checkout", 60), ("leave", 40)),
            "checkout": (("leave", 1),),
        }[self.stage]
        self.stage = random.choices(*zip(*following, strict=True))[0]
        if self.stage == "leave":
            self.leave()

    @task(2)
    def repeat(self) -> None:
        """A retry of what was taken already: the same ids again."""
        if self.last:
            self.post(self.last)

    @task(2)
    def err(self) -> None:
        """A page with a fault, beside an event that is well."""
        self.post([random.choice(BAD), self.page(1)])

    @task(2)
    def image(self) -> None:
        """A page without JavaScript."""
        consent = "denied" if self.consent is DENIED else "granted"
        query = f"tag={TAG}&event=pagevisit&event_id={uuid.uuid4().hex}&consent={consent}"
        ACCOUNT["sent"] += 1
        with self.client.get(
            f"/v1/pixel.gif?{query}", headers=self.headers(), name="/v1/pixel.gif", catch_response=True
        ) as answer:
            fate = answer.headers.get("X-Collector", "") if answer.status_code else ""
            self.note(*(fate.split(" ") if fate.count(" ") == 1 else ("unanswered", "")))

    @task(1)
    def change_mind(self) -> None:
        """A withdrawal by a known visitor, now and then; whoever comes after it is new."""
        if random.random() < 0.5 or not any(
            cookie.name == "_collector_id" for cookie in self.client.cookiejar
        ):
            return
        body = {"tag": TAG, "withdraw": True, "events": []}
        ACCOUNT["sent"] += 1
        with self.client.post(
            "/v1/events",
            data=json.dumps(body),
            headers=self.headers(),
            name="withdrawal",
            catch_response=True,
        ) as answer:
            self.note("accepted" if answer.status_code == 200 else "unanswered", "withdrawn")
            # The withdrawal is no row itself, and takes the visitor's with it.
            ACCOUNT["erased"] += self.accepted - 1 if answer.status_code == 200 else 0
        self.on_start()

    def leave(self) -> None:
        """The end of a session: half come back some day, with their cookie."""
        if random.random() < 0.5:
            self.on_start()
        self.stage, self.last = "pagevisit", []

    def page(self, product: int) -> dict[str, Any]:
        return {
            "event": self.stage,
            "event_id": uuid.uuid4().hex,
            "event_time": time.time(),
            "url": f"{self.host}/products/{product}?colour=red#top",
            "referrer": "https://search.example/?q=shoes",
            "data": {
                "value": f"{product}.50",
                "currency": "EUR",
                "line_items": {"product_id": f"A{product}"},
            },
        }

    def headers(self) -> dict[str, str]:
        headers = {"Origin": str(self.host), "User-Agent": self.agent, "Content-Type": "text/plain"}
        return {**headers, "Sec-GPC": "1"} if self.gpc else headers

    def post(self, some: list[dict[str, Any]]) -> None:
        body = {"tag": TAG, "sent_at": time.time() * 1000, "consent": self.consent, "events": some}
        ACCOUNT["sent"] += len(some)
        with self.client.post(
            "/v1/events", data=json.dumps(body), headers=self.headers(), catch_response=True
        ) as answer:
            if answer.status_code != 200:
                ACCOUNT["unanswered"] += len(some)
                return
            for result in answer.json()["results"]:
                self.note(result["outcome"], result["reason"])
        self.last = some

    def note(self, outcome: str, reason: str) -> None:
        self.accepted += outcome == "accepted"
        ACCOUNT[f"{outcome} {reason}" if outcome != "unanswered" else outcome] += 1


def _write(**_: object) -> None:
    if path := os.environ.get("LOAD_ACCOUNT"):
        Path(path).write_text(json.dumps(ACCOUNT))


events.quitting.add_listener(_write)
