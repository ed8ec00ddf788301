"""Visitor: one person is one id however a shop writes them, and strangers never are."""

from hashlib import sha256

import pytest

from collector.event import visitor_key, visitor_text
from collector.ingest import visitor
from collector.outcomes import Refused

SECRET = b"s" * 32


def digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    "written",
    ["jane@shop.example", " Jane@Shop.Example\n", digest("jane@shop.example"), ["JANE@shop.example"]],
)
def test_an_address_is_one_hash_however_it_is_written(written: object) -> None:
    assert visitor.identities({"em": written}) == {"em": digest("jane@shop.example")}


@pytest.mark.parametrize("written", ["+49 (30) 123-4567", "0049301234567", "49301234567", 49301234567])
def test_a_number_is_one_hash_however_it_is_written(written: object) -> None:
    assert visitor.identities({"ph": written}) == {"ph": digest("49301234567")}


@pytest.mark.parametrize(
    "nobody", ["", " ", "undefined", "null", "@", "a@", "@b", digest(""), None, [], {}, True, 1.5]
)
def test_what_is_nobody_s_makes_no_identity(nobody: object) -> None:
    assert (
        visitor.identities({"em": nobody, "maid": "00000000-0000-0000-0000-000000000000", "ph": "123"}) == {}
    )


def test_only_known_identities_are_kept_and_an_advertising_id_as_it_came() -> None:
    given = {
        "maid": "AbC-1",
        "external_id": 7,
        "client_ip_address": "192.0.2.1",
        "client_user_agent": "x",
        "fn": "Jane",
    }
    assert visitor.identities(given) == {"maid": "AbC-1", "external_id": digest("7")}


def test_a_derived_id_is_the_same_for_plain_and_hashed_and_differs_in_every_other_way() -> None:
    def of(tag: str = "1", secret: bytes = SECRET, **user_data: object) -> str:
        return visitor.of_server(None, visitor.identities(user_data), tag, secret)

    assert (
        of(external_id="C7") == of(external_id=digest("C7")) == of(external_id="C7", em="jane@shop.example")
    )
    assert of(em="jane@shop.example") == of(em=" JANE@shop.example")
    different = [
        of(external_id="C7"),
        of(em="jane@shop.example"),
        of("2", external_id="C7"),
        of(secret=b"t", external_id="C7"),
    ]
    assert len(set(different)) == 4
    for derived in different:
        assert visitor_key(derived)[:1] == b"h" and visitor_text(visitor_key(derived)) == derived


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("x" * 65, "bad_visitor"),
        ("é" * 33, "bad_visitor"),
        ("a\0", "bad_visitor"),
        ([], "bad_visitor"),
        ("", "no_visitor"),
        (None, "no_visitor"),
    ],
)
def test_a_server_s_id_that_cannot_be_one(given: object, reason: str) -> None:
    with pytest.raises(Refused) as refused:
        visitor.of_server(given, {}, "1", SECRET)
    assert refused.value.reason == reason


def test_a_server_s_own_id_wins_and_has_64_bytes_of_room() -> None:
    for own in ("x" * 64, "é" * 32, "7", "0" * 32):
        assert visitor.of_server(own, {"em": "0" * 64}, "1", SECRET) == own
    assert visitor.of_server(7, {}, "1", SECRET) == "7"


def test_minted_ids_are_browser_ids_and_never_twice_the_same() -> None:
    minted = {visitor.mint() for _ in range(1_000)}
    assert len(minted) == 1_000
    assert {visitor_key(each)[:1] for each in minted} == {b"w"}
