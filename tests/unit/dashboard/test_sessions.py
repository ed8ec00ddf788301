"""Who is signed in stays so while working, and no longer; links work once; guessing gets slow."""

import threading
from concurrent.futures import ThreadPoolExecutor, as_completed
from unittest.mock import Mock

import pytest
from argon2 import PasswordHasher

from collector import keys
from collector.connections import Redis
from collector.dashboard import links
from collector.dashboard.links import Link
from collector.dashboard.people import AT_ONCE, WAITING, Busy, People, Taken
from collector.dashboard.sessions import Sessions
from collector.dashboard.tries import FREE, LONGEST, Tries
from collector.settings import Settings

IDLE, LONGEST_SESSION = 3_600, 10_000
CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)  # these tests are not about its cost


class Clock:
    def __init__(self) -> None:
        self.now = 1_763_750_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sessions(redis: Redis, settings: Settings, clock: Clock) -> Sessions:
    chosen = settings.model_copy(update={"session_idle_seconds": IDLE, "session_seconds": LONGEST_SESSION})
    return Sessions(redis, chosen, clock)


@pytest.fixture
def people(redis: Redis, clock: Clock) -> People:
    return People(redis, clock, CHEAP)


def test_a_session_rests_for_so_long_and_no_longer(sessions: Sessions, clock: Clock) -> None:
    token = sessions.begin(login="anna")
    clock.now += IDLE - 1
    found = sessions.find(token)
    assert found is not None and found.login == "anna"
    clock.now += IDLE - 1  # it counted as used
    assert sessions.find(token) is not None
    clock.now += IDLE
    assert sessions.find(token) is None


def test_a_session_ends_however_busy_it_is(sessions: Sessions, clock: Clock) -> None:
    token, begun = sessions.begin(login="anna"), clock.now
    while clock.now < begun + LONGEST_SESSION - 500:
        assert sessions.find(token) is not None
        clock.now += 500
    clock.now = begun + LONGEST_SESSION
    assert sessions.find(token) is None


def test_redis_holds_no_token_and_forgets_by_itself(sessions: Sessions, redis: Redis) -> None:
    token = sessions.begin(login="anna")
    (key,) = redis.keys("*session*")
    assert token.encode() not in key and token.encode() not in redis.get(key)
    assert 0 < redis.ttl(key) <= IDLE
    sessions.end(token)
    assert sessions.find(token) is None
    assert sessions.find("") is None


def test_a_session_that_ended_meanwhile_is_not_brought_back(
    sessions: Sessions, clock: Clock, redis: Redis
) -> None:
    token = sessions.begin(login="anna")
    clock.now += 120
    found = sessions.find(token)
    assert found is not None
    sessions.end(token)
    sessions._keep(token, found, only_if_there=True)  # what a request that ran beside it would do
    assert sessions.find(token) is None


def test_a_link_works_once(redis: Redis) -> None:
    token = links.make(redis, Link(kind="invite", login="anna"), 60)
    assert links.look(redis, token) == links.look(redis, token) == Link(kind="invite", login="anna")
    assert links.use(redis, token) == Link(kind="invite", login="anna")
    assert links.use(redis, token) is None
    assert links.look(redis, token) is None


def test_guesses_wait_longer_and_longer_and_one_success_forgives(redis: Redis, clock: Clock) -> None:
    tries = Tries(redis, b"secret", clock)
    assert [tries.begin("anna") for _ in range(FREE)] == [0] * FREE
    waited = []
    for _ in range(10):
        wait = tries.begin("anna")
        waited.append(wait)
        clock.now += wait - 1
        assert tries.begin("anna") == 1  # a second too soon, and it makes nothing worse
        clock.now += 1
        assert tries.begin("anna") == 0
    assert waited == [2, 4, 8, 16, 32, 64, 128, 256, LONGEST, LONGEST]
    assert tries.begin("bertil") == 0
    tries.forgive("anna")
    assert tries.begin("anna") == 0
    assert all(b"anna" not in key for key in redis.keys("*"))


def test_only_the_password_lets_in(people: People, redis: Redis) -> None:
    people.add("Anna@Marl.example ", "Anna", "marketer", ["2612345678901"], "correct horse battery")
    found = people.check("anna@marl.example", "correct horse battery")
    assert found is not None and found.name == "Anna" and found.signed_in_at
    assert people.check("anna@marl.example", "Correct horse battery") is None
    assert people.check("bertil@marl.example", "correct horse battery") is None
    assert b"correct horse" not in redis.hget(keys.PEOPLE, "anna@marl.example")
    with pytest.raises(Taken):
        people.add("ANNA@marl.example", "another", "admin", None)


def test_who_has_not_chosen_a_password_cannot_sign_in(people: People) -> None:
    people.add("anna", "Anna", "viewer", None)
    assert people.check("anna", "") is None
    assert people.check("anna", "nobody's") is None  # what is compared with in its place


def test_a_new_password_is_a_new_generation(people: People) -> None:
    before = people.add("anna", "Anna", "viewer", None, "correct horse battery")
    after = people.set_password("anna", "another one altogether")
    assert after is not None and after.generation > before.generation
    assert people.check("anna", "correct horse battery") is None
    assert people.set_password("nobody", "another one altogether") is None
    assert people.remove("anna") and not people.any()


def test_a_flood_of_guesses_takes_only_some_of_the_threads(redis: Redis, clock: Clock) -> None:
    looked = threading.Event()
    slow = Mock(wraps=CHEAP)
    slow.verify.side_effect = lambda *given: looked.wait(20) and CHEAP.verify(*given)
    people, most = People(redis, clock, slow), AT_ONCE + WAITING
    people.add("anna", "Anna", "viewer", None, "a long password")

    def guess(number: int) -> object:
        with people.place():
            return people.check(f"guessed{number}", "a guess")

    with ThreadPoolExecutor(most + 1) as threads:
        tries = [threads.submit(guess, number) for number in range(most + 1)]
        refused = next(as_completed(tries, timeout=10))
        assert isinstance(refused.exception(), Busy), "and nobody had to wait for it"
        looked.set()
    assert [tried.result() for tried in tries if tried is not refused] == [None] * most
    assert people.check("anna", "a long password")
