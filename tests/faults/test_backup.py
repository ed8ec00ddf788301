"""A backup that is taken under load is whole: what was acknowledged before it is in it, once, and counts the same."""

import pytest

from tests.faults.account import Account
from tests.faults.conftest import Plants, Tried, rounds


@pytest.mark.timeout(300)
def test_a_backup_under_load_restores_to_all_that_was_acknowledged_before(
    plants: Plants, tried: Tried
) -> None:
    """And to nothing else than was sent. An upgrade's data: tests/journey/test_upgrades_keep_data.py."""
    plant, times = plants(flush_seconds=0.5), rounds(1, 3)
    edge = plant.edge().await_ready()
    plant.worker()
    account = Account(plant, [edge])
    acknowledged = lost = 0
    for number in range(times):
        account.load.await_acknowledged(200)
        before = set(account.load.ledger.acknowledged)
        taken = plant.collector("backup", str(plant.folder / f"backup-{number}"))
        assert taken.returncode == 0, taken.stderr
        other = plants()
        restored = other.collector("restore", str(plant.folder / f"backup-{number}"))
        assert restored.returncode == 0, restored.stderr
        other_edge, other_worker = other.edge().await_ready(), other.worker()
        rows = account.moved(other, other_edge).compare(before)
        acknowledged += len(before)
        lost += len(before - {row.event_id for row in rows})
        for unit in (other_edge.unit, other_worker, other.redis):
            unit.kill()
    account.close()
    tried(
        "A backup holds all that was acknowledged before it",
        "backup under load, restored on another machine",
        times,
        {"acknowledged": acknowledged, "lost": lost},
    )
