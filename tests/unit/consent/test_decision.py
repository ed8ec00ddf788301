"""Consent: the vectors row by row, and what must hold for every combination of signals."""

import json
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector import outcomes
from collector.consent import ConsentedEvent, Decision, Regime, Signals, decide
from collector.event import Event, encode

VECTORS: list[dict[str, Any]] = json.loads((Path(__file__).parents[2] / "vectors/consent.json").read_text())
REGIMES: tuple[Regime, ...] = ("opt_in", "opt_out")
STRICTNESS = ["full", "limited", "drop", "withdrawal"]

GRANTED = dict.fromkeys(("ad_storage", "ad_user_data", "ad_personalization"), "granted")


def signals(case: dict[str, Any]) -> Signals:
    headers = case.get("headers", {})
    return Signals(
        consent=case.get("consent"),
        sec_gpc=headers.get("sec-gpc", ""),
        dnt=headers.get("dnt", ""),
        opt_out=case.get("opt_out"),
        opt_out_type=case.get("opt_out_type"),
        withdraw=case.get("withdraw"),
        attested=case.get("attested", ""),
    )


def an_event(**overrides: Any) -> Event:
    return Event(
        **{
            "tag": "2612345678901",
            "visitor": "0" * 32,
            "event": "addtocart",
            "event_id": "e1",
            "event_time": 1_763_750_000,
            "received_at": 1_763_750_001_500,
            "data": {"value": 5},
            **overrides,
        }
    )


@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize("case", VECTORS, ids=[case["promise"] for case in VECTORS])
def test_vector(case: dict[str, Any], regime: Regime) -> None:
    decision = decide(
        signals(case),
        regime,
        now=case.get("now", 0),
        vendor=case.get("tcf_vendor_id", 0),
        dnt=case.get("honour_dnt", True),
    )
    assert {"verdict": decision.verdict, "reason": decision.refusal, "mark": decision.mark} == case["expect"][
        regime
    ]


anything = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 2),
    st.sampled_from(["", "granted", "denied", "true", "false", "1", "0"]),
    st.text(max_size=4),
    st.lists(st.just("granted"), max_size=1),
)
MEMBERS = (*GRANTED, "setconsent", "gdpr", "tcf", "gpp", "gpp_sid", "gpc", "dnt", "opt_out_type")
consents = st.one_of(anything, st.dictionaries(st.sampled_from(MEMBERS), anything))
some_signals = st.builds(
    Signals,
    consent=consents,
    sec_gpc=st.sampled_from(["", "0", "1", "true"]),
    dnt=st.sampled_from(["", "0", "1"]),
    opt_out=anything,
    opt_out_type=anything,
    withdraw=anything,
    attested=st.sampled_from(["", "a till"]),
)
regimes = st.sampled_from(REGIMES)


@given(some_signals, regimes, st.booleans())
def test_every_decision_is_one_that_the_outcomes_table_knows(
    signals: Signals, regime: Regime, dnt: bool
) -> None:
    decision = decide(signals, regime, dnt=dnt)
    if decision.verdict in ("drop", "withdrawal"):
        assert ("refused", decision.refusal) in outcomes.BY_REASON
        assert (decision.mark == "tombstone") == (decision.verdict == "withdrawal")
    else:
        assert ("accepted", decision.verdict) in outcomes.BY_REASON
        assert decision.refusal == "" and decision.mark in (
            ("",) if decision.verdict == "full" else ("", "bar")
        )


@given(some_signals, regimes)
def test_opt_in_gives_full_only_to_whoever_said_yes_in_exact_words(signals: Signals, regime: Regime) -> None:
    if decide(signals, "opt_in").verdict == "full":
        words = signals.consent if isinstance(signals.consent, dict) else {}
        assert (
            signals.attested
            or words.get("setconsent") is True
            or words.get("setconsent") == "true"
            or all(words.get(name) == "granted" for name in GRANTED)
        )


@given(
    some_signals,
    regimes,
    st.sampled_from(["gpc", "dnt", "ldp", "opt_out", "denied", "gdpr", "junk", "withdraw"]),
)
def test_one_more_signal_against_it_never_loosens_a_decision(
    signals: Signals, regime: Regime, added: str
) -> None:
    more = {
        "gpc": Signals(sec_gpc="1"),
        "dnt": Signals(dnt="1"),
        "ldp": Signals(opt_out_type="LDP"),
        "opt_out": Signals(opt_out=True),
        "denied": Signals(consent={"ad_storage": "denied"}),
        "gdpr": Signals(consent={"gdpr": True}),
        "junk": Signals(consent="granted"),
        "withdraw": Signals(withdraw=True),
    }[added]
    before, after = decide(signals, regime), decide(signals, regime, event=more)
    assert STRICTNESS.index(after.verdict) >= STRICTNESS.index(before.verdict)


@given(some_signals, some_signals, regimes)
def test_the_order_in_which_request_and_event_speak_does_not_matter(
    one: Signals, two: Signals, regime: Regime
) -> None:
    first, second = decide(one, regime, event=two), decide(two, regime, event=one)
    assert (first.verdict, first.mark) == (second.verdict, second.mark)


def test_the_strictest_of_two_words_wins_in_every_pairing() -> None:
    of_words = {"granted": "full", "limited": "limited", "denied": "drop"}
    said = {"granted": GRANTED, "limited": {"ad_storage": "granted"}, "denied": {"ad_storage": "denied"}}
    for one, two, regime in product(said, said, REGIMES):
        decision = decide(Signals(consent=said[one]), regime, event=Signals(consent=said[two]))
        assert decision.verdict == max(of_words[one], of_words[two], key=STRICTNESS.index)


def test_nobody_else_makes_a_consented_event() -> None:
    event, decision = an_event(), decide(Signals(consent=GRANTED), "opt_in")
    for forged in ((event, decision), (event, decision, None), (event, decision, object())):
        with pytest.raises(TypeError, match="only consent"):
            ConsentedEvent(*forged)


@pytest.mark.parametrize("consent", [GRANTED, {"ad_storage": "granted"}, {"setconsent": True, "note": 'ü"\\ \n'}])
@pytest.mark.parametrize("gpc", ["", "1"])
def test_what_is_streamed_is_written_as_if_it_were_one_struct(consent: dict[str, str], gpc: str) -> None:
    sealed = decide(Signals(consent=consent, sec_gpc=gpc), "opt_in").seal(an_event())
    whole = encode(sealed.event)
    assert json.loads(sealed.payload()) == json.loads(whole)
    assert len(sealed.payload()) == len(whole), "but for the order of its fields"


@pytest.mark.parametrize("consent", [{"ad_storage": "denied"}, {"setconsent": False}, "junk"])
def test_what_is_dropped_or_withdrawn_cannot_be_sealed(consent: object) -> None:
    with pytest.raises(ValueError, match="cannot be sealed"):
        decide(Signals(consent=consent), "opt_in").seal(an_event())


def test_a_sealed_event_is_the_event_with_its_verdict() -> None:
    event = an_event()
    sealed = decide(Signals(consent=GRANTED, sec_gpc="1"), "opt_in").seal(event).event
    assert {name: getattr(sealed, name) for name in Event.__struct_fields__} == {
        name: getattr(event, name) for name in Event.__struct_fields__
    }
    assert (sealed.verdict, sealed.mark, sealed.consent) == ("limited", "bar", "words,gpc")
    assert len(sealed.signals) == 16


def test_a_withdrawal_carries_nothing_but_who_and_when() -> None:
    event = an_event(url="https://shop.example/", user_data={"em": "0" * 64}, event_time=1)
    sealed = decide(Signals(withdraw=True), "opt_out").withdrawal(event).event
    assert (sealed.tag, sealed.visitor, sealed.event_time) == (event.tag, event.visitor, 1_763_750_001)
    assert (sealed.verdict, sealed.mark, sealed.event, sealed.event_id) == ("none", "tombstone", "", "")
    assert (sealed.data, sealed.url, sealed.user_data) == ({}, "", {})


def test_only_a_withdrawal_makes_a_tombstone() -> None:
    with pytest.raises(ValueError, match="no withdrawal"):
        decide(Signals(consent=GRANTED), "opt_in").withdrawal(an_event())


def test_evidence_differs_with_the_signals_and_repeats_with_them() -> None:
    def evidence(**given: Any) -> str:
        return decide(Signals(**given), "opt_out").digest

    assert evidence(consent=GRANTED) == evidence(consent=dict(GRANTED))
    assert len({evidence(), evidence(consent=GRANTED), evidence(consent=GRANTED, dnt="1")}) == 3


def test_long_signals_are_decided_like_short_ones() -> None:
    long = {"note": "x" * 10_000}
    for consent in (GRANTED, {"ad_storage": "denied"}):
        short, padded = (decide(Signals(consent=each), "opt_in") for each in (consent, {**consent, **long}))
        assert short._replace(digest="", end=b"") == padded._replace(digest="", end=b"")
        assert isinstance(padded, Decision)
