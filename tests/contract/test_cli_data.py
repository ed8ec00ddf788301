"""The data commands, as the contract writes them: what they print, what they refuse, that they do what they say."""

import csv
import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from collector import connections, keys, tags
from collector.cli import main
from collector.settings import Settings
from tests.conftest import Start
from tests.contract.test_cli import collector, one_line

ORIGIN = "https://shop.example"
DAY = 86_400


class Cli:
    """`collector …` on the test's installation."""

    def __init__(self, settings: Settings) -> None:
        self._settings = {"redis_url": settings.redis_url, "data_dir": settings.data_dir}

    def __call__(self, *command: str) -> subprocess.CompletedProcess[str]:
        return collector(*command, **self._settings)

    def said(self, *command: str) -> str:
        """What a command that succeeds prints."""
        ran = self(*command)
        assert (ran.returncode, ran.stderr) == (0, "")
        return ran.stdout

    def json(self, *command: str) -> Any:
        return json.loads(self.said(*command, "--json"))


@pytest.fixture
def cli(settings: Settings, redis: connections.Redis) -> Cli:
    return Cli(settings)


@pytest.fixture
def tag(redis: connections.Redis) -> str:
    return tags.create_tag(redis, "shop", [ORIGIN], "opt_in")[0].id


def test_a_tag_is_created_listed_and_its_snippet_printed_and_nothing_else(
    cli: Cli, redis: connections.Redis
) -> None:
    made = cli.json("tag", "create", "shop", "--origin", ORIGIN, "--origin", "https://b.example")
    assert re.fullmatch(r"[0-9]{13}", made["tag"])
    key = tags.lookup(redis, made["server_key"])
    assert key
    assert (key.role, key.tags) == ("server", (made["tag"],))
    other = cli.said("tag", "create", "two", "--origin", ORIGIN, "https://c.example", "--regime", "opt_out")
    assert re.search(r"^Tag +[0-9]{13}$", other, re.MULTILINE)
    assert [(row["name"], row["origins"], row["regime"]) for row in cli.json("tag", "list")] == [
        ("shop", [ORIGIN, "https://b.example"], "opt_in"),
        ("two", [ORIGIN, "https://c.example"], "opt_out"),
    ]
    snippet = cli.said("tag", "snippet", made["tag"])
    assert snippet.startswith("<")
    assert snippet.endswith(">\n")
    assert made["tag"] in snippet
    assert "integrity" not in snippet
    assert 'integrity="sha384-' in cli.said("tag", "snippet", made["tag"], "--pinned")


def test_a_key_is_shown_once_works_and_ends(cli: Cli, redis: connections.Redis, tag: str) -> None:
    presented = cli.said(
        "key", "create", "--role", "server", "--tag", tag, "--consent-attested", "at the till"
    )
    key = tags.lookup(redis, presented.strip())
    assert key
    assert (key.role, key.tags, key.consent_attested) == ("server", (tag,), "at the till")
    assert presented.strip() not in cli.said("key", "list")
    cli.said("key", "revoke", key.id)
    assert tags.lookup(redis, presented.strip()) is None
    assert "revoke" in cli.said("key", "list")


@pytest.mark.parametrize(
    "command",
    [
        ["tag"],
        ["tag", "create", "shop"],
        ["tag", "create", "shop", "--origin", "shop.example"],
        ["tag", "create", "shop", "--origin", ORIGIN, "--regime", "never"],
        ["tag", "snippet", "1234567890123"],
        ["key", "create", "--role", "king"],
        ["key", "create", "--role", "server", "--tag", "1234567890123"],
        ["key", "revoke", "0"],
        ["audience", "size", "1"],
        ["audience", "size", "1", "--lookback", "541"],
        ["audience", "create", "1234567890123", "RULE"],
        ["audience", "create", "TAG", "missing.json"],
        ["audience", "create", "TAG", "BAD"],
        ["audience", "create", "TAG", "OTHERS"],
        ["audience", "list", "--tag", "1234567890123"],
        ["import", "RULE", "--tag", "1234567890123", "--consent-attested", "x"],
        ["import", "RULE", "--tag", "TAG"],
        ["import", "RULE", "--tag", "TAG", "--consent-attested", " "],
        ["import", "missing.csv", "--tag", "TAG", "--consent-attested", "x"],
        ["import", "RULE", "--tag", "TAG", "--consent-attested", "x", "--shift-end-to", "then"],
        ["forget", "v", "--tag", "1234567890123"],
        ["forget", "", "--tag", "TAG"],
        ["subject", "v", "--tag", "1234567890123"],
        ["subject", "", "--tag", "TAG"],
    ],
    ids=" ".join,
)
def test_misuse_is_one_line_and_exit_2(
    settings: Settings,
    tag: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: list[str],
) -> None:
    (tmp_path / "rule.json").write_text('{"event": "lead"}')
    (tmp_path / "bad.json").write_text('{"rule": {"event": 5}}')
    (tmp_path / "others.json").write_text('{"tag": "1234567890123", "rule": {"event": "lead"}}')
    names = {"TAG": tag, **{name: str(tmp_path / f"{name.lower()}.json") for name in ("RULE", "BAD", "OTHERS")}}
    monkeypatch.setenv("COLLECTOR_REDIS_URL", settings.redis_url)
    monkeypatch.setattr(sys, "argv", ["collector", *(names.get(word, word) for word in command)])
    with pytest.raises(SystemExit, match="2"):  # in this process: a new one each takes a second
        main()
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1, said.err
    assert "Mend: " in said.err


def test_an_import_is_counted_applied_and_a_no_op_when_it_comes_again(
    cli: Cli, start: Start, tag: str, tmp_path: Path
) -> None:
    start("worker")
    file = tmp_path / "past.csv"
    rows = [("event_time", "visitor", "event", "colour", "consent")]
    rows += [(str(DAY * day), f"v{day}", "lead", "red" if day % 2 else "", "") for day in range(1, 301)]
    rows += [("soon", "x", "lead", "", ""), (str(DAY), "x", "lead", "", "denied"), ("1",)]  # type: ignore[list-item]
    with file.open("w", newline="") as out:
        csv.writer(out).writerows(rows)
    command = ["import", str(file), "--tag", tag, "--consent-attested", "asked", "--shift-end-to", "now"]

    ran = cli(*command)
    assert ran.returncode == 0
    assert [line.split(":")[:2] for line in ran.stderr.splitlines()] == [
        ["line 302", " bad_time"],
        ["line 303", " consent_denied"],
        ["line 304", " bad_event"],
    ]
    (end_at,) = re.findall(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", ran.stdout)
    assert "300 accepted" in ran.stdout
    assert "3 refused" in ran.stdout

    rule = tmp_path / "reds.json"
    rule.write_text(json.dumps({"event": "lead", "event_data": {"colour": "red"}, "retention_days": 10}))
    made = cli.json("audience", "create", tag, str(rule))
    assert (made["name"], made["memory_bytes"]) == ("reds", 4 * 300)
    sizes = {}
    for days in (1, 9, 10, 540):
        answer = cli.json("audience", "size", made["id"], "--lookback", str(days), "--as-of", end_at)
        assert (answer["lookback_days"], answer["as_of"]) == (days, end_at)
        sizes[days] = answer["size"]
    # Red on odd days; the last, day 300, lies exactly at end_at, and the lower bound is inclusive.
    assert sizes == {1: 1, 9: 5, 10: 5, 540: 150}

    again = cli(*command)
    assert (again.returncode, again.stderr) == (0, "")
    assert "already" in again.stdout
    assert re.findall(r"\d{4}-\S+Z", again.stdout) == [f"{end_at}"]
    assert cli.json("audience", "size", made["id"], "--as-of", end_at)["size"] == 5


def test_audiences_are_made_listed_sized_and_taken_away(
    cli: Cli, start: Start, tag: str, tmp_path: Path, settings: Settings, redis: connections.Redis
) -> None:
    file = tmp_path / "past.ndjson"
    events = [{"event": "lead", "event_time": 1000, "visitor": f"v{n}"} for n in range(5)]
    events.append({"event": "lead", "event_time": 1000, "visitor": "=cmd()"})
    file.write_text("".join(json.dumps(event) + "\n" for event in events))
    shifted = ["--consent-attested", "asked", "--shift-end-to", "now"]

    draft = json.dumps({"name": "leads", "description": "d", "rule": {"event": "lead"}})
    waiting = subprocess.run(
        [sys.executable, "-m", "collector", "audience", "create", tag, "-", "--json"],
        input=draft,
        env={"COLLECTOR_REDIS_URL": settings.redis_url, "COLLECTOR_DATA_DIR": str(settings.data_dir)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    audience = json.loads(waiting.stdout)
    assert (audience["name"], audience["status"], audience["size"]) == ("leads", "INITIALIZING", None)
    for command in ("size", "export"):
        unready = cli("audience", command, audience["id"])
        assert unready.returncode == 1
        assert "INITIALIZING" in one_line(unready)

    start("worker")
    cli.said("import", str(file), "--tag", tag, *shifted)
    assert cli.json("audience", "size", audience["id"])["size"] == 6
    assert cli.said("audience", "size", audience["id"]).startswith("6 ")
    (listed,) = cli.json("audience", "list", "--tag", tag)
    assert (listed["id"], listed["status"], listed["size"]) == (audience["id"], "TOO_SMALL", 6)
    assert "leads" in cli.said("audience", "list")

    members = {
        json.loads(line)["visitor"] for line in cli.said("audience", "export", audience["id"]).splitlines()
    }
    assert members == {"v0", "v1", "v2", "v3", "v4", "=cmd()"}
    table = cli.said("audience", "export", audience["id"], "--format", "csv")
    assert {row["visitor"] for row in csv.DictReader(io.StringIO(table))} == {*members} - {"=cmd()"} | {
        "'=cmd()"
    }
    assert cli.said("audience", "export", audience["id"], "--as", "em_sha256") == ""

    known = json.loads(cli.said("subject", "v0", "--tag", tag))
    assert [found["id"] for found in known["audiences"]] == [audience["id"]]
    assert [event["event"] for event in known["events"]] == ["lead"]
    for visitor, unknown in (("v0", False), ("v0", True), ("stranger", True)):
        said = cli.said("forget", visitor, "--tag", tag)
        assert said.startswith("Erased, with all that happened up to ")
        assert ("Nothing was kept of this visitor" in said) == unknown
    assert cli.json("audience", "size", audience["id"])["size"] == 5
    assert json.loads(cli.said("subject", "v0", "--tag", tag))["events"] == []


def test_an_import_that_nobody_applies_says_so_and_stays_stored(
    cli: Cli, redis: connections.Redis, settings: Settings, tag: str, tmp_path: Path
) -> None:
    file = tmp_path / "past.csv"
    file.write_text("event_time,visitor,event\n1000,v,lead\n")
    ran = cli("import", str(file), "--tag", tag, "--consent-attested", "asked")
    assert ran.returncode == 1
    assert "start `collector worker`" in one_line(ran)
    assert sum(redis.xlen(keys.events(number)) for number in range(settings.partitions)) == 1
    assert "already" in cli.said(
        "import", str(file), "--tag", tag, "--consent-attested", "asked", "--no-wait"
    )


def test_an_import_of_which_every_line_is_refused_counts_them_and_exits_1(cli: Cli, tag: str, tmp_path: Path) -> None:
    file = tmp_path / "past.csv"
    file.write_text("event_time,visitor,event\nsoon,v,lead\n")
    command = ["import", str(file), "--tag", tag, "--consent-attested", "asked", "--no-wait"]
    for _ in range(2):  # it may come again
        ran = cli(*command)
        assert (ran.returncode, ran.stdout) == (1, "Imported: 0 accepted, 1 refused.\n")
    ran = cli(*command, "--json")
    told = json.loads(ran.stdout)
    assert (ran.returncode, told["accepted"], told["refused"], told["reasons"]) == (1, 0, 1, {"bad_time": 1})
    file.write_text("event_time,visitor,event\n")
    assert cli.said(*command) == "Imported: 0 accepted.\n"  # no line, none refused
