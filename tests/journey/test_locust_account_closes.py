"""Under shoppers' load every event meets one fate, and client, server and archive count the same."""

import importlib.util
import re
import subprocess
import sys
from collections import Counter

import pytest

from collector.settings import Settings
from loadtest import load

SECONDS = 5


@pytest.mark.skipif(not importlib.util.find_spec("locust"), reason="needs locust: pip install -e '.[load]'")
@pytest.mark.timeout(240)
def test_what_shoppers_sent_is_what_was_answered_counted_and_kept() -> None:
    command = [sys.executable, "-m", "loadtest.load", "--seconds", str(SECONDS), "--users", "5"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    sent, told = re.findall(r"events sent, fates told +(\S+) +(\S+)", ended.stdout)[0]
    assert sent == told
    assert int(sent.replace(",", "")) > 5 * SECONDS, "the shoppers hardly sent anything"


@pytest.mark.parametrize("lost", ["sent", "accepted full", "erased"])
def test_one_event_that_is_missing_is_noticed(lost: str, monkeypatch: pytest.MonkeyPatch) -> None:
    told = Counter({"sent": 10, "erased": 2, "accepted full": 8, "accepted withdrawn": 1, "refused bot": 1})
    counted = Counter({"accepted full": 8, "accepted withdrawn": 1, "refused bot": 1})
    monkeypatch.setattr(load, "fates", lambda url: counted)
    monkeypatch.setattr(load, "rows", lambda settings, tag: 6)
    assert load.close(Settings(), "1", told.copy())
    told[lost] -= 1
    assert not load.close(Settings(), "1", told)
