import pytest

from collector.audience.registry import GRACE, NotFound, Registry, TooMuch
from collector.audience.rules import RuleError
from collector.connections import Redis
from collector.settings import Settings
from collector.worker import backfill
from tests.unit.parts import NOW, OTHER_TAG, TAG, Parts, happened, ordinals

CART, BUY = {"event": "addtocart"}, {"event": "checkout"}


def status(parts: Parts, audience: object) -> str:
    (standing,) = parts.registry.standings([audience])  # type: ignore[list-item]
    assert bool(standing.reason) == bool(standing.mend) == (standing.status != "READY")
    return standing.status


def test_an_audience_is_kept_as_it_was_written(redis: Redis, settings: Settings) -> None:
    parts = Parts(redis, settings)
    rule = {"event": "Add_To_Cart", "event_data": {"value": "12.50"}, "exclude": [BUY]}
    made = parts.registry.create(TAG, "Carts", "of shoes", rule)
    found = parts.registry.get(made.id)
    assert found == made
    assert (found.tag, found.name, found.created_at, found.updated_at) == (TAG, "Carts", NOW, NOW)
    assert found.parsed().written == made.parsed().written


def test_audiences_are_listed_by_tag_oldest_first(redis: Redis, settings: Settings) -> None:
    parts = Parts(redis, settings)
    made = []
    for tag in (TAG, OTHER_TAG, TAG):
        made.append(parts.registry.create(tag, "", "", CART))
        parts.now += 1
    assert parts.registry.all() == made
    assert parts.registry.all(TAG) == [made[0], made[2]]


def test_an_audience_without_past_traffic_is_ready_at_once(redis: Redis, settings: Settings) -> None:
    parts = Parts(redis, settings, partitions=2)
    audience = parts.registry.create(TAG, "", "", CART)
    parts.fill()
    assert status(parts, audience) == "READY"


def test_an_audience_is_ready_when_past_and_waiting_events_are_in(redis: Redis, settings: Settings) -> None:
    parts = Parts(redis, settings, partitions=2)
    parts.send(*(happened(visitor) for visitor in ordinals(20)))
    parts.apply()
    parts.send(*(happened(visitor) for visitor in ordinals(30)))
    audience = parts.registry.create(TAG, "", "", CART)
    assert status(parts, audience) == "INITIALIZING"
    parts.flush()
    parts.fill()
    assert status(parts, audience) == "INITIALIZING"  # the columns are filled, but events wait
    parts.apply()
    assert status(parts, audience) == "READY"
    assert parts.sizes.size(TAG, audience.question(NOW)) == 30
    parts.send(happened("late"))  # waits, but came after the creation
    assert status(parts, audience) == "READY"


def test_progress_grows_to_one(redis: Redis, settings: Settings) -> None:
    parts = Parts(redis, settings, partitions=4)
    parts.send(*(happened(visitor) for visitor in ordinals(40)))
    parts.apply()
    parts.flush()
    audience = parts.registry.create(TAG, "", "", {"any": [CART, BUY]})
    seen = [parts.registry.standings([audience])[0].progress]
    for number in range(4):
        backfill.fill(parts.columns(number), parts.writer(number), 0)
        seen.append(parts.registry.standings([audience])[0].progress)
    assert seen == [0, 0.25, 0.5, 0.75, 1]


def test_an_edit_keeps_the_creation_and_what_is_shared_needs_no_past(
    redis: Redis, settings: Settings
) -> None:
    parts = Parts(redis, settings)
    parts.send(happened("anna", age=100), happened("bert", "checkout", age=100))
    parts.apply()
    audience = parts.registry.create(TAG, "first", "", CART)
    parts.work()
    parts.now += 50
    renamed = parts.registry.edit(audience, name="second", description=None, rule=None)
    assert (renamed.name, renamed.created_at, renamed.updated_at) == ("second", NOW, NOW + 50)
    narrowed = parts.registry.edit(renamed, name=None, description=None, rule={**CART, "retention_days": 1})
    assert status(parts, narrowed) == "READY"
    edited = parts.registry.edit(narrowed, name=None, description="buyers", rule=BUY)
    assert status(parts, edited) == "INITIALIZING"
    parts.work()
    assert status(parts, edited) == "READY"
    assert (edited.created_at, parts.registry.get(edited.id)) == (NOW, edited)
    assert parts.sizes.size(TAG, edited.question(parts.now)) == 1


def test_who_edits_what_another_edited_or_deleted_meanwhile_undoes_neither(
    redis: Redis, settings: Settings
) -> None:
    parts = Parts(redis, settings)
    read = parts.registry.create(TAG, "first", "", CART)
    parts.registry.edit(read, name="second", description=None, rule=None)
    edited = parts.registry.edit(read, name=None, description="buyers", rule=BUY)
    assert parts.registry.get(read.id) == edited
    assert (edited.name, edited.description, bytes(edited.rule)) == ("second", "buyers", b'{"event":"checkout"}')
    assert [edit.changed for edit in parts.registry.edits(read)] == [["name"], ["description", "rule"]]
    parts.registry.delete(read)
    with pytest.raises(NotFound):
        parts.registry.edit(read, name="back again", description=None, rule=None)
    assert parts.registry.all() == []


def test_without_past_nothing_before_the_creation_counts_after_an_edit_either(
    redis: Redis, settings: Settings
) -> None:
    parts = Parts(redis, settings)
    parts.send(happened("anna", "checkout", age=1))
    parts.apply()
    audience = parts.registry.create(TAG, "", "", {**CART, "prefill": False})
    parts.send(happened("bert", "checkout", now=NOW + 10))
    parts.apply()
    parts.now += 20
    edited = parts.registry.edit(audience, name=None, description=None, rule={**BUY, "prefill": False})
    parts.work()
    assert status(parts, edited) == "READY"
    assert parts.sizes.size(TAG, edited.question(parts.now)) == 1
    with_past = parts.registry.edit(edited, name=None, description=None, rule=BUY)
    parts.work()
    assert parts.sizes.size(TAG, with_past.question(parts.now)) == 2


def test_what_is_deleted_is_gone_at_once_and_after_the_grace_with_all_it_had(
    redis: Redis, settings: Settings
) -> None:
    parts = Parts(redis, settings)
    audience = parts.registry.create(TAG, "", "", CART)
    parts.registry.record(audience, 5)
    parts.registry.edit(audience, name="another", description=None, rule=None)
    parts.registry.delete(audience)
    with pytest.raises(NotFound):
        parts.registry.get(audience.id)
    assert parts.registry.all() == []
    parts.now += GRACE + 1
    parts.registry.drop_unused_leaves()
    with pytest.raises(NotFound):
        parts.registry.deleted(audience.id)
    assert parts.registry.history(audience) == []
    assert parts.registry.edits(audience) == []
    assert not parts.columns().load().tags[TAG].leaves


def test_within_the_grace_a_deleted_audience_comes_back_ready_with_its_history(
    redis: Redis, settings: Settings
) -> None:
    parts = Parts(redis, settings)
    parts.send(happened("anna"))
    parts.apply()
    audience = parts.registry.create(TAG, "Carts", "", CART)
    parts.work()
    parts.registry.record(audience, 1)
    parts.now += 10 * GRACE  # so that its leaf was not touched for long
    parts.registry.delete(audience)
    parts.now += GRACE
    parts.registry.drop_unused_leaves()
    back = parts.registry.restore(parts.registry.deleted(audience.id))
    assert parts.registry.get(audience.id) == back
    assert (back.name, back.created_at, status(parts, back)) == ("Carts", NOW, "READY")
    assert parts.registry.history(back) == [(NOW, 1)]
    with pytest.raises(NotFound):
        parts.registry.deleted(audience.id)


def test_edits_tell_what_was_before(redis: Redis, settings: Settings) -> None:
    parts = Parts(redis, settings)
    first = parts.registry.create(TAG, "first", "", CART)
    parts.now += 5
    second = parts.registry.edit(first, name="second", description=None, rule=BUY)
    parts.registry.edit(second, name="second", description="", rule=None)  # which changes nothing
    (edit,) = parts.registry.edits(second)
    assert (edit.at, edit.changed, edit.name) == (NOW + 5, ["name", "rule"], "first")
    assert bytes(edit.rule) == bytes(first.rule)


def test_a_rule_that_cannot_be_taken_leaves_nothing(redis: Redis, settings: Settings) -> None:
    parts = Parts(redis, settings)
    with pytest.raises(RuleError):
        parts.registry.create(TAG, "", "", {"exclude": [BUY]})
    assert parts.registry.all() == []
    assert parts.columns().load().tags == {}


def test_columns_that_would_not_fit_are_refused_with_the_numbers(redis: Redis, settings: Settings) -> None:
    parts = Parts(redis, settings)
    parts.send(*(happened(visitor) for visitor in ordinals(100)))
    parts.apply()
    small = parts.settings.model_copy(update={"max_column_bytes": 4 * 100 * 3})  # seen, and two more
    registry = Registry(redis, parts.installation, small, parts.clock)
    registry.create(TAG, "", "", CART)
    with pytest.raises(TooMuch, match=r"800 bytes beside 800.*COLLECTOR_MAX_COLUMN_BYTES allows 1,200"):
        registry.create(TAG, "", "", {**BUY, "min_count": 2})
    registry.create(TAG, "", "", {**CART, "retention_days": 3})  # shares its column
    registry.create(TAG, "", "", BUY)
    assert len(parts.columns().load().tags[TAG].leaves) == 2
