"""Consent records: one for each change, on disk before the archive moves on, under a keyed hash."""

import json
from pathlib import Path
from typing import Any

import pytest

from collector import keys
from collector.archive.proof import Consent, Erasure, Proofs, find
from collector.clock import DAY
from collector.connections import Redis
from collector.settings import Settings
from tests.unit.parts import GPC, LIMITED, NOW, TAG, WITHDRAWN, Parts, happened


def name(parts: Parts, visitor: str) -> str:
    return keys.visitor_name(keys.visitor_mark(parts.installation.secret, TAG, visitor))


def recorded(parts: Parts, visitor: str) -> list[dict[str, Any]]:
    return find(parts.settings.archive, TAG, "consent", name(parts, visitor))


def verdicts(parts: Parts, visitor: str) -> list[str]:
    return [record["verdict"] for record in recorded(parts, visitor)]


def lines(parts: Parts) -> list[str]:
    return [
        line
        for path in sorted((parts.settings.archive / "proof").rglob("*.ndjson"))
        for line in path.read_text().splitlines()
    ]


def flush(parts: Parts) -> None:
    """As a worker that has just come: it knows only what is on disk."""
    parts.apply()
    parts.flush()


def test_a_record_is_appended_for_each_change_and_for_no_other_event(
    redis: Redis, settings: Settings
) -> None:
    parts = Parts(redis, settings)
    for signals in (LIMITED, LIMITED, GPC, GPC, LIMITED):
        parts.send(happened("anna"), signals=signals)
    parts.send(happened("bert"), happened("bert"))
    flush(parts)
    parts.send(happened("bert"), happened("anna"))
    flush(parts)
    parts.send(happened("bert"), happened("anna"))
    flush(parts)
    assert verdicts(parts, "anna") == ["limited", "limited", "limited", "full"]
    assert [record["method"] for record in recorded(parts, "anna")] == [
        "words",
        "words,gpc",
        "words",
        "words",
    ]
    assert verdicts(parts, "bert") == ["full"]
    assert len(lines(parts)) == 5


def test_a_record_has_what_proves_consent_and_no_visitor(redis: Redis, settings: Settings) -> None:
    parts = Parts(redis, settings)
    parts.send(happened("anna", user_data={"em": "a" * 64}, source="server"))
    flush(parts)
    (line,) = lines(parts)
    record = json.loads(line)
    assert record == {
        "record": record["record"],
        "visitor": name(parts, "anna"),
        "at": "2025-11-21T18:33:20Z",
        "verdict": "full",
        "method": "words",
        "signals": record["signals"],
        "source": "server",
    }
    assert len(record["signals"]) == 16
    assert "anna" not in line and "a" * 64 not in line


def test_a_withdrawal_is_a_record_and_so_is_the_consent_of_who_comes_back(
    redis: Redis, settings: Settings
) -> None:
    parts = Parts(redis, settings)
    parts.send(happened("anna"))
    parts.send(happened("anna"), signals=WITHDRAWN)
    flush(parts)
    parts.send(happened("anna", now=NOW + 60))
    parts.send(happened("anna", now=NOW + 61))
    flush(parts)
    assert verdicts(parts, "anna") == ["full", "withdrawal", "full"]
    parts.columns().forget(TAG, "anna", "tombstone", NOW + 90)
    parts.send(happened("anna", now=NOW + 120))
    flush(parts)
    assert verdicts(parts, "anna") == ["full", "withdrawal", "full", "full"]


def test_a_flush_that_cannot_commit_records_nothing_twice(
    redis: Redis, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = Parts(redis, settings)
    parts.send(happened("anna"))
    parts.apply()
    one, other = parts.writer(), parts.writer()
    commit = one.manifest.flush

    def too_late(*args: Any) -> bool:
        other.flush()
        return commit(*args)

    monkeypatch.setattr(one.manifest, "flush", too_late)
    assert one.flush() == 0
    assert verdicts(parts, "anna") == ["full"]
    # What the other worker records meanwhile is known to the first one when it writes again.
    monkeypatch.undo()
    parts.send(happened("anna"), signals=LIMITED)
    parts.apply()
    other.flush()
    parts.send(happened("anna"))
    parts.apply()
    one.flush()
    assert verdicts(parts, "anna") == ["full", "limited", "full"]


def a_record(record: str, visitor: str = "0123456789abcdef") -> Consent:
    return Consent(
        record=record,
        visitor=visitor,
        at="2025-11-21T18:33:20Z",
        verdict="full",
        method="words",
        signals="ab",
    )


def test_half_a_line_of_a_crash_costs_that_line_alone(tmp_path: Path) -> None:
    proofs = Proofs(tmp_path, 0)
    proofs.append(TAG, "consent", [a_record("1")], NOW)
    (path,) = tmp_path.rglob("*.ndjson")
    with path.open("ab") as file:
        file.write(b'{"record":"2","visitor":"0123456789abcdef"')
    proofs.append(TAG, "consent", [a_record("3"), a_record("3")], NOW)
    assert [record["record"] for record in find(tmp_path, TAG, "consent", "0123456789abcdef")] == ["1", "3"]
    assert find(tmp_path, TAG, "consent", "0" * 16) == []


def test_files_are_of_a_month_and_go_when_it_is_past_the_retention(tmp_path: Path) -> None:
    proofs = Proofs(tmp_path, 0)
    for age in (90, 40, 0):
        proofs.append(TAG, "consent", [a_record(str(age))], NOW - age * DAY)
    gone = Erasure("e", "0123456789abcdef", "a", "b", "c")
    proofs.append(TAG, "erasure", [gone], NOW - 90 * DAY)
    assert proofs.retire(60, NOW) == 2
    assert [record["record"] for record in find(tmp_path, TAG, "consent", "0123456789abcdef")] == ["40", "0"]
    assert find(tmp_path, TAG, "erasure") == []
