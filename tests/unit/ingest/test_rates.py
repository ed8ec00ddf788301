"""Rates: who is one sender, and when it has sent too much."""

import pytest

from collector.ingest.rates import WINDOW, Rates
from collector.settings import BadSetup, Settings

PER_SECOND = 2
MOST = int(PER_SECOND * WINDOW)


class Watch:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def rates(watch: Watch, **chosen: object) -> Rates:
    return Rates(Settings(rate_per_ip=PER_SECOND, **chosen), clock=watch)  # type: ignore[arg-type]


def test_so_many_go_on_and_the_next_waits_until_the_window_ends() -> None:
    watch = Watch()
    one = rates(watch)
    assert [one.ip("203.0.113.5", "") for _ in range(MOST)] == [0] * MOST
    assert one.ip("203.0.113.5", "") == WINDOW
    assert one.ip("203.0.113.6", "") == 0, "another address is another sender"
    watch.now += WINDOW - 0.5
    assert one.ip("203.0.113.5", "") == 1
    watch.now += 0.5
    assert one.ip("203.0.113.5", "") == 0


@pytest.mark.parametrize(
    ("peer", "forwarded", "counted"),
    [
        ("203.0.113.5", "", "203.0.113.5"),
        ("203.0.113.5", "198.51.100.7", "203.0.113.5"),  # nobody of ours wrote it
        ("10.0.0.2", "198.51.100.7", "198.51.100.7"),
        ("10.0.0.2", "1.1.1.1, 198.51.100.7", "198.51.100.7"),  # the first is the sender's own invention
        ("10.0.0.2", "10.0.0.9, 198.51.100.7, 10.0.0.3", "198.51.100.7"),  # two proxies of ours
        ("10.0.0.2", "198.51.100.7:4711", "198.51.100.7"),
        ("10.0.0.2", "[2001:db8:1:2:3::9]:4711", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "", "2001:db8:1:2::/64"),
        ("::ffff:203.0.113.5", "", "203.0.113.5"),
        ("::ffff:10.0.0.2", "198.51.100.7", "198.51.100.7"),
        ("10.0.0.2", "garbage", "garbage"),
        ("10.0.0.2", "", ""),
        ("10.0.0.2", "10.0.0.8, 10.0.0.9", ""),
        ("127.0.0.1", "", ""),
        ("::1", "", ""),
        ("127.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("", "", ""),
    ],
)
def test_a_sender_is_the_last_address_that_no_proxy_of_ours_has(
    peer: str, forwarded: str, counted: str
) -> None:
    one = rates(Watch(), trusted_proxies="10.0.0.0/8")
    assert one.ip(peer, forwarded) == 0
    assert list(one._counts) == ([counted] if counted else [])


def test_no_header_helps_a_sender_who_has_sent_too_much() -> None:
    one = rates(Watch(), trusted_proxies="10.0.0.0/8")
    for number in range(MOST):
        one.ip("10.0.0.2", f"192.0.2.{number}, 203.0.113.5")
    assert one.ip("10.0.0.2", "192.0.2.200, 203.0.113.5") == WINDOW
    assert one.ip("10.0.0.2", "127.0.0.1, 203.0.113.5") == WINDOW


def test_a_tag_s_events_are_counted_together_and_no_limit_is_no_limit() -> None:
    watch = Watch()
    one = Rates(Settings(rate_per_tag=PER_SECOND, rate_per_ip=0), clock=watch)
    assert one.tag("1", MOST - 1) == 0
    assert one.tag("1", 100) == 0, "a request is taken whole"
    assert one.tag("1", 1) == WINDOW
    assert one.tag("2", 1) == 0
    assert {one.ip("203.0.113.5", "") for _ in range(10 * MOST)} == {0}
    assert {Rates(Settings()).tag("1", 1_000) for _ in range(100)} == {0}


def test_what_is_no_address_is_refused_with_the_mend() -> None:
    with pytest.raises(BadSetup, match=r"COLLECTOR_TRUSTED_PROXIES: .* Mend:"):
        Rates(Settings(trusted_proxies="10.0.0.0/8, proxy.example"))
