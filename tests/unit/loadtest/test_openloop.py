"""A server that stalls is told as slow for every request that was due meanwhile, not only for the one that waited."""

import contextlib
import json
import selectors
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from loadtest.openloop import Shoppers, run, share, tell

STALL = 0.5  # seconds
RATE = 200.0  # requests a second
ANSWER = b'{"results":[{"event_id":"1","outcome":"accepted"}]}'


@pytest.fixture
def stalling() -> Iterator[tuple[str, int]]:
    """A server of one thread that answers each request at once, but sleeps once."""
    listening, stop = socket.create_server(("127.0.0.1", 0), backlog=1_000), threading.Event()
    host, port = listening.getsockname()
    thread = threading.Thread(target=_serve, args=(listening, stop))
    thread.start()
    yield host, port
    stop.set()
    thread.join()


def _serve(listening: socket.socket, stop: threading.Event) -> None:
    answered = 0
    with contextlib.ExitStack() as opened, selectors.DefaultSelector() as waiting:
        waiting.register(opened.enter_context(listening), selectors.EVENT_READ)
        while not stop.is_set():
            for key, _ in waiting.select(0.05):
                connection = key.fileobj
                assert isinstance(connection, socket.socket)
                if connection is listening:
                    waiting.register(opened.enter_context(listening.accept()[0]), selectors.EVENT_READ)
                elif connection.recv(65_536):
                    answered += 1
                    time.sleep(STALL if answered == 20 else 0)
                    connection.sendall(
                        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(ANSWER), ANSWER)
                    )
                else:
                    waiting.unregister(connection)


def test_a_stall_counts_for_all_that_was_due_in_it(stalling: tuple[str, int]) -> None:
    few = 4  # so that most cannot even be sent
    answers = list(run(stalling, Shoppers("x", "1", 1, 100), RATE, 2.0, few))
    waited = [answer.took for answer in answers if answer.took > 1000 * STALL / 5]
    # Arrivals are random: 80 are expected in the four fifths of the stall that the bound leaves, and 40 is 4.5 σ away.
    assert len(waited) > 40, "a closed loop would have seen one"
    assert max(waited) < 1000 * STALL + 500


def test_the_rate_is_kept_and_every_answer_is_counted(stalling: tuple[str, int]) -> None:
    shoppers = Shoppers("x", "1", 1, 10)
    told = tell(run(stalling, shoppers, RATE, 2.0), RATE, 2.0, 1.0, shoppers)
    assert 300 < told.answered < 500  # 400 ± 5 σ
    assert (told.accepted, told.errors, told.visitors) == (told.answered, 0, 10)
    assert sum(window.answered for window in told.windows) == told.answered
    assert len(told.windows) == 2


def test_every_event_has_an_id_of_its_own_and_a_length_that_is_true() -> None:
    shoppers = Shoppers("collect.example", "2612345678901", 10, 1_000)
    ids = []
    for _ in range(20):
        head, _, body = shoppers.request().partition(b"\r\n\r\n")
        assert f"content-length: {len(body)}" in head.decode().lower()
        parsed = json.loads(body)
        assert len(parsed["visitor"]) == 32
        ids += [event["event_id"] for event in parsed["events"]]
    assert len(set(ids)) == 200


def test_a_share_is_the_value_that_so_many_stay_below() -> None:
    assert share([float(n) for n in range(1, 101)], 0.5) == 51
    assert share([float(n) for n in range(1, 101)], 0.99) == 100
    assert share([], 0.5) == 0
