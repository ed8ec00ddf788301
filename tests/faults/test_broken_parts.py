"""A poison event, a clock that steps, a damaged file, a worker that dies in the worst places: the rest goes on."""

import json
import re
import signal
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.faults.account import GRANTED, Account
from tests.faults.conftest import Plants, Tried, only_long, rounds
from tests.faults.plant import ORIGIN, PARTITIONS, Plant, Unit, until

DAY = 86_400
SABOTEUR = "tests.faults.saboteur"


@pytest.fixture
def switch(tmp_path: Path) -> Path:
    """The file that a saboteur looks at or leaves behind."""
    return tmp_path / "switch"


def saboteur(plant: Plant, fault: str, switch: Path, **settings: Any) -> Unit:
    return plant.worker(module=SABOTEUR, before=(fault, switch), **settings)


@pytest.mark.timeout(300)
def test_a_poison_event_is_put_aside_while_the_rest_flows(
    plants: Plants, tried: Tried, tmp_path: Path
) -> None:
    """Bytes that nobody can read, and events that the matcher fails on; then `collector dead` tells, and retries."""
    plant, times = plants(), rounds(5, 100)
    edge, worker = plant.edge().await_ready(), saboteur(plant, "poison", Path("mandrake"))
    account = Account(plant, [edge])
    account.load.await_acknowledged()
    for number in range(times):
        plant.client.xadd(f"{{p{number % PARTITIONS:02d}}}:events", {"e": b'{"tag": 1, "\xff'})
        event = {"event": "addtocart", "event_id": f"poison-{number}", "url": f"{ORIGIN}/mandrake"}
        body = {"tag": account.tag, "visitor": f"{number:032x}", "consent": GRANTED, "events": [event]}
        status, _ = edge.ask("POST", "/v1/events", body, headers={"origin": ORIGIN})
        assert status == 200
    account.load.await_acknowledged()
    until(lambda: len(letters(plant)) == 2 * times, "every poison event is a dead letter")
    assert {letter["reason"] for letter in letters(plant)} == {"undecodable", "failed"}
    assert worker.running
    assert "mandrake" not in worker.text, "the log quotes an event"
    warned = plant.collector("doctor")
    assert f"warn  dead letters: {2 * times}" in warned.stdout
    closed = account.close()
    # A worker without the fault takes them: as after an upgrade. Nothing can be done about the unreadable ones.
    worker.stop()
    plant.worker()
    again = plant.collector("dead", "retry", "--all")
    assert again.returncode == 0, again.stderr
    until(
        lambda: {letter["reason"] for letter in letters(plant)} == {"undecodable"}, "the others are applied"
    )
    until(account.settled, "all is applied")
    poisoned = [row for row in account.stored() if row.event_id.startswith("poison-")]
    assert len(poisoned) == times
    assert "dropped" in plant.collector("dead", "drop", "--all").stdout
    assert letters(plant) == []
    tried(
        "A poison event is put aside, the rest flows",
        "unreadable bytes, and an event that the worker fails on",
        2 * times,
        closed,
    )


def letters(plant: Plant) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = json.loads(plant.collector("dead", "list", "--json").stdout)
    return listed


@only_long
@pytest.mark.timeout(120)
def test_a_worker_that_fails_on_everything_stops_and_says_so(plants: Plants, tried: Tried) -> None:
    plant = plants(max_dead_letters=5)
    edge, worker = plant.edge().await_ready(), saboteur(plant, "poison", Path("shop.example"))
    account = Account(plant, [edge])
    assert worker.process.wait(60) == 1
    said = worker.text.splitlines()[-1]
    assert "dead letters" in said
    assert "Mend: " in said
    kept = len(letters(plant))
    assert 0 < kept <= 5 * PARTITIONS
    plant.worker()
    plant.collector("dead", "retry", "--all")
    closed = account.close()
    tried(
        "A bad deploy does not put everything aside",
        "a worker that fails on every event",
        1,
        closed,
        f"stopped after {kept} dead letters",
    )


@only_long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("whose", ["a worker", "an edge"])
def test_a_clock_that_steps_by_a_day_moves_nothing_that_is_stored(
    plants: Plants, tried: Tried, switch: Path, whose: str
) -> None:
    """What was sent with a time of the past, as here, keeps it; an edge only clamps what would be in its future."""
    plant, times = plants(lease_seconds=1), rounds(1, 10)
    switch.write_text("0")
    if whose == "an edge":
        edge = plant.edge(module=SABOTEUR, before=("clock", switch)).await_ready()
        worker = plant.worker()
    else:
        edge, worker = plant.edge().await_ready(), saboteur(plant, "clock", switch)
    account = Account(plant, [edge])
    for _ in range(times):
        for step in (DAY, -DAY, 0):
            account.load.await_acknowledged()
            switch.write_text(str(step))
            account.load.await_acknowledged()
            account.await_applied()
            assert worker.running
            assert edge.unit.running
    closed = account.close()
    tried(
        "A clock that steps moves nothing",
        f"{whose}'s clock steps by +1 day, −1 day, and back",
        3 * times,
        closed,
    )


@only_long
@pytest.mark.timeout(300)
def test_an_archive_writer_that_sleeps_before_its_rename_does_no_harm(
    plants: Plants, tried: Tried, switch: Path
) -> None:
    """Another archives the same events meanwhile; the sleeper's file is never put in force."""
    plant, times = plants(lease_seconds=1, flush_seconds=0.3), rounds(1, 10)
    edge = plant.edge().await_ready()
    account = Account(plant, [edge])
    for _ in range(times):
        switch.unlink(missing_ok=True)
        sleeper = saboteur(plant, "rename", switch)
        until(switch.exists, "it sleeps")
        other = plant.worker()
        until(partial(plant.archived_since, plant.archived()), "the other archives")
        sleeper.send(signal.SIGCONT)
        time.sleep(1)
        assert sleeper.stop() == 0
        assert other.stop() == 0
    plant.worker()
    closed = account.close()
    tried(
        "Two archive writers write each event once",
        "a worker stopped before it renames its file, woken up",
        times,
        closed,
    )


@only_long
@pytest.mark.timeout(300)
def test_a_crash_in_compaction_neither_loses_nor_doubles(plants: Plants, tried: Tried, switch: Path) -> None:
    plant, times = plants(flush_seconds=0.2, compact_files=2), rounds(1, 20)
    edge = plant.edge().await_ready()
    account = Account(plant, [edge])
    for _ in range(times):
        switch.unlink(missing_ok=True)
        worker = saboteur(plant, "merge", switch)
        assert worker.process.wait(60) == -signal.SIGKILL
        worker.start()
        account.load.await_acknowledged()
        until(partial(plant.archived_since, plant.archived()), "it archives again")
        assert worker.stop() == 0
    plant.worker()
    closed = account.close()
    tried(
        "A merge of files happens or does not", "kill -9 between a merged file and its commit", times, closed
    )


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "damage",
    [
        "with a byte changed",
        pytest.param("cut short", marks=only_long),
        pytest.param("gone", marks=only_long),
    ],
)
def test_a_damaged_file_is_told_and_never_counted_wrongly(plants: Plants, tried: Tried, damage: str) -> None:
    """A question that needs the file is refused, `doctor` names it; the sizes of now, and ingest, go on."""
    plant = plants(flush_seconds=0.3)
    edge = plant.edge().await_ready()
    plant.worker()
    account = Account(plant, [edge])
    account.load.await_acknowledged(300)
    listed = until_listed(plant, account)
    whole = listed.read_bytes()
    if damage == "gone":
        listed.unlink()
    elif damage == "cut short":
        listed.write_bytes(whole[: len(whole) // 2])
    else:
        middle = len(whole) // 3
        listed.write_bytes(whole[:middle] + bytes([whole[middle] ^ 0x10]) + whole[middle + 1 :])
    audience = f"/v1/audiences/{account.audiences['visited']}"
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    status, said = edge.ask("GET", f"{audience}/size?as_of={now}")
    assert status == 503, (status, said)
    assert b"archive" in said
    assert edge.told("GET", f"{audience}/size")["size"] > 0
    account.load.await_acknowledged()
    found = plant.collector("doctor").stdout
    assert re.search(r"^fail  archive: 1 of \d+ files is damaged or gone", found, re.MULTILINE), found
    assert listed.name in found
    listed.write_bytes(whole)  # from a backup
    closed = account.close()
    tried(
        "A damaged file is told, and never counted wrongly",
        f"an archive file {damage}",
        1,
        closed,
    )


def until_listed(plant: Plant, account: Account) -> Path:
    """A file of the archive that is in force."""
    found: list[Path] = []

    def look() -> bool:
        for number in range(PARTITIONS):
            for name in plant.client.hkeys(f"{{p{number:02d}}}:{account.tag}:manifest"):
                found.append(plant.archive / f"p{number:02d}" / account.tag / f"{name.decode()}.parquet")
        return bool(found)

    until(look, "a file is in force")
    return found[0]
