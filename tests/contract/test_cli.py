"""The command line: one line for an error, exit 2 for misuse, and a doctor that says what to do."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from collector import connections, keys
from collector.cli import doctor
from collector.embedded import Embedded
from collector.settings import BadSetup, Settings


def collector(*command: str, **settings: object) -> subprocess.CompletedProcess[str]:
    """Run `collector …` to its end with these settings."""
    environment = {f"COLLECTOR_{name.upper()}": str(value) for name, value in settings.items()}
    return subprocess.run(
        [sys.executable, "-m", "collector", *command],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


def one_line(ran: subprocess.CompletedProcess[str]) -> str:
    """The only line of stderr; nothing is on stdout."""
    assert ran.stdout == ""
    assert ran.stderr.count("\n") == 1, ran.stderr
    assert "Mend: " in ran.stderr
    return ran.stderr


@pytest.mark.parametrize(
    "command",
    [
        ["nosuch"],
        ["up", "--nope"],
        ["serve", "--port", "x"],
        ["serve", "--only", "half"],
        ["worker", "extra"],
    ],
    ids=" ".join,
)
def test_misuse_is_one_line_and_exit_2(command: list[str]) -> None:
    ran = collector(*command)
    assert ran.returncode == 2
    one_line(ran)


@pytest.mark.parametrize("command", ["up", "serve"])
def test_a_taken_port_is_one_line_and_exit_2(command: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ran = collector(command, "--port", str(port), "--data-dir", str(tmp_path))
    assert ran.returncode == 2
    assert f"port {port}" in one_line(ran)


@pytest.mark.parametrize("command", [["up", "--port", "0"], ["serve", "--port", "0"]], ids=lambda it: it[0])
def test_an_unwritable_data_folder_is_one_line_and_exit_2(command: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ran = collector(*command, "--data-dir", str(tmp_path / "file" / "data"))
    assert ran.returncode == 2
    one_line(ran)


def test_up_on_a_server_elsewhere_says_of_an_unwritable_data_folder_as_much(
    settings: Settings, redis: connections.Redis, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "data"):
        ran = collector("up", "--port", "0", data_dir=folder, redis_url=settings.redis_url)
        assert ran.returncode == 2
        assert "cannot be written" in one_line(ran)


def test_a_second_up_on_a_folder_is_one_line_and_exit_2(tmp_path: Path) -> None:
    with Embedded(Settings(data_dir=tmp_path)):
        ran = collector("up", "--port", "0", "--data-dir", str(tmp_path))
    assert ran.returncode == 2
    assert "in use by another collector" in one_line(ran)


def test_a_role_without_a_server_is_one_line_and_exit_2(tmp_path: Path) -> None:
    ran = collector("worker", "--data-dir", str(tmp_path))
    assert ran.returncode == 2
    assert "COLLECTOR_REDIS_URL" in one_line(ran)


def test_a_restore_of_no_backup_is_one_line_and_exit_2_and_makes_no_data_folder(tmp_path: Path) -> None:
    ran = collector("restore", str(tmp_path / "nowhere"), "--data-dir", str(tmp_path / "data"))
    assert ran.returncode == 2
    assert "is no whole backup" in one_line(ran)
    assert not (tmp_path / "data").exists()


def test_a_bad_setting_is_one_line_and_exit_2() -> None:
    ran = collector("worker", poll_seconds="soon")
    assert ran.returncode == 2
    assert "COLLECTOR_POLL_SECONDS" in one_line(ran)


def test_version_prints_the_version_and_nothing_else() -> None:
    ran = collector("--version")
    assert ran.returncode == 0
    assert ran.stdout.strip().replace(".", "").isdigit()


def findings(settings: Settings, redis: connections.Redis) -> dict[str, doctor.Finding]:
    """With a worker that minds every partition."""
    redis.zadd(keys.WORKERS, {"w": time.time() * 1000})
    for number in range(settings.partitions):
        redis.set(keys.lease(number), "w")
    return {finding.check: finding for finding in doctor.examine(settings)}


def test_the_doctor_finds_nothing_wrong_with_a_sound_installation(
    settings: Settings, redis: connections.Redis
) -> None:
    found = findings(settings, redis)
    assert {check for check, finding in found.items() if finding.state == "fail"} == set()
    assert set(found) >= {"server", "promises", "memory", "clock", "workers", "data disk", "retention"}
    assert sum(check.startswith("partition ") for check in found) == settings.partitions


def test_the_doctor_fails_a_server_that_breaks_a_promise(
    settings: Settings, redis: connections.Redis
) -> None:
    redis.config_set("maxmemory-policy", "allkeys-lru")
    try:
        found = findings(settings, redis)["promises"]
        ran = collector("doctor", "--json", redis_url=settings.redis_url, data_dir=settings.data_dir)
    finally:
        redis.config_set("maxmemory-policy", "noeviction")
    assert (found.state, found.mend) == ("fail", "maxmemory-policy noeviction.")
    assert ran.returncode == 1
    assert {"check", "state", "found", "mend"} == set(json.loads(ran.stdout)[0])


def test_the_doctor_names_all_broken_promises_at_once(settings: Settings, redis: connections.Redis) -> None:
    kept = {"maxmemory-policy": "noeviction", "appendonly": "yes", "appendfsync": "always"}
    broken = {"maxmemory-policy": "allkeys-lru", "appendonly": "no", "appendfsync": "everysec"}
    try:
        for name, value in broken.items():
            redis.config_set(name, value)
        found = findings(settings, redis)["promises"]
        with pytest.raises(BadSetup, match=r"evict keys.*append-only file.*appendfsync everysec.*Mend: "):
            connections.check_server(redis, settings)
    finally:
        for name, value in kept.items():
            redis.config_set(name, value)
    assert found.state == "fail"
    assert found.mend.startswith("maxmemory-policy noeviction; appendonly yes; appendfsync always, or ")


def test_the_doctor_counts_what_lies_behind_a_cursor(settings: Settings, redis: connections.Redis) -> None:
    old = int(time.time() * 1000) - 3_600_000
    for sequence in range(5):
        redis.xadd(keys.events(3), {"e": "{}"}, id=f"{old}-{sequence}")
    redis.hset(keys.state(3), "cursor", f"{old}-1")
    found = findings(settings, redis)["partition 03"]
    assert found.state == "fail"
    assert found.found.startswith("3 behind, the oldest for 3,6")
    told = collector("doctor", redis_url=settings.redis_url, data_dir=settings.data_dir).stdout
    assert "lag: 15 of 16 partitions keep up." in told and told.count("partition 0") == 1
    redis.hset(keys.state(3), "cursor", f"{old}-4")
    assert findings(settings, redis)["partition 03"].state == "ok"


def test_the_doctor_warns_of_an_archive_that_forgets_before_the_lookback(
    settings: Settings, redis: connections.Redis
) -> None:
    short = settings.model_copy(update={"retention_days": 90})
    assert findings(short, redis)["retention"].state == "warn"
    kept = settings.model_copy(update={"retention_days": 540})
    assert findings(kept, redis)["retention"].state == "ok"


def test_the_doctor_fails_when_no_worker_is_alive(settings: Settings, redis: connections.Redis) -> None:
    redis.zadd(keys.WORKERS, {"dead": (time.time() - 120) * 1000})
    found = {finding.check: finding for finding in doctor.examine(settings)}
    assert found["workers"].state == "fail"


def test_the_doctor_fails_partitions_that_nobody_minds(settings: Settings, redis: connections.Redis) -> None:
    findings(settings, redis)
    redis.delete(keys.lease(3))
    found = {finding.check: finding for finding in doctor.examine(settings)}["partitions"]
    assert (found.state, found.found) == ("fail", "no worker minds 03")


def test_the_doctor_warns_of_events_that_are_not_archived(settings: Settings, redis: connections.Redis) -> None:
    assert findings(settings, redis)["archiving"].state == "ok"
    an_hour_ago = int(time.time() - 3_600) * 1000
    redis.xadd(keys.events(2), {"e": b"{}"}, id=f"{an_hour_ago}-0")
    redis.hset(keys.state(2), "cursor", f"{an_hour_ago}-0")
    found = findings(settings, redis)
    assert found["partition 02"].state == "ok"  # applied it is
    assert found["archiving"].state == "warn"
    redis.hset(keys.state(2), "archived", f"{an_hour_ago}-0")
    assert findings(settings, redis)["archiving"].state == "ok"
