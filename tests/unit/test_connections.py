import pytest

from collector.connections import fullest, open_async, open_redis, several
from collector.settings import BadSetup, Settings


def test_the_url_of_one_server_is_left_alone() -> None:
    assert several("redis://:secret@host:6379/3") is None
    assert several("unix:///run/redis.sock") is None


def test_a_clusters_url_names_its_nodes() -> None:
    found = several("rediss+cluster://who:p%40ss@one:7000,two,[::1]:7002?ssl_ca_certs=/ca.pem")
    assert found is not None
    assert found.hosts == [("one", 7000), ("two", 6379), ("::1", 7002)]
    assert found.base == "rediss://who:p%40ss@one:7000/?ssl_ca_certs=/ca.pem"


def test_a_sentinels_url_names_the_primary_and_its_database() -> None:
    found = several("redis+sentinel://one,two:26380/events/2")
    assert found is not None
    assert (found.hosts, found.name) == ([("one", 26379), ("two", 26380)], "events")
    assert found.base == "redis://one:26379/2"


@pytest.mark.parametrize(
    "url",
    [
        "redis+cluster://",
        "redis+cluster://one,,two",
        "redis+cluster://one:port",
        "redis+cluster://one/3",
        "redis+sentinel://one:26379",
        "redis+sentinel:///events",
    ],
)
def test_a_url_that_cannot_work_is_refused_with_the_mend(url: str) -> None:
    with pytest.raises(BadSetup, match="Mend: "):
        several(url)


def test_the_server_nearest_to_its_limit_counts() -> None:
    roomy = {"used_memory": 800, "maxmemory": 10_000}
    tight = {"used_memory": 90, "maxmemory": 100}
    boundless = {"used_memory": 5_000, "maxmemory": 0}
    assert fullest([roomy, tight, boundless]) is tight
    assert fullest([boundless, {**boundless, "used_memory": 1}]) is boundless


@pytest.mark.parametrize(
    "url",
    [
        "redis://one?ssl_ca_certs=/ca.pem",
        "rediss://one?ssl_ca_cert=/ca.pem",
        "redis+cluster://one?cluster=yes",
        "redis+cluster://one?socket_timeout=long",
        "redis+sentinel://one/events?sentinel=yes",
        "redis://one?sentinel_username=anna",
        *("redis://one?protocol=3", "redis://one?protocol=4"),
        "rediss://one?ssl_cert_reqs=no",
        "redis://one?decode_responses=true",
    ],
)
def test_an_option_that_cannot_be_used_is_refused(url: str) -> None:
    with pytest.raises(BadSetup, match=r"option .+ Mend: "):
        open_redis(Settings(redis_url=url))


@pytest.mark.parametrize(
    "url",
    [
        "rediss://one?ssl_ca_certs=/ca.pem",
        "unix:///one",
        "redis://one?max_connections=9&protocol=2",
        "rediss+sentinel://one/events?ssl_ca_certs=/ca.pem&socket_timeout=9",
    ],
)
def test_the_options_that_there_are_are_taken(url: str) -> None:
    open_redis(Settings(redis_url=url)).close()
    open_async(Settings(redis_url=url), timeout=1)


def test_an_option_of_the_url_wins_for_one_server_and_for_the_primary_of_sentinels() -> None:
    for url in ("redis://one?socket_timeout=9", "redis+sentinel://one/events?socket_timeout=9"):
        with open_redis(Settings(redis_url=url)) as client:
            assert client.connection_pool.connection_kwargs["socket_timeout"] == 9
