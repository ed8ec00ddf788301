"""With Sentinels the product follows the primary, and with WAIT a 2xx is on a replica too."""

import signal

from tests.cluster.conftest import Rings
from tests.cluster.ring import Pair, Watched
from tests.faults.account import GRANTED, Account
from tests.faults.plant import ORIGIN, until


def test_a_primary_that_dies_is_replaced_and_nothing_is_lost(rings: Rings) -> None:
    ring = rings(Watched, wait_replicas=1)
    ring.worker()
    account = Account(ring, [ring.edge()])
    account.load.await_acknowledged(100)
    ring.primary.kill()
    until(lambda: ring.replica.role == "master", "the replica takes over")
    account.load.await_acknowledged(100)  # into the spool, while nobody replicates
    ring.primary.start()
    until(lambda: ring.primary.role == "slave", "the dead one comes back as a replica")
    assert account.close()["lost"] == 0


def test_what_no_replica_has_is_not_acknowledged_however_often_it_comes(rings: Rings) -> None:
    """The first attempt is on the primary's disk, so a repeat is a duplicate there: not a reason to say yes either."""
    ring = rings(Pair, wait_replicas=1, spool_bytes=0)
    edge = ring.edge().await_ready()
    tag = edge.told("POST", "/v1/tags", {"name": "shop", "origins": [ORIGIN]})["tag"]
    event = {"event": "pagevisit", "event_id": "one", "visitor": f"{7:032x}"}
    body = {"tag": tag, "consent": GRANTED, "events": [event]}

    def fate() -> tuple[int, str]:
        status, raw = edge.ask("POST", "/v1/server/events", body)
        return (
            status,
            "duplicate" if b'"duplicate"' in raw else "accepted" if b'"accepted"' in raw else "not stored",
        )

    ring.replica.send(signal.SIGSTOP)
    assert [fate() for _ in range(3)] == [(503, "not stored")] * 3
    assert sum(ring.client.xlen(f"{{p{number:02d}}}:events") for number in range(4)) == 1
    ring.replica.send(signal.SIGCONT)
    until(lambda: fate() == (200, "duplicate"), "a replica has it")
