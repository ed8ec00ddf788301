"""An import: consent line by line, true times, every line once for ever."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import ConnectionError as Disconnected

from collector import health, keys, tags
from collector.connections import Redis
from collector.consent import Regime
from collector.event import StreamedEvent, decode_streamed
from collector.ingest import importing
from collector.ingest.importing import Head, Import, NoWorker
from collector.ingest.lines import File
from collector.settings import BadSetup, Settings
from collector.stream.append import Importer, PackedLine
from collector.stream.partitions import open_installation

NOW = 1_763_750_000
TAG = tags.Tag(id="2612345678901", name="shop", origins=(), regime="opt_in", created_at=0)

Imports = Callable[..., tuple[Import, Head]]


@pytest.fixture
def run(redis: Redis, settings: Settings, tmp_path: Path) -> Imports:
    """run(text) imports the text to its end, without waiting for a worker; the job and its ledger's head."""

    def run(
        text: str,
        *,
        shift: bool = False,
        now: float = NOW,
        lines: int | None = None,
        regime: Regime = "opt_in",
    ) -> tuple[Import, Head]:
        path = tmp_path / "file"
        path.write_text(text)
        tag = tags.Tag(id=TAG.id, name="", origins=(), regime=regime, created_at=0)
        installation = open_installation(redis, settings)
        job = Import(redis, installation, settings, tag, File(path, settings), lambda: now)
        head = job.begin("asked at the till", shift=shift)
        for line in job.run(head):
            if lines and line >= lines:
                break
        return job, head

    return run


def streamed(redis: Redis, settings: Settings) -> list[StreamedEvent]:
    """Everything in the streams, by time and id."""
    entries = [entry for number in range(settings.partitions) for entry in redis.xrange(keys.events(number))]
    events = [decode_streamed(fields[b"e"]) for _, fields in entries]
    return sorted(events, key=lambda event: (event.event_time, event.event_id))


def csv(*rows: str, more: str = "") -> str:
    return "\n".join([f"event_time,visitor,event{more}", *rows, ""])


def ndjson(*events: Mapping[str, Any]) -> str:
    return "".join(json.dumps(event) + "\n" for event in events)


def test_lines_become_events_in_their_normal_form(run: Imports, redis: Redis, settings: Settings) -> None:
    job, head = run(csv("100,v1,Add_To_Cart,0012,12.50", more=",sku,value"))
    (event,) = streamed(redis, settings)
    assert (event.event, event.visitor, event.event_time) == ("addtocart", "v1", 100)
    assert event.data == {"sku": "0012", "value": 12.5}
    assert (event.source, event.verdict, event.consent) == ("import", "full", "attested")
    assert head.counts == job.counts == {"accepted": 1}


def test_nothing_passes_a_batch_that_could_not_be_appended(
    run: Imports, redis: Redis, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger knows a partition's last line: one that goes in behind a gap would close it for ever."""
    monkeypatch.setattr(importing, "BATCH", 2)
    monkeypatch.setattr(importing, "PATIENCE", 0.0)
    text = csv(*(f"{n},v{n},lead" for n in range(1, 31)))
    append, calls = Importer.append, 0

    def third_fails(self: Importer, lines: Sequence[PackedLine]) -> list[int]:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise Disconnected
        return append(self, lines)

    monkeypatch.setattr(Importer, "append", third_fails)
    with pytest.raises(Disconnected):
        run(text)
    assert (calls, len(streamed(redis, settings))) == (3, 4)
    job, _ = run(text)
    assert [event.event_time for event in streamed(redis, settings)] == list(range(1, 31))
    assert job.counts == {"earlier": 4, "accepted": 26}


def test_equal_lines_are_separate_events(run: Imports, redis: Redis, settings: Settings) -> None:
    run(csv("100,v,lead", "100,v,lead", "100,v,lead"))
    assert len({event.event_id for event in streamed(redis, settings)}) == 3


def test_equal_event_ids_are_one_event(run: Imports, redis: Redis, settings: Settings) -> None:
    job, _ = run(
        csv("100,v,lead,a", "101,v,lead,a", "102,w,lead,a", "103,v,lead,", "104,v,lead,", more=",event_id")
    )
    assert [event.event_time for event in streamed(redis, settings)] == [100, 102, 103, 104]
    assert job.counts == {"accepted": 4, "duplicate": 1}


def test_what_became_of_the_lines_counts_in_the_tag_s_health(run: Imports, redis: Redis) -> None:
    rows = ("1,v,e,granted,a", "2,v,e,granted,a", "3,v,no,denied,b", f"{NOW + 9},v,no,granted,c", "4,v,f,,d")
    run(csv(*rows, more=",consent,event_id"))
    report = health.report(redis, TAG.id, NOW, health.Content())
    assert {each["event"] for each in report["last_events"]} == {"e", "f"}
    assert report["outcomes"] == [
        {"outcome": "accepted", "reason": "full", "events": 2},
        {"outcome": "duplicate", "reason": "event_id", "events": 1},
        {"outcome": "refused", "reason": "bad_time", "events": 1},
        {"outcome": "refused", "reason": "consent_denied", "events": 1},
    ]


def test_a_line_s_own_consent_is_honoured_and_the_attestation_speaks_for_the_rest(
    run: Imports, redis: Redis, settings: Settings
) -> None:
    job, _ = run(csv("1,v,e,granted", "2,v,e,denied", "3,v,e,", "4,v,e,Granted", more=",consent"))
    assert [event.event_time for event in streamed(redis, settings)] == [1, 3]
    assert {refusal.line: refusal.reason for refusal in job.refusals} == {
        3: "consent_denied",
        5: "consent_malformed",
    }


def test_ndjson_lines_are_the_events_of_the_server_api(
    run: Imports, redis: Redis, settings: Settings
) -> None:
    some = {"event": "lead", "event_time": 100}
    job, _ = run(
        ndjson(
            {
                **some,
                "visitor": "v",
                "data": {"line_items": {"product_id": "1"}},
                "url": "https://a.example/#x",
            },
            {**some, "user_data": {"em": " Jo@Shop.Example "}},
            {**some, "visitor": "o", "opt_out": True},
            {**some, "visitor": "d", "consent": {"ad_storage": "denied"}},
            some,
        )
    )
    events = {event.visitor: event for event in streamed(redis, settings)}
    assert events["v"].line_items == [{"product_id": 1}]
    assert events["v"].url == "https://a.example/"
    assert (events["o"].verdict, events["o"].mark) == ("limited", "bar")
    (derived,) = (visitor for visitor in events if visitor.startswith("hmac:"))
    assert "Shop" not in str(events[derived]).title()
    assert [refusal[:2] for refusal in job.refusals] == [(4, "consent_denied"), (5, "no_visitor")]


def test_a_line_from_the_future_is_refused_and_not_clamped(
    run: Imports, redis: Redis, settings: Settings
) -> None:
    job, _ = run(csv(f"{NOW + 1},v,e", f"{NOW},v,e", f"{NOW}000,v,e", ",v,e", "-1,v,e"))
    assert [event.event_time for event in streamed(redis, settings)] == [NOW]
    assert [refusal[:2] for refusal in job.refusals] == [(line, "bad_time") for line in (2, 4, 5, 6)]
    assert job.refusals[0].why.endswith("or in the future")


def test_a_shift_puts_the_last_event_at_the_start_of_the_import(
    run: Imports, redis: Redis, settings: Settings
) -> None:
    _, head = run(csv("100,v,e", "200.7,v,e", f"{NOW + 5},v,e"), shift=True, now=NOW + 0.9)
    assert head.end_at == NOW
    assert [event.event_time for event in streamed(redis, settings)] == [NOW - 100, NOW]


def test_a_finished_file_is_finished_for_ever(run: Imports, redis: Redis, settings: Settings) -> None:
    text = csv("100,v,e", "200,v,e")
    _, first = run(text, shift=True)
    _, again = run(text, shift=True, now=NOW + 10**8)
    assert again.finished_at == first.finished_at > 0
    assert again.end_at == NOW
    assert len(streamed(redis, settings)) == 2


def test_a_broken_import_goes_on_with_the_shift_and_the_clock_of_its_start(
    run: Imports, redis: Redis, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "BATCH", 7)
    rows = [f"{100 + number},v{number % 11},e" for number in range(100)]
    rows[50] = f"{NOW + 500},v50,e"
    run(csv(*rows), shift=True, lines=40)
    stored = len(streamed(redis, settings))
    assert 0 < stored < 99
    job, head = run(csv(*rows), shift=True, now=NOW + 1000)
    assert [event.event_time for event in streamed(redis, settings)] == [
        NOW - 99 + number for number in range(100) if number != 50
    ]
    assert job.counts == {"earlier": stored, "accepted": 99 - stored, "refused": 1}
    assert head.end_at == NOW


def test_an_import_that_began_with_true_times_is_not_shifted_half_way(run: Imports, redis: Redis) -> None:
    redis.hset(keys.IMPORTS, "x", "")
    text = csv("100,v,e")
    run(text, lines=1)
    (ledger,) = (field for field in redis.hkeys(keys.IMPORTS) if field != b"x")
    redis.hset(keys.IMPORTS, ledger, json.dumps({"started_at": NOW, "attested": "x"}))
    with pytest.raises(BadSetup, match="leave --shift-end-to out"):
        run(text, shift=True)


def test_a_file_of_which_nothing_was_stored_may_come_again(
    run: Imports, redis: Redis, settings: Settings
) -> None:
    text = csv("100,v,e,denied", more=",consent")
    run(text)
    assert not redis.exists(keys.IMPORTS)
    job, head = run(text)
    assert head.lines == 2
    assert job.reasons == {"consent_denied": 1}


def test_many_refusals_are_counted_and_the_first_listed(run: Imports) -> None:
    job, _ = run(csv(*["soon,v,e"] * 50, "1,v,e"))
    assert [refusal.line for refusal in job.refusals] == list(range(2, 22))
    assert job.reasons == {"bad_time": 50}


def test_waiting_asks_for_a_flush_and_ends_when_both_cursors_are_past(
    run: Imports, redis: Redis, settings: Settings
) -> None:
    redis.zadd(keys.WORKERS, {"w": redis.time()[0] * 1000})
    job, head = run(csv(*(f"{number},v{number},e" for number in range(1, 100))))
    shares = job.settle(head)
    assert next(shares) == 0
    assert next(shares) == 0
    for number, reached in enumerate(head.reached):
        assert redis.hget(keys.state(number), "flush_to") == reached.encode()
        redis.hset(keys.state(number), "cursor", reached)
    assert next(shares) == 0
    for number, reached in enumerate(head.reached):
        redis.hset(keys.state(number), "archived", reached)
    assert list(shares) == [1]


def test_waiting_without_a_worker_says_so(run: Imports, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "HEARTBEAT", 0.2)
    job, head = run(csv("100,v,e"))
    with pytest.raises(NoWorker):
        list(job.settle(head))


@contextmanager
def limited(redis: Redis, maxmemory: int) -> Iterator[None]:
    before = redis.config_get("maxmemory")
    redis.config_set("maxmemory", maxmemory)
    try:
        yield
    finally:
        redis.config_set(*before, *before.values())


def test_an_import_waits_while_redis_is_full_and_ends_when_nobody_drains_it(
    run: Imports, redis: Redis, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "HEARTBEAT", 0.2)
    monkeypatch.setattr(importing, "LOOK", 0.1)
    open_installation(redis, settings)
    with limited(redis, redis.info("memory")["used_memory"]), pytest.raises(NoWorker):
        run(csv("100,v,e"))
    assert streamed(redis, settings) == []
    run(csv("100,v,e"))
    assert len(streamed(redis, settings)) == 1


def test_what_drains_a_full_redis_can_start(redis: Redis, settings: Settings) -> None:
    first = open_installation(redis, settings)
    with limited(redis, 1):
        assert open_installation(redis, settings) == first
