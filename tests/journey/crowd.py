"""Crowd: a thousand audiences over ten million visitors, for what the dashboard's pages weigh and take."""

import numpy as np

from collector import keys
from collector.clock import DAY
from loadtest.measure_sizes import put_column
from tests.unit.parts import Parts

AUDIENCES = 1_000
VISITORS = 10_000_000
SHELVES = 19  # conditions, and one more that all exclude: 20 columns of 40 MB
SHARE = 0.2  # of the visitors that ever met a condition
DAYS = 540  # that their last times are spread over


def gather(parts: Parts, shop: str) -> str:
    """Make them, in an installation of one partition; the id of one.

    The columns are written as they are kept, with random times; no dictionary, which sizes do not look at.
    """
    for number in range(AUDIENCES):
        shelf, days = number % SHELVES, 7 + number % 170
        rule = {
            "event": "viewcontent",
            "event_data": {"product_category": f"Shelf {shelf}"},
            "retention_days": days,
            "exclude": [{"event": "checkout", "retention_days": 60}],
        }
        audience = parts.registry.create(shop, f"Shelf {shelf}, {days} days, no. {number}", "", rule)
    parts.work()
    shelves = [each for each in parts.registry.all() if "Shelf" in each.name]
    leaves = {leaf.id for each in shelves for leaf in each.parsed().leaves()}
    random = np.random.default_rng(1)
    tenant = keys.tenant(0, shop)
    for leaf in sorted(leaves):
        times = (parts.now - random.integers(0, DAYS * DAY, VISITORS)).astype("<u4")
        times[random.random(VISITORS) >= SHARE] = 0
        put_column(parts.client, tenant, leaf, times)
    return audience.id
