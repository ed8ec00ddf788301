"""Bulk reads give what redis-py gives, whatever the lengths; a failed one leaves no connection in its middle."""

import random
import socket
import threading
from collections.abc import Iterator

import pytest
import redis as redis_py
from redis.exceptions import ResponseError

from collector.audience import bulk
from collector.connections import Redis, Unavailable

LENGTHS = (
    0,
    1,
    2,
    100,
    bulk.SMALL - 1,
    bulk.SMALL,
    bulk.SMALL + 1,
    bulk.BUFFER - 2,
    bulk.BUFFER,
    261_888,
    3 << 20,
)


def filled(redis: Redis, seed: int) -> list[list[str]]:
    """Groups of names, of which some have a value."""
    chance = random.Random(seed)
    names = [f"k{number}" for number in range(chance.choice((3, 60)))]
    for name in names:
        if chance.random() < 0.8:
            redis.set(
                name,
                chance.randbytes(
                    chance.choice(LENGTHS) if chance.random() < 0.5 else chance.randrange(60_000)
                ),
            )
    groups = [[name for name in names if chance.random() < 0.5] for _ in range(chance.randrange(1, 5))]
    return [group for group in groups if group]


@pytest.mark.parametrize("seed", range(12))
def test_it_gives_what_the_library_gives(redis: Redis, seed: int) -> None:
    groups = filled(redis, seed)
    expected = [redis.mget(group) for group in groups]
    found = bulk.mget(redis, groups)
    assert [[None if each is None else bytes(each) for each in group.values] for group in found] == expected
    assert {group.lineage for group in found} <= {redis.info("replication")["master_replid"]}
    assert redis.ping()


def test_an_error_is_raised_and_the_next_question_is_answered(redis: Redis) -> None:
    redis.set("there", b"x" * 100_000)
    with pytest.raises(ResponseError):
        bulk.mget(redis, [["there"], []])  # MGET of nothing
    (group,) = bulk.mget(redis, [["there"]])
    assert group.values == [b"x" * 100_000]


@pytest.fixture
def half_answers() -> Iterator[int]:
    """The port of a server that begins an answer and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    line, _ = listener.accept()
                except OSError:
                    return
                with line:
                    while asked := line.recv(65_536):
                        if b"replication" in asked:
                            line.sendall(b"$0\r\n\r\n")
                        if b"MGET" in asked:
                            line.sendall(b"*1\r\n$100000\r\n" + b"x" * 50_000)
                            break
                        if b"CLIENT" in asked:
                            line.sendall(b"+OK\r\n" * asked.count(b"*"))

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_half_an_answer_is_none(half_answers: int) -> None:
    with (
        redis_py.Redis(port=half_answers, protocol=2, socket_timeout=5) as client,
        pytest.raises(Unavailable),
    ):
        bulk.mget(client, [["k"]])
