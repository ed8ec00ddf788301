"""On a Redis Cluster the product runs as on one server, and a failover costs nothing that was acknowledged."""

from typing import Any

from tests.cluster.conftest import Rings
from tests.cluster.ring import Cluster
from tests.faults.account import GRANTED, Account
from tests.faults.plant import ORIGIN, until


def test_a_failover_under_load_loses_and_doubles_nothing(rings: Rings) -> None:
    """The operator's failover, then the death of a primary; every 2xx waited for a replica."""
    ring = rings(Cluster, wait_replicas=1)
    worker = ring.worker()
    account = Account(ring, [ring.edge()])
    account.load.await_acknowledged(100)

    first = ring.holder("{p00}:events")
    replica = ring.replicas_of(first)[0]
    replica.ask("CLUSTER", "FAILOVER")
    until(lambda: replica in ring.primaries(), "the replica takes over")
    until(lambda: ring.replicas_of(replica), "the old primary follows it")
    account.load.await_acknowledged(100)

    dead = ring.holder("{c}:tags")
    heir = ring.replicas_of(dead)[0]
    dead.kill()
    until(lambda: heir in ring.primaries(), "the heir takes over")
    account.load.await_acknowledged(100)  # the spool has what no replica can have now
    dead.start()
    until(lambda: ring.replicas_of(heir), "the dead one comes back as a replica")
    assert account.close()["lost"] == 0
    assert worker.running


def test_a_visitor_is_forgotten_on_every_node(rings: Rings) -> None:
    """From event to size, archive and erasure; then no append-only file of primary or replica has the id."""
    ring = rings(Cluster)
    ring.worker(erasure_seconds=0)
    edge = ring.edge().await_ready()
    tag = edge.told("POST", "/v1/tags", {"name": "shop", "origins": [ORIGIN]})["tag"]
    visitors = [f"{number:032x}" for number in range(0xABC000, 0xABC000 + 40)]
    events = [{"event": "addtocart", "event_id": visitor, "visitor": visitor} for visitor in visitors]
    edge.told("POST", "/v1/server/events", {"tag": tag, "consent": GRANTED, "events": events})
    rule = {"event": "addtocart", "retention_days": 30}
    made = edge.told("POST", "/v1/audiences", {"tag": tag, "name": "carts", "rule": rule})["id"]

    def size() -> Any:
        return edge.told("GET", f"/v1/audiences/{made}/size")["size"] or 0  # null while it is being filled

    until(lambda: size() == 40, "all are members", pause=0.2)
    gone = visitors[0]
    assert len(ring.files_with(gone)) == 2, (
        "the search finds a live id in a primary's file and in its replica's"
    )
    edge.told("DELETE", f"/v1/visitors/{gone}?tag={tag}")
    until(lambda: size() == 39, "one is forgotten", pause=0.2)
    until(lambda: not ring.files_with(gone), "no file has the id", pause=0.2)
    checked = ring.collector("doctor")
    assert "3 primaries, each with a replica" in checked.stdout, checked.stdout
    assert ring.collector("backup", str(ring.folder / "backup")).returncode == 0
    refused = ring.collector("rebuild")
    assert refused.returncode == 2 and "a cluster has none" in refused.stderr, refused.stderr
    assert size() == 39
