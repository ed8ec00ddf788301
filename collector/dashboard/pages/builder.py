"""Builder: an audience as a sentence that one fills in, the JSON beside it, and its size before anything is saved."""

import hashlib
import re
from typing import Any, Literal, NamedTuple
from urllib.parse import urlencode

import orjson
from starlette.responses import Response

from collector.audience import rules
from collector.audience.registry import LEAST, Audience, TooMuch
from collector.audience.rules import RuleError
from collector.audit import Act
from collector.dashboard import draft
from collector.dashboard.draft import Draft, Wrong
from collector.dashboard.languages import msg
from collector.dashboard.page import EDITORS, Page, Refusal, Visit
from collector.event import decode_json
from collector.query.api import LONGEST_NAME
from collector.worded import Worded

LONGEST_DESCRIPTION = 2_000
EVERYBODY = rules.parse({"retention_days": 30})


class Case(NamedTuple):
    """One of the retargeting guides' cases, to begin with."""

    name: str
    description: str
    rule: dict[str, Any]


CASES = (
    Case(
        msg("Abandoned cart"),
        msg("Put something in the cart, and has not bought since."),
        {"event": "addtocart", "retention_days": 30, "exclude": [{"event": "checkout", "since": "match"}]},
    ),
    Case(
        msg("Viewed but not carted"),
        msg("Looked at products, and has put none in the cart since."),
        {
            "event": ["pagevisit", "viewcontent"],
            "retention_days": 14,
            "exclude": [{"event": ["addtocart", "checkout"], "since": "match"}],
        },
    ),
    Case(
        msg("Lapsed buyers"),
        msg("Bought in half a year, but not in the last 60 days."),
        {
            "event": "checkout",
            "retention_days": 180,
            "exclude": [{"event": "checkout", "retention_days": 60}],
        },
    ),
    Case(
        msg("Repeat buyers"),
        msg("Bought at least twice in half a year."),
        {"event": "checkout", "min_count": 2, "retention_days": 180},
    ),
    Case(
        msg("Visited the checkout page"),
        msg("Came as far as the checkout, and has not bought since."),
        {
            "event": "pagevisit",
            "url": {"contains": "/checkout"},
            "retention_days": 14,
            "exclude": [{"event": "checkout", "since": "match"}],
        },
    ),
    Case(
        msg("New visitors"),
        msg("Came this week, saw three pages at most, and never bought."),
        {
            "event": "pagevisit",
            "retention_days": 7,
            "exclude": [
                {"event": "pagevisit", "min_count": 4, "retention_days": 540},
                {"event": "checkout", "retention_days": 540},
            ],
        },
    ),
    Case(
        msg("Engaged video viewers"),
        msg("Watched at least two videos in 60 days."),
        {"event": "watchvideo", "min_count": 2, "retention_days": 60},
    ),
)


class Work(NamedTuple):
    """What somebody has on the builder: the draft, and the rule that it stands for."""

    draft: Draft
    rule: dict[str, Any]
    written: str  # the JSON as it is shown
    wrong: dict[str, str]  # field → why
    source: Literal["sentence", "json"] = "sentence"  # which of the two is to be mended or gone on with


def show(visit: Visit) -> Response:
    fields, audience = _fields(visit), _audience(visit)
    if audience is None and "from" not in fields and "rule" not in fields:
        cases = [
            (each, urlencode({**fields, "name": visit.say(each.name), "rule": orjson.dumps(each.rule)}))
            for each in CASES
        ]
        return visit.page(
            "cases.html", cases=cases, blank=urlencode({**fields, "rule": "{}"}), tags=visit.tags()
        )
    return _page(visit, audience)


def save(visit: Visit) -> Response:
    fields, audience, registry = _fields(visit), _audience(visit), visit.site.engine.registry
    work = _work(visit, fields, audience)
    name, description = fields.get("name", "").strip(), fields.get("description", "").strip()
    wrong = dict(work.wrong)
    if not 0 < len(name) <= LONGEST_NAME:
        wrong["name"] = visit.say("Give it a name, of 200 characters at most.")
    if len(description) > LONGEST_DESCRIPTION:
        wrong["description"] = visit.say("That is too long.")
    tag = fields.get("tag", "") if audience is None else audience.tag
    if tag not in {each.id for each in visit.tags()}:
        wrong["tag"] = visit.say("Choose a tag.")
    if wrong:
        return _page(visit, audience, wrong, 422)
    known = audience is not None
    try:
        if audience is None:
            audience = registry.create(tag, name, description, work.rule)
        else:
            rule = None if _same(fields, work, audience) else work.rule
            if rule is not None or (name, description) != (audience.name, audience.description):
                if fields.get("seen", "") not in ("", _state(audience)):
                    return _page(visit, audience, status=409)
                audience = registry.edit(audience, name=name, description=description, rule=rule)
    except TooMuch as much:
        return _page(visit, audience, {"memory": _plain(visit, much)}, 507)
    act: Act = "edited_audience" if known else "created_audience"
    visit.note(act, f"{audience.id} {audience.name}", audience.tag)
    return visit.go(f"/audiences/{audience.id}?done=saved")


def count(visit: Visit) -> Response:
    """What the draft comes to, as JSON of texts: the rule, what is wrong, and if nothing is, its sizes."""
    fields, audience, say = _fields(visit), _audience(visit), visit.language
    work = _work(visit, fields, audience)
    answer: dict[str, Any] = {"rule": work.written, "wrong": work.wrong}
    tag = fields.get("tag", "") if audience is None else audience.tag
    if work.wrong:
        answer["memory"] = say.say("The size comes once the sentence is complete.")
    elif tag in {each.id for each in visit.tags()}:
        engine, rule = visit.site.engine, rules.parse(work.rule)
        at = int(engine.clock())
        floor = 0 if rule.prefill else at if audience is None else audience.created_at
        steps = engine.insight.funnel(tag, rule, at=at, floor=floor)
        size = steps[-1].left
        answer |= {
            "size": say.number(size),
            "steps": [[say.number(step.own), say.number(step.left)] for step in steps],
            "shares": [step.left / max(1, *(each.left for each in steps)) for step in steps],
            "note": _note(visit, size, rule.prefill),
            "memory": _memory(visit, tag, work.rule),
        }
        if audience is not None:
            before, _ = engine.size(audience)
            if before is not None:
                answer["before"] = say.say(
                    "%(before)s before, %(change)s",
                    before=say.number(before),
                    change=say.change(size - before),
                )
    return Response(orjson.dumps(answer), media_type="application/json")


def suggest(visit: Visit) -> Response:
    """What was really seen in the last 30 days, as [[value, visitors]], most first: events, keys, values or pages."""
    tag, wanted = visit.query("tag"), visit.query("q")[: rules.LONGEST_TEXT]
    found: list[tuple[Any, int]] = []
    if visit.who.covers(tag):
        insight, at = visit.site.engine.insight, int(visit.site.engine.clock())
        match visit.query("of"):
            case "events":
                found = [*insight.events(tag, at=at)]
            case "keys":
                found = [*insight.keys(tag, at=at)]
            case "values" if visit.query("key"):
                found = [*insight.values(tag, visit.query("key"), at=at, containing=wanted)]
            case "pages":
                found = [*insight.tops(tag, EVERYBODY, "pages", at=at)]
    said = [
        [str(value), visit.language.say("%(visitors)s visitors", visitors=visit.language.number(visitors))]
        for value, visitors in found
    ]
    return Response(orjson.dumps(said), media_type="application/json")


def _page(
    visit: Visit, audience: Audience | None, wrong: dict[str, str] | None = None, status: int = 200
) -> Response:
    fields = _fields(visit)
    work = _work(visit, fields, audience)
    tags = visit.tags()
    act = fields.get("do", "")
    overtaken = status == 409  # somebody else has saved since: known from here on
    if audience is not None and (overtaken or not fields.get("seen")):
        fields["seen"] = _state(audience)
    return visit.page(
        "builder.html",
        status,
        path=f"/audiences/{audience.id}/edit" if audience else "/audiences/new",
        audience=audience,
        draft=work.draft,
        source_of=work.source,
        written=work.written,
        wrong=work.wrong if wrong is None else wrong,
        fresh=work.draft.fresh(act),
        tags=tags,
        tag=audience.tag if audience else fields.get("tag") or visit.usual_tag(),
        seen=fields.get("seen"),
        overtaken=overtaken,
        name=fields.get("name", audience.name if audience else ""),
        description=fields.get("description", audience.description if audience else ""),
        url_operators=rules.URL_OPERATORS,
        data_operators=rules.DATA_OPERATORS,
        least=LEAST,
    )


def _work(visit: Visit, fields: dict[str, str], audience: Audience | None) -> Work:
    """The fields of the sentence, or the JSON where that was touched last or is all there is."""
    if fields.get("from") == "sentence" and fields.get("do") != "json":
        return _built(visit, draft.of_fields(fields).changed(fields.get("do", "")))
    text = fields.get("rule", bytes(audience.rule).decode() if audience else "{}")
    try:
        rule = decode_json(text)
        if rule == {}:  # a sentence to begin with
            return _built(visit, Draft(()).changed("add.main"))
        rules.parse(rule)
    except ValueError as error:
        return Work(draft.of_fields(fields), {}, text, {"rule": _refusal(visit, error)}, "json")
    made = draft.of_rule(rule)
    if fields.get("from") == "json":  # as it is written, also where the sentence would say the same otherwise
        return Work(made, rule, text, {})
    return _built(visit, made)


def _built(visit: Visit, made: Draft) -> Work:
    rule, wrong = made.rule()
    return Work(made, rule, _json(rule), {each.field: _plain(visit, each) for each in wrong})


def _state(audience: Audience) -> str:
    """Names what an audience says now; not by its time, as two may save within a second."""
    said = (audience.name, audience.description, bytes(audience.rule).decode())
    return hashlib.sha256(orjson.dumps(said)).hexdigest()[:16]


def _same(fields: dict[str, str], work: Work, audience: Audience) -> bool:
    """Whether the rule is what it was: the same meaning in other words is no edit, it stays as it was written.

    Nor is a sentence that nobody touched, though fields cannot hold every value: a blank around one of several is lost.
    """
    if fields.get("from") == "sentence" and work.draft == draft.of_rule(decode_json(bytes(audience.rule))):
        return True
    return rules.parse(work.rule) == audience.parsed()


def _refusal(visit: Visit, error: ValueError) -> str:
    """Why a JSON text is no rule, behind the place in it."""
    if not isinstance(error, RuleError):
        return visit.say("This is no JSON.") + f" {error}"
    if error.field == "rule":
        return _plain(visit, error)
    return f"{error.field}: {_without_mark(visit.say(error.text, **error.values))}"


def _plain(visit: Visit, wrong: Wrong | Worded) -> str:
    """A message of the rule language, which follows a field's name, as a sentence of its own."""
    said = _without_mark(visit.say(wrong.text, **wrong.values))
    return said[:1].upper() + said[1:]


def _without_mark(message: str) -> str:
    """The mend as a sentence: here it stands beside what it mends."""
    return re.sub(" Mend: (.)", lambda first: f" {first[1].upper()}", message)


def _json(rule: dict[str, Any]) -> str:
    return orjson.dumps(rule, option=orjson.OPT_INDENT_2).decode()


def _note(visit: Visit, size: int, prefill: bool) -> str:
    if not prefill:
        return visit.say("It starts empty: only what comes after it was made counts.")
    if size < LEAST:
        return visit.say(
            "Ad platforms ask for %(least)s. A longer lookback or wider conditions bring more.", least=LEAST
        )
    return ""


def _memory(visit: Visit, tag: str, rule: dict[str, Any]) -> str:
    try:
        weight = visit.site.engine.registry.weight(tag, rule)
    except TooMuch as much:
        return _plain(visit, much)
    if not weight:
        return visit.say(
            "Takes no more memory: other audiences have the same conditions, or nobody has come yet."
        )
    return visit.say(
        "Its new conditions take %(size)s kB of memory.", size=visit.language.number(-(-weight // 1000))
    )


def _fields(visit: Visit) -> dict[str, str]:
    sent = visit.form if visit.request.method == "POST" else visit.request.query_params
    return {name: value for name, value in sent.items() if isinstance(value, str) and name != "token"}


def _audience(visit: Visit) -> Audience | None:
    """The audience that is edited: of the path, or of the field `audience`. None for a new one."""
    wanted = visit.request.path_params.get("audience") or visit.query("audience")
    if not wanted:
        return None
    audience = visit.site.engine.registry.get(wanted)
    if not visit.who.covers(audience.tag):
        raise Refusal(404, msg("No such audience"), msg("It was deleted, or it is not one of yours."))
    return audience


PAGES = (
    Page("/audiences/new", show, save, see=EDITORS, act=EDITORS),
    Page("/audiences/draft", count, see=EDITORS),
    Page("/audiences/suggest", suggest, see=EDITORS),
    Page("/audiences/{audience}/edit", show, save, see=EDITORS, act=EDITORS),
)
