"""A rule survives the builder: JSON → fields → JSON, and what is wrong is told at its field."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.audience import rules
from collector.dashboard import draft
from collector.dashboard.draft import Draft
from collector.dashboard.pages.builder import CASES, Case

TEXT = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=8)
SPACED = st.builds(" ".join, st.lists(TEXT, min_size=1, max_size=3)).filter(
    lambda text: text != draft.NOTHING
)
NUMBER = st.integers(-999, 999) | st.sampled_from([0.5, 49.9])
VALUE = SPACED | NUMBER
EVENT = st.sampled_from(["addtocart", "checkout", "my event", "a,b", "sök"])
CONDITION = st.fixed_dictionaries(
    {},
    optional={
        "event": EVENT | st.lists(EVENT, min_size=1, max_size=3, unique=True),
        "url": SPACED
        | st.dictionaries(
            st.sampled_from(["=", "!=", "contains", "not_contains", "starts_with"]), SPACED, min_size=1
        ),
        "event_data": st.dictionaries(
            SPACED,
            VALUE
            | st.fixed_dictionaries(
                {"=": VALUE},
                optional={
                    "!=": VALUE,
                    "in": st.lists(VALUE, min_size=1, max_size=3),
                    ">": NUMBER,
                    "<=": NUMBER,
                    "contains": SPACED,
                },
            ),
            min_size=1,
            max_size=3,
        ),
        "event_source": st.sampled_from(["web", "server", "import"]),
        "min_count": st.integers(1, 20),
        "retention_days": st.integers(1, 540),
    },
)
EXCLUDED = st.builds(
    lambda one, since: {**one, **({"since": "match"} if since else {})}, CONDITION, st.booleans()
)
RULE = st.builds(
    lambda main, lists: {"retention_days": 30, **main, **lists},
    CONDITION,
    st.fixed_dictionaries(
        {},
        optional={
            "all": st.lists(CONDITION, max_size=2),
            "any": st.lists(CONDITION, max_size=2),
            "exclude": st.lists(EXCLUDED, max_size=2),
            "prefill": st.booleans(),
        },
    ),
)


def sent(made: Draft) -> dict[str, str]:
    """What a browser sends of the builder's fields; written out here, as the template does."""
    fields = {"prefill": "yes" if made.prefill else "no"}
    for number, clause in enumerate(made.clauses):
        at = f"c.{number}."
        fields |= {at + "role": clause.role, at + "event": clause.event, at + "source": clause.source}
        fields |= {at + "least": clause.least, at + "days": clause.days}
        if clause.since:
            fields[at + "since"] = "match"
        for part in draft.PARTS:
            for place, test in enumerate(clause.tests(part)):
                of = f"{at}{part}.{place}."
                fields |= {of + "key": test.key, of + "op": test.operator, of + "text": test.text}
    return fields


@given(RULE)
def test_a_rule_comes_back_from_the_fields_with_the_same_meaning(rule: dict[str, Any]) -> None:
    meant = rules.parse(rule)
    back, wrong = draft.of_fields(sent(draft.of_rule(rule))).rule()
    assert wrong == []
    assert rules.parse(back) == meant


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_case_excludes_who_did_it_since_or_within_days_of_its_own_and_the_sentence_keeps_it(case: Case) -> None:
    for excluded in case.rule.get("exclude", []):
        assert excluded.get("since") == "match" or "retention_days" in excluded
    assert draft.of_fields(sent(draft.of_rule(case.rule))).rule() == (case.rule, [])


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"c.0.role": "main", "c.0.days": "541"}, "c.0.days"),
        ({"c.0.role": "main", "c.0.days": ""}, "c.0.days"),
        ({"c.0.role": "main", "c.0.days": "3", "c.0.least": "many"}, "c.0.least"),
        ({"c.0.role": "all", "c.0.url.0.op": "matches", "c.0.url.0.text": "("}, "c.0.url.0.text"),
        ({"c.0.role": "all", "c.0.url.0.op": "contains", "c.0.url.0.text": ""}, "c.0.url.0.text"),
        ({"c.0.role": "all", "c.0.data.0.op": "=", "c.0.data.0.text": "1"}, "c.0.data.0.key"),
        (
            {"c.0.role": "all", "c.0.data.0.key": "a.b", "c.0.data.0.op": ">", "c.0.data.0.text": "x"},
            "c.0.data.0.text",
        ),
        ({"c.0.role": "any", "c.1.role": "exclude", "c.1.since": "match"}, "c.1.since"),
        ({"c.0.role": "exclude", "c.0.event": "x"}, "rule"),
    ],
)
def test_what_is_wrong_is_told_at_its_field(fields: dict[str, str], field: str) -> None:
    _, wrong = draft.of_fields(fields).rule()
    assert [each.field for each in wrong] == [field]


def test_clauses_and_tests_come_and_go_in_the_order_of_the_sentence() -> None:
    made = Draft(()).changed("add.exclude").changed("add.main").changed("add.any").changed("add.all")
    assert [clause.role for clause in made.clauses] == ["main", "all", "any", "exclude"]
    assert made.fresh("add.any") == "c.2.event"
    more = made.changed("add.data.3").changed("add.url.3").changed("add.url.3")
    assert (len(more.clauses[3].data), len(more.clauses[3].url)) == (1, 2)
    assert more.fresh("add.url.3") == "c.3.url.1.text"
    assert more.changed("drop.url.3.0").changed("drop.url.3.0").changed("drop.data.3.0") == made
    assert [clause.role for clause in made.changed("drop.0").clauses] == ["all", "any", "exclude"]
    for nonsense in ("drop.9", "drop.x", "add.data.9", "drop.url.0.0", "", "add.nobody"):
        assert made.changed(nonsense) == made
