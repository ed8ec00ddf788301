from collections import Counter

import pytest

from collector import keys
from collector.connections import Redis
from collector.settings import BadSetup, Settings
from collector.stream.partitions import open_installation
from tests.unit.parts import OTHER_TAG, TAG, ordinals


def test_the_first_start_decides_for_good(redis: Redis, settings: Settings) -> None:
    first = open_installation(redis, settings)
    assert open_installation(redis, settings) == first
    assert (first.partitions, len(first.secret)) == (settings.partitions, 32)


def test_another_number_of_partitions_is_refused_with_the_mend(redis: Redis, settings: Settings) -> None:
    open_installation(redis, settings)
    with pytest.raises(BadSetup, match=r"collector rebuild --partitions 4"):
        open_installation(redis, settings.model_copy(update={"partitions": 4}))


def test_data_of_another_schema_is_refused(redis: Redis, settings: Settings) -> None:
    open_installation(redis, settings)
    for schema, mend in ("1", "collector rebuild"), ("3", "run the version that wrote it"):
        redis.hset(keys.INSTALLATION, "schema", schema)
        with pytest.raises(BadSetup, match=f"schema {schema}, this version reads 2. Mend: .*{mend}"):
            open_installation(redis, settings)


def test_visitors_spread_evenly_and_each_tag_in_its_own_way(redis: Redis, settings: Settings) -> None:
    installation = open_installation(redis, settings)
    visitors = ordinals(16_000)
    here = [installation.partition(TAG, visitor) for visitor in visitors]
    there = [installation.partition(OTHER_TAG, visitor) for visitor in visitors]
    assert set(here) == set(range(16))
    assert all(800 < count < 1_200 for count in Counter(here).values())
    assert sum(one == other for one, other in zip(here, there, strict=True)) < 2_000
