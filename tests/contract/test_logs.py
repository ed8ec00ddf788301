"""Every process logs one JSON object a line, to stderr, and nothing else."""

import json
import time

from collector import connections
from collector.settings import Settings
from tests.conftest import PATIENCE, Start
from tests.contract.test_cli import collector


def test_each_line_of_a_role_is_an_object(start: Start, redis: connections.Redis) -> None:
    serve, worker = start("serve", log_level="debug"), start("worker", log_level="debug")
    serve.await_ready()
    redis.hset("{p03}:state", "cursor", "nonsense")  # something to complain of
    end = time.monotonic() + PATIENCE
    while "warning" not in levels(worker.logged) and time.monotonic() < end:
        time.sleep(0.1)
    for live in (serve, worker):
        live.stop()
        lines = [json.loads(line) for line in live.text.splitlines()]
        assert lines
        for line in lines:
            assert {"time", "level", "event", "part"} <= line.keys()
    assert "warning" in levels(worker.logged)


def levels(lines: list[dict[str, object]]) -> set[object]:
    return {line["level"] for line in lines}


def test_a_command_keeps_its_output_free_of_logs(settings: Settings, redis: connections.Redis) -> None:
    ran = collector("rebuild", data_dir=settings.data_dir)  # it starts a server of its own, and stops it
    assert ran.returncode == 2
    assert ran.stdout == ""
    assert "nothing to rebuild" in ran.stderr
    assert "server started" not in ran.stderr
