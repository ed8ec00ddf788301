"""`collector dead`: told what died and why, without its content; tried again, or dropped."""

import json

from collector import connections, keys
from collector.settings import Settings
from collector.stream import dead, read
from collector.stream.dead import Letter
from collector.stream.partitions import open_installation
from tests.contract.test_cli import one_line
from tests.contract.test_cli_data import Cli, cli

__all__ = ["cli"]


def test_dead_letters_are_listed_shown_retried_and_dropped(
    cli: Cli, redis: connections.Redis, settings: Settings
) -> None:
    installation = open_installation(redis, settings)
    for place, payload in enumerate([b'{"visitor": "anna"', b"\xff rubbish"]):
        entry = read.Entry(f"176375000000{place}-0".encode(), payload)
        letter = Letter("failed" if place == 0 else "undecodable", "KeyError" if place == 0 else "", payload)
        redis.hset(keys.dead(3), dead.field(installation, entry), dead.pack(letter))
    first, second = cli.json("dead", "list")
    assert first == {
        "id": "3/1763750000000-0",
        "at": "2025-11-21T18:33:20Z",
        "reason": "failed",
        "error": "KeyError",
        "bytes": 18,
    }
    assert "anna" not in cli.said("dead", "list")
    assert "anna" not in cli.said("dead", "show", first["id"])
    assert json.loads(cli.said("dead", "show", first["id"], "--content"))["content"] == '{"visitor": "anna"'
    assert cli.said("dead", "retry", first["id"]) == "1 will be tried again.\n"
    assert [entry.payload for entry in read.after(redis, 3, "0-0", 10)] == [b'{"visitor": "anna"']
    assert cli.said("dead", "drop", "--all") == "1 dropped.\n"
    assert cli.json("dead", "list") == []
    assert second["reason"] == "undecodable"


def test_what_is_meant_must_be_said(cli: Cli) -> None:
    for command in (["retry"], ["drop"], ["retry", "--all", "0/1-1"]):
        ran = cli("dead", *command)
        assert ran.returncode == 2
        assert "Mend: name their ids, or say --all." in one_line(ran)
    assert "`collector dead list`" in one_line(cli("dead", "show", "0/1-1"))
