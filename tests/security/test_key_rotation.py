"""A key is replaced without a moment in which neither is taken, and one that ended is refused within seconds."""

import json
import re
import subprocess
import sys
import threading
import time

from collector import clock, tags
from tests.contract.test_cli import collector, one_line
from tests.security.conftest import GRANTED, Installed

SOON = 5.0  # seconds: the edge trusts its copy for one, COLLECTOR_TAG_CACHE_SECONDS


def command(installed: Installed, *words: str) -> subprocess.CompletedProcess[str]:
    return collector(
        *words, redis_url=installed.settings.redis_url, data_dir=installed.settings.data_dir, partitions=2
    )


def said(installed: Installed, *words: str) -> str:
    ran = command(installed, *words)
    assert (ran.returncode, ran.stderr) == (0, "")
    return ran.stdout.strip()


def sent(installed: Installed, key: str) -> int:
    body = {"tag": installed.one.tag, "consent": GRANTED, "events": [{"event": "lead", "visitor": "carl"}]}
    return installed.ask("POST", "/v1/server/events", key, json=body).status_code


def ended(installed: Installed, key: str) -> bool:
    end = time.monotonic() + SOON
    while sent(installed, key) != 401:
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def test_a_key_is_rotated_under_traffic_and_no_request_is_refused(installed: Installed) -> None:
    old, presented = installed.key("server", tags=[installed.one.tag], consent_attested="at the till")
    answers: list[int] = []
    done = threading.Event()

    def traffic() -> None:
        while not done.is_set():
            answers.append(sent(installed, presented))

    sender = threading.Thread(target=traffic)
    sender.start()
    try:
        fresh = said(installed, "key", "rotate", old.id)
        answers.append(sent(installed, fresh))  # while the old one still sends
    finally:
        done.set()
        sender.join()
    assert len(answers) > 10 and set(answers) == {200}

    new = tags.lookup(installed.client, fresh)
    assert new is not None and new.id != old.id
    assert (new.role, new.tags, new.consent_attested, new.name) == (
        "server",
        old.tags,
        "at the till",
        old.name,
    )
    known = {key.id: key for key in tags.list_keys(installed.client)}
    assert abs(known[old.id].expires_at - time.time() - 86_400) < 60
    tags.expire(installed.client, old.id, int(time.time()) - 1)
    assert ended(installed, presented)
    assert sent(installed, fresh) == 200
    tags.revoke(installed.client, new.id)
    assert ended(installed, fresh)


def test_without_an_overlap_the_old_key_ends_at_once(installed: Installed) -> None:
    old, presented = installed.key("marketer")
    fresh = json.loads(said(installed, "key", "rotate", old.id, "--overlap-hours", "0", "--json"))
    assert installed.ask("GET", "/v1/tags", presented).status_code == 401
    assert installed.ask("GET", "/v1/tags", fresh["key"]).status_code == 200
    tags.revoke(installed.client, fresh["id"])
    assert f"revoked {clock.iso(time.time())[:10]}" in said(installed, "key", "list")


def test_a_key_with_a_last_day_ends_after_it(installed: Installed) -> None:
    future = json.loads(
        said(installed, "key", "create", "--role", "marketer", "--expires", "2999-12-31", "--json")
    )
    assert future["expires_at"] == "3000-01-01T00:00:00Z"
    _, past = installed.key("marketer", expires_at=int(time.time()) - 1)
    assert installed.ask("GET", "/v1/tags", past).status_code == 401
    assert installed.ask("GET", "/v1/tags", future["key"]).status_code == 200
    assert re.search(rf"{future['id']} .* until 3000-01-01", said(installed, "key", "list"))
    fresh = json.loads(said(installed, "key", "rotate", future["id"], "--json"))
    assert fresh["expires_at"] == future["expires_at"], "a new key outlives nobody"


def test_what_cannot_be_rotated_is_told_in_one_line(installed: Installed) -> None:
    gone, _ = installed.key("marketer")
    tags.revoke(installed.client, gone.id)
    fixed = next(key for key in tags.list_keys(installed.client) if key.name == tags.ADMIN)
    for words in (
        ["key", "rotate", "0"],
        ["key", "rotate", gone.id],
        ["key", "rotate", fixed.id],
        ["key", "create", "--role", "server", "--expires", "tomorrow"],
        ["key", "create", "--role", "server", "--expires", "9999-12-31"],
        ["key", "create", "--role", "server", "--expires", "2025-01-31"],
        ["key", "create", "--role", "server", "--name", "one\x1b[2Jline"],
    ):
        ran = command(installed, *words)
        assert ran.returncode == 2
        one_line(ran)


def test_no_key_stands_in_a_process_list(installed: Installed) -> None:
    """Keys and passwords come by environment, file or standard input: arguments are everybody's to read."""
    shown = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert f"{sys.executable} -m collector serve" in shown
    for secret in (installed.one.server, installed.one.admin, "admin_of_the_tests_of_security"):
        assert secret not in shown
