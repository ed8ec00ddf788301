"""Draft: a rule as the builder's fields, whole or half finished. Fields ↔ clauses ↔ the rule language. Pure."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args

from collector.audience import rules
from collector.audience.rules import DEFAULT_DAYS, Role, RuleError
from collector.dashboard.languages import msg
from collector.event import scalar

# In the order of the sentence, of the rule's windows, and of its funnel.
ROLES: tuple[Role, ...] = get_args(Role)
NOTHING = '""'  # how one writes the empty text as a value; an empty field is one that is not filled in yet
Part = Literal["url", "data"]
PARTS: tuple[Part, ...] = ("url", "data")


class Test(NamedTuple):
    """One «where»: key is "" for the address of the page."""

    key: str
    operator: str
    text: str


class Clause(NamedTuple):
    """A condition as its fields hold it: texts as typed, several events or values with commas between."""

    role: Role
    event: str = ""
    url: tuple[Test, ...] = ()
    data: tuple[Test, ...] = ()
    source: str = ""
    least: str = ""
    days: str = ""
    since: bool = False

    def tests(self, part: Part) -> tuple[Test, ...]:
        return self.url if part == "url" else self.data


class Wrong(NamedTuple):
    """What cannot be taken yet: the field's id, and why, with places for the values."""

    field: str
    text: str
    values: Mapping[str, object] = {}


class Draft(NamedTuple):
    """The clauses in the order of ROLES."""

    clauses: tuple[Clause, ...]
    prefill: bool = True

    def rule(self) -> tuple[dict[str, Any], list[Wrong]]:
        """(the rule in the rule language, what is wrong with it). Without anything wrong, rules.parse takes it."""
        rule: dict[str, Any] = {}
        wrong: list[Wrong] = []
        places = {"prefill": "prefill"}
        counts = dict.fromkeys(ROLES, 0)
        for number, clause in enumerate(self.clauses):
            at = "" if clause.role == "main" else f"{clause.role}[{counts[clause.role]}]."
            counts[clause.role] += 1
            writing = _Writing(f"c.{number}", at)
            condition = writing.condition(clause)
            wrong += writing.wrong
            places |= writing.places
            if clause.role == "main":
                rule |= condition
            else:
                rule.setdefault(clause.role, []).append(condition)
        if not self.prefill:
            rule["prefill"] = False
        if not wrong:
            try:
                rules.parse(rule)
            except RuleError as error:
                wrong.append(Wrong(places.get(error.field, "rule"), error.text, error.values))
        return rule, wrong

    def changed(self, act: str) -> "Draft":
        """With a clause or a test more or less: add.ROLE, drop.C, add.PART.C, drop.PART.C.T; else as it is."""
        match act.split("."):
            case ["add", role] if role in ROLES:
                more = Clause(role, days=str(DEFAULT_DAYS) if role == "main" else "")
                return self._replace(clauses=ordered([*self.clauses, more]))
            case ["drop", place] if _within(place, self.clauses):
                number = int(place)
                return self._replace(clauses=self.clauses[:number] + self.clauses[number + 1 :])
            case ["add", ("url" | "data") as part, place] if _within(place, self.clauses):
                first = Test("", "contains" if part == "url" else "=", "")
                return self._with(int(place), part, (*self.clauses[int(place)].tests(part), first))
            case ["drop", ("url" | "data") as part, place, which] if _within(place, self.clauses):
                tests = self.clauses[int(place)].tests(part)
                if _within(which, tests):
                    return self._with(int(place), part, tests[: int(which)] + tests[int(which) + 1 :])
        return self

    def fresh(self, act: str) -> str:
        """The id of the field that an act has added, to go on with; "" without."""
        match act.split("."):
            case ["add", role] if role in ROLES:
                last = max(
                    (place for place, clause in enumerate(self.clauses) if clause.role == role), default=0
                )
                return f"c.{last}.event"
            case ["add", "url", place] if _within(place, self.clauses):
                return f"c.{place}.url.{len(self.clauses[int(place)].url) - 1}.text"
            case ["add", "data", place] if _within(place, self.clauses):
                return f"c.{place}.data.{len(self.clauses[int(place)].data) - 1}.key"
        return ""

    def _with(self, place: int, part: Part, tests: tuple[Test, ...]) -> "Draft":
        clause = self.clauses[place]
        clause = clause._replace(url=tests) if part == "url" else clause._replace(data=tests)
        return self._replace(clauses=(*self.clauses[:place], clause, *self.clauses[place + 1 :]))


def of_fields(fields: Mapping[str, str]) -> Draft:
    """The draft of a form that was sent."""
    clauses = []
    number = 0
    while (role := fields.get(f"c.{number}.role")) is not None:
        at = f"c.{number}"
        if role in ROLES:
            clauses.append(
                Clause(
                    role,
                    event=fields.get(f"{at}.event", ""),
                    url=tuple(_tests(fields, f"{at}.url")),
                    data=tuple(_tests(fields, f"{at}.data")),
                    source=fields.get(f"{at}.source", ""),
                    least=fields.get(f"{at}.least", ""),
                    days=fields.get(f"{at}.days", ""),
                    since=f"{at}.since" in fields,
                )
            )
        number += 1
    return Draft(ordered(clauses), fields.get("prefill", "yes") == "yes")


def of_rule(rule: Mapping[str, Any]) -> Draft:
    """The draft of a rule that rules.parse takes."""
    clauses = []
    main = {key: value for key, value in rule.items() if key in rules.CONDITION_KEYS}
    if main:
        clauses.append(_clause("main", {"retention_days": DEFAULT_DAYS, **main}))
    for role in ROLES[1:]:
        clauses += [_clause(role, condition) for condition in rule.get(role, [])]
    return Draft(tuple(clauses), rule.get("prefill", True))


def ordered(clauses: Iterable[Clause]) -> tuple[Clause, ...]:
    return tuple(sorted(clauses, key=lambda clause: ROLES.index(clause.role)))


class _Writing:
    """One clause becoming a condition: which field each place of the rule came from, and what is not filled in."""

    def __init__(self, field: str, at: str) -> None:
        self._field, self._at = field, at
        self.wrong: list[Wrong] = []
        self.places = {at.rstrip(".") or "rule": f"{field}.event"}

    def condition(self, clause: Clause) -> dict[str, Any]:
        written: dict[str, Any] = {}
        if events := split(clause.event):
            written["event"] = events[0] if len(events) == 1 else events
            self._put("event", "event")
        url: dict[str, Any] = {}
        for number, test in enumerate(clause.url):
            self._test(url, "url", f"url.{number}.text", test, test.text)
        data: dict[str, dict[str, Any]] = {}
        for number, test in enumerate(clause.data):
            field = f"data.{number}"
            if not test.key:
                self._miss(f"{field}.key", msg("Say which detail."))
                continue
            self._put(f"event_data.{test.key}", f"{field}.key")
            tests = data.setdefault(test.key, {})
            self._test(tests, f"event_data.{test.key}", f"{field}.text", test, _operand(test))
        if url:
            written["url"] = url
        if data:
            written["event_data"] = data
        if clause.source:
            written["event_source"] = clause.source
            self._put("event_source", "source")
        for name, key, text in (
            ("least", "min_count", clause.least),
            ("days", "retention_days", clause.days),
        ):
            self._put(key, name)
            if text and not (name == "least" and text == "1"):
                written[key] = int(text) if text.isascii() and text.isdigit() and len(text) < 6 else text
        if clause.role == "main" and "retention_days" not in written:
            self._miss("days", msg("Say in how many days, from 1 to 540."))
        if clause.since and clause.role == "exclude":
            written["since"] = "match"
            self._put("since", "since")
        return written

    def _test(self, into: dict[str, Any], path: str, field: str, test: Test, operand: object) -> None:
        self._put(f"{path}.{test.operator}", field)
        if not test.text:
            self._miss(field, msg("Say what it must be."))
        elif test.operator in into:
            self._miss(field, msg("Asked twice. «is one of» takes several, with commas between."))
        else:
            into[test.operator] = operand

    def _put(self, path: str, field: str) -> None:
        self.places[self._at + path] = f"{self._field}.{field}"

    def _miss(self, field: str, message: str) -> None:
        self.wrong.append(Wrong(f"{self._field}.{field}", message))


def _operand(test: Test) -> object:
    if test.operator == "in":
        return [_value(text) for text in split(test.text)]
    return test.text if test.operator == "contains" else _value(test.text)


def _value(text: str) -> object:
    return "" if text == NOTHING else scalar(text)


def _clause(role: Role, condition: Mapping[str, Any]) -> Clause:
    url = condition.get("url", {})
    data: list[Test] = []
    for key, tests in condition.get("event_data", {}).items():
        for operator, operand in (tests if isinstance(tests, dict) else {"=": tests}).items():
            texts = [_text(each) for each in operand] if isinstance(operand, list) else []
            data.append(Test(key, operator, join(texts) if operator == "in" else _text(operand)))
    events = condition.get("event", [])
    return Clause(
        role,
        event=join(events if isinstance(events, list) else [events]),
        url=tuple(
            Test("", operator, text)
            for operator, text in (url if isinstance(url, dict) else {"=": url}).items()
        ),
        data=tuple(data),
        source=condition.get("event_source", ""),
        least=str(condition.get("min_count", 1)),
        days=str(condition.get("retention_days", "")),
        since="since" in condition,
    )


def _text(value: object) -> str:
    normal = scalar(value)
    return NOTHING if normal == "" else str(normal)


def split(text: str) -> list[str]:
    """Several values out of one field: commas between them, quotes around one that holds a comma."""
    (line,) = list(csv.reader([text.replace("\n", " ").replace("\r", " ")], skipinitialspace=True)) or [[]]
    return [each.strip() for each in line if each.strip()]


def join(values: Sequence[str]) -> str:
    """The field that split() takes apart."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(values)
    return (
        line.getvalue().replace(",", ", ") if not any("," in value for value in values) else line.getvalue()
    )


def _tests(fields: Mapping[str, str], at: str) -> Iterable[Test]:
    number = 0
    while (operator := fields.get(f"{at}.{number}.op")) is not None:
        yield Test(
            fields.get(f"{at}.{number}.key", "").strip(), operator, fields.get(f"{at}.{number}.text", "")
        )
        number += 1


def _within(place: str, items: Sequence[object]) -> bool:
    return place.isascii() and place.isdigit() and len(place) < 4 and int(place) < len(items)
