"""Behind Sentinels the primary dies, again and again, and comes back at once: while they are not yet of one mind."""

from pathlib import Path

import pytest

from collector.embedded import Server
from tests.cluster.ring import Member, Watched
from tests.faults.account import Account
from tests.faults.conftest import Tried, only_long, rounds
from tests.faults.plant import until


def fail_over(account: Account, primary: Member, heir: Member) -> None:
    account.load.await_acknowledged(100)
    primary.kill()
    until(lambda: heir.role == "master", "the replica takes over")
    account.load.await_acknowledged(50)  # into the spool
    primary.start()
    until(lambda: heir.ask("ROLE")[2], "the dead one comes back as a replica")


@pytest.mark.timeout(900)
@only_long  # once: tests/cluster/test_sentinel.py
def test_failovers_lose_and_double_nothing(tmp_path: Path, server_binary: Server, tried: Tried) -> None:
    """The old primary still takes what it is told, and has events that the heir lacks."""
    times = rounds(1, 20)
    with Watched(tmp_path / "ring", server_binary, wait_replicas=1) as ring:
        ring.worker()
        account = Account(ring, [ring.edge()], pause=0.05)
        primary, heir = ring.primary, ring.replica
        for _ in range(times):
            fail_over(account, primary, heir)
            primary, heir = heir, primary
        tried(
            "A failover loses and doubles nothing that a replica had to have",
            "kill -9 of the primary behind Sentinels, which comes back at once, with WAIT 1",
            times,
            account.close(),
        )
