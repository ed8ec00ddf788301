"""The simulated shoppers behave like shoppers, so that the audiences of the first minute mean something."""

from collections import Counter
from random import Random

import pytest

from collector.demo import shoppers
from collector.demo.shoppers import CONSENTS, WITHDRAW, Act, Shopper


def visits(seed: int, number: int) -> list[tuple[Shopper, list[Act]]]:
    rng = Random(seed)
    people = [shoppers.meet(rng) for _ in range(number // 2)]
    return [(person, list(shoppers.visit(person, rng))) for person in people * 2]


def named(acts: list[Act], event: str) -> list[Act]:
    return [act for act in acts if act.event == event]


@pytest.mark.parametrize("seed", range(3))
def test_carts_are_filled_left_behind_and_come_back_for(seed: int) -> None:
    all_visits = visits(seed, 3000)
    first, second = all_visits[:1500], all_visits[1500:]
    carted = sum(bool(named(acts, "addtocart")) for _, acts in first)
    bought = sum(bool(named(acts, "checkout")) for _, acts in first)
    assert 0.15 < carted / 1500 < 0.5
    assert 0.1 < bought / carted < 0.5  # most carts are left
    later = sum(bool(named(acts, "checkout")) and not named(acts, "addtocart") for _, acts in second)
    assert later > 0  # and some are bought on a visit that adds nothing


def test_an_order_is_worth_what_was_put_in_the_cart_since_the_last_one() -> None:
    checked = 0
    carts: Counter[int] = Counter()  # by person
    for person, acts in visits(7, 2000):
        for act in acts:
            if act.event == "addtocart":
                carts[id(person)] += act.data["value"]
            if act.event == "checkout":
                assert act.data["value"] == carts.pop(id(person)) > 0
                checked += 1
    assert checked > 50


def test_nobody_does_anything_after_withdrawing() -> None:
    ends = [acts for _, acts in visits(3, 4000) if named(acts, WITHDRAW)]
    assert ends
    assert all(acts[-1].event == WITHDRAW for acts in ends)


def test_a_refusal_has_no_consent_that_could_be_sent() -> None:
    people = [person for person, _ in visits(5, 2000)]
    kinds = Counter(person.choice for person in people)
    assert set(kinds) == {"accepts", "refuses", "partly", "gpc", "crawls"}
    assert 0.15 < kinds["refuses"] / len(people) < 0.35
    assert "refuses" not in CONSENTS


def test_only_full_consent_has_an_id_and_who_objects_later_keeps_it() -> None:
    rng = Random(1)
    people = [shoppers.meet(rng) for _ in range(1000)]
    assert {person.choice for person in people if person.visitor} == {"accepts", "crawls"}
    assert all(person.visitor for person in people if person.choice == "accepts")
    back = [shoppers.welcome_back(person, rng) for person in people]
    assert any(person.choice == "gpc" and person.visitor for person in back)
