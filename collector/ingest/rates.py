"""Rates: who sends too much. Counted in memory by windows of ten seconds; an address is forgotten with its window."""

import time
from collections.abc import Callable
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from math import ceil

from collector.settings import BadSetup, Settings

WINDOW = 10.0  # seconds: a page that opens with a burst of events is no flood
LOOPBACK = "127.0.0.0/8,::1"  # proxies on this machine that nobody declared: else all visitors would be one
SITE = 64  # bits: what one IPv6 customer is given at the least, and so may take any address of

Network = IPv4Network | IPv6Network


class Rates:
    """The counts of one process. About 0.4 µs a request; docs/decisions/0003-dependencies.md has the other choices."""

    def __init__(self, settings: Settings, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Raises BadSetup for trusted proxies that are no addresses."""
        self._clock = clock
        self._per_ip = settings.rate_per_ip * WINDOW
        self._per_tag = settings.rate_per_tag * WINDOW
        self._place = lru_cache(maxsize=16_384)(_Placer(networks(settings.trusted_proxies)))
        self._counts: dict[str, int] = {}
        self._end = float("-inf")

    def ip(self, peer: str, forwarded: str) -> int:
        """Count a request; the seconds that its sender should wait, 0 if it may go on.

        peer: the address at the other end of the connection. forwarded: the last X-Forwarded-For header.
        """
        if not self._per_ip:
            return 0
        place = self._place(peer)
        if not place and forwarded:
            place = self._sender(forwarded)
        return self._count(place, 1, self._per_ip) if place else 0

    def tag(self, tag: str, events: int) -> int:
        """Count events of a tag; the seconds that their sender should wait, 0 if they may go on."""
        return self._count(tag, events, self._per_tag) if self._per_tag else 0

    def _sender(self, forwarded: str) -> str:
        """The last address of the chain that is no proxy of ours: what stands before it, its sender could make up."""
        for hop in reversed(forwarded.split(",")):
            if place := self._place(hop.strip()[:64]):
                return place
        return ""

    def _count(self, key: str, more: int, most: float) -> int:
        now = self._clock()
        if now >= self._end:
            self._counts = {}
            self._end = now + WINDOW
        count = self._counts.get(key, 0)
        if count >= most:
            return ceil(self._end - now)
        self._counts[key] = count + more
        return 0


class _Placer:
    """An address → what is counted as one sender; "" for a trusted proxy, and for none."""

    def __init__(self, trusted: list[Network]) -> None:
        self._trusted = trusted

    def __call__(self, text: str) -> str:
        if text.count(":") == 1 or text.startswith("["):  # some proxies write the port too
            text = text.rpartition(":")[0].strip("[]") if not text.endswith("]") else text.strip("[]")
        try:
            address = ip_address(text)
        except ValueError:
            return text  # a sender of its own: no form of nonsense may be a way round the limit
        if isinstance(address, IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped
        if any(address in network for network in self._trusted):
            return ""
        if isinstance(address, IPv6Address):
            return str(IPv6Network((address, SITE), strict=False))
        return str(address)


def networks(text: str) -> list[Network]:
    """The networks of a list by commas, and loopback. Raises BadSetup."""
    try:
        return [ip_network(part.strip()) for part in f"{LOOPBACK},{text}".split(",") if part.strip()]
    except ValueError as error:
        raise BadSetup(
            f"COLLECTOR_TRUSTED_PROXIES: {error}. Mend: write addresses or networks by commas, as 10.0.0.0/8,::1."
        ) from None
