"""The API: what each route about audiences, visitors and tags does. routes.py has the table."""

import re
import traceback
from collections.abc import Callable
from typing import Any, NamedTuple

import orjson
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse

from collector import audit, clock, log, tags
from collector.archive.scan import Moved
from collector.archive.whole import Damaged
from collector.audience.registry import Audience, NotFound, TooMuch
from collector.audience.rules import RuleError
from collector.audit import Act
from collector.connections import Unavailable
from collector.event import decode_json
from collector.query import export
from collector.query.access import Denied, caller, check_tag
from collector.query.engine import IDENTITIES, BadQuestion, Engine, NotReady, history
from collector.settings import BadSetup
from collector.tags import ApiKey, Role

PAGE = 100  # audiences in one listing
MOST = 1_000
MOST_OVERLAP = 50
DIGITS = 18  # of a whole number in a query: Python reads no thousands of them
MOST_BODY = 1 << 20  # bytes of a request
LONGEST_NAME = 200

CURSOR = re.compile(r"[0-9]{1,4}-[0-9]{1,10}", re.ASCII)


logger = log.get("query")


class Asked(NamedTuple):
    """One request to the API: who asks, and what."""

    engine: Engine
    key: ApiKey
    request: Request
    body: dict[str, Any]

    def note(self, act: Act, what: str, tag: str) -> None:
        """Into the log of who did what."""
        audit.note(self.engine.client, self.key.name, "api", act, what, tag)

    def query(self, name: str) -> str | None:
        return self.request.query_params.get(name)

    def tag(self, tag: object) -> str:
        """A tag that this key covers. Raises Denied."""
        if not isinstance(tag, str):
            raise Denied(422, "bad_request", "tag: is missing.", "Name a tag of GET /v1/tags.")
        check_tag(self.engine.client, self.key, tag)
        return tag

    def audience(self, audience: str | None = None) -> Audience:
        """The audience of the path, or another. Raises Denied 404, likewise for one of another's tag."""
        found = self.engine.registry.get(audience or self.request.path_params["audience"])
        if not self.key.covers(found.tag):
            raise NotFound
        return found

    def whole(self, name: str, default: int | None, most: int) -> int | None:
        text = self.query(name)
        if text is None:
            return default
        if not text.isascii() or not text.isdigit() or len(text) > DIGITS or not 1 <= int(text) <= most:
            raise BadQuestion(name, f"must be a whole number from 1 to {most}.")
        return int(text)

    def text(self, name: str, *, required: bool = False, most: int = LONGEST_NAME) -> str | None:
        value = self.body.get(name)
        if value is None and not required:
            return None
        if not isinstance(value, str) or (required and not value.strip()) or len(value) > most:
            raise BadQuestion(name, f"must be a text of {int(required)} to {most} characters.")
        return value

    def only(self, *known: str) -> None:
        """Raises BadQuestion for what else the body says: a prefill beside the rule would do nothing."""
        if unknown := set(self.body) - set(known):
            raise BadQuestion(min(unknown), f"is not read here. Mend: the body has {', '.join(known)}.")


Handle = Callable[[Asked], Response]


def list_tags(asked: Asked) -> Response:
    shown = [
        {
            "tag": tag.id,
            "name": tag.name,
            "origins": list(tag.origins),
            "regime": tag.regime,
            "created_at": clock.iso(tag.created_at),
        }
        for tag in tags.list_tags(asked.engine.client)
        if asked.key.covers(tag.id)
    ]
    return _json({"items": shown})


def create_tag(asked: Asked) -> Response:
    if asked.key.tags is not None:
        raise Denied(
            403, "bound_key", "This key is bound to tags, and makes no others.", "Use an admin key of every tag."
        )
    name, regime = asked.text("name", required=True), asked.body.get("regime", "opt_in")
    origins = asked.body.get("origins")
    if regime not in ("opt_in", "opt_out"):
        raise BadQuestion("regime", "must be opt_in or opt_out.")
    if not isinstance(origins, list) or not all(isinstance(origin, str) for origin in origins):
        raise BadQuestion("origins", "must be a list of origins, such as https://shop.example.")
    tag, server_key = tags.create_tag(asked.engine.client, name or "", origins, regime)
    asked.note("created_tag", tag.name, tag.id)
    return _json({"tag": tag.id, "server_key": server_key}, 201)


def tag_health(asked: Asked) -> Response:
    tag = asked.tag(asked.request.path_params["tag"])
    return _json(asked.engine.health(tag))


def list_audiences(asked: Asked) -> Response:
    tag = asked.query("tag")
    if tag is not None:
        asked.tag(tag)
    first = int(asked.whole("cursor", 0, 10**9) or 0)
    limit = asked.whole("limit", PAGE, MOST) or PAGE
    found = [audience for audience in asked.engine.registry.all(tag) if asked.key.covers(audience.tag)]
    following = first + limit
    return _json(
        {
            "items": asked.engine.describe(found[first:following]),
            "next": str(following) if following < len(found) else None,
        }
    )


def create_audience(asked: Asked) -> Response:
    asked.only("tag", "name", "description", "rule")
    audience = asked.engine.registry.create(
        asked.tag(asked.body.get("tag")),
        asked.text("name", required=True) or "",
        asked.text("description", most=2_000) or "",
        asked.body.get("rule"),
    )
    asked.note("created_audience", f"{audience.id} {audience.name}", audience.tag)
    return _json(asked.engine.describe([audience])[0], 201)


def show_audience(asked: Asked) -> Response:
    return _json(asked.engine.describe([asked.audience()])[0])


def edit_audience(asked: Asked) -> Response:
    asked.only("name", "description", "rule")
    changed = asked.engine.registry.edit(
        asked.audience(),
        name=asked.text("name", required="name" in asked.body),
        description=asked.text("description", most=2_000),
        rule=asked.body.get("rule"),
    )
    asked.note("edited_audience", f"{changed.id} {changed.name}", changed.tag)
    return _json(asked.engine.describe([changed])[0])


def delete_audience(asked: Asked) -> Response:
    audience = asked.audience()
    asked.engine.registry.delete(audience)
    asked.note("deleted_audience", f"{audience.id} {audience.name}", audience.tag)
    return Response(status_code=204)


def size(asked: Asked) -> Response:
    lookback = asked.whole("lookback_days", None, 540)
    audience = asked.audience()
    found, at = asked.engine.size(audience, lookback, asked.query("as_of"))
    windows = audience.parsed().windows(lookback)
    days = windows[0].days if windows[0].role == "main" else None
    return _json({"size": found, "lookback_days": days, "as_of": clock.iso(at)})


def sizes_recorded(asked: Asked) -> Response:
    return _json({"items": history(asked.engine.registry, asked.audience())})


def members(asked: Asked) -> Response:
    audience = asked.audience()
    kind = asked.query("as") or "visitor"
    if kind not in IDENTITIES:
        raise BadQuestion("as", f"must be one of {', '.join(IDENTITIES)}.")
    wanted = asked.query("format") or (
        "csv" if "text/csv" in asked.request.headers.get("accept", "") else "ndjson"
    )
    if wanted not in export.FORMATS:
        raise BadQuestion("format", "must be ndjson or csv.")
    cursor = asked.query("cursor")
    runs = asked.engine.members(audience, kind, _cursor(cursor or ""))
    if not cursor:  # the later pages of one export are the same act
        asked.note("exported_members", f"{audience.id} {audience.name} as {kind}", audience.tag)
    media_type = "text/csv; charset=utf-8" if wanted == "csv" else "application/x-ndjson"
    name = f'attachment; filename="audience-{audience.id}-{kind}.{wanted}"'
    headers = {"content-disposition": name, "cache-control": "no-store"}
    if cursor is None:
        return StreamingResponse(
            export.write(kind, wanted, (some for _, some in runs)), media_type=media_type, headers=headers
        )
    following, found = next(runs, ("", []))  # a cursor past the end
    headers["x-next-cursor"] = following
    return StreamingResponse(export.write(kind, wanted, [found]), media_type=media_type, headers=headers)


def preview(asked: Asked) -> Response:
    asked.only("tag", "name", "description", "rule", "as_of")  # an audience to be, as it would be created
    as_of = asked.body.get("as_of")
    if as_of is not None and not isinstance(as_of, str):
        raise BadQuestion("as_of", "must be an ISO 8601 instant.")
    found, at = asked.engine.preview(asked.tag(asked.body.get("tag")), asked.body.get("rule"), as_of)
    return _json({"size": found, "as_of": clock.iso(at)})


def overlap(asked: Asked) -> Response:
    ids = [name for name in (asked.query("ids") or "").split(",") if name]
    if not 1 <= len(ids) <= MOST_OVERLAP:
        raise BadQuestion("ids", f"must be 1 to {MOST_OVERLAP} audience ids with commas between them.")
    found, at = asked.engine.overlap([asked.audience(name) for name in ids])
    return _json({"ids": ids, "sizes": found, "as_of": clock.iso(at)})


def visitor(asked: Asked) -> Response:
    tag = asked.tag(asked.query("tag"))
    name = asked.request.path_params["visitor"]
    known = asked.engine.visitor(tag, name)
    asked.note("looked_up_visitor", asked.engine.mark(tag, name), tag)
    return _json(known)


def erase_visitor(asked: Asked) -> Response:
    tag, now = asked.tag(asked.query("tag")), asked.query("now") or "false"
    if now not in ("true", "false"):
        raise BadQuestion("now", "must be true or false.")
    name = asked.request.path_params["visitor"]
    until = asked.engine.erase(tag, name, now=now == "true")
    asked.note("erased_visitor", asked.engine.mark(tag, name), tag)
    return _json({"tag": tag, "visitor": name, "erased_until": clock.iso(until)})


def erasures(asked: Asked) -> Response:
    return _json({"items": asked.engine.erasures(asked.tag(asked.query("tag")))})


async def serve(engine: Engine, roles: tuple[Role, ...], handle: Handle, request: Request) -> Response:
    """One request from reading to answer; whatever is wrong with it becomes an error with a hint."""
    raw = b""
    try:
        async for piece in request.stream():
            raw += piece
            if len(raw) > MOST_BODY:
                return _error(413, "too_large", f"The body is over {MOST_BODY} bytes.", "Send a smaller one.")
        return await run_in_threadpool(_answer, engine, roles, handle, request, raw)
    except ClientDisconnect:
        return Response(status_code=400)
    except Exception as bug:
        # The frames, not the message: it may quote what was asked.
        frames = "".join(traceback.format_tb(bug.__traceback__))
        logger.error("request failed", route=handle.__name__, error=type(bug).__name__, frames=frames)
        return _error(500, "bug", "The collector failed; the fault is ours.", "Look at its log.")


def _answer(
    engine: Engine, roles: tuple[Role, ...], handle: Handle, request: Request, raw: bytes
) -> Response:
    try:
        key = caller(engine.client, request, roles, engine.clock)
        return handle(Asked(engine, key, request, _body(request, raw)))
    except Denied as denied:
        return _error(denied.status, denied.code, denied.message, denied.hint)
    except NotFound:
        return _error(
            404,
            "unknown_audience",
            "There is no such audience for this key.",
            "GET /v1/audiences lists them.",
        )
    except (RuleError, BadQuestion) as wrong:
        said, _, mend = wrong.message.partition(" Mend: ")
        return _error(
            422, "bad_rule" if isinstance(wrong, RuleError) else "bad_request", f"{wrong.field}: {said}", mend
        )
    except BadSetup as wrong:
        said, _, mend = str(wrong).partition(" Mend: ")
        return _error(422, "bad_request", said, mend)
    except TooMuch as much:
        said, _, mend = str(much).partition(" Mend: ")
        return _error(507, "too_much_memory", said, mend)
    except Unavailable as error:
        logger.warning("redis_unavailable", error=type(error).__name__)
        return _error(503, "unavailable", "Redis does not answer.", "Try again.", {"retry-after": "5"})
    except NotReady as unready:
        said, _, mend = str(unready).partition(" Mend: ")
        return _error(409, "not_ready", said, mend, {"retry-after": "1"})
    except Damaged as damaged:
        said, _, mend = str(damaged).partition(" Mend: ")
        return _error(503, "archive_damaged", said, mend, {"retry-after": "60"})
    except Moved:
        return _error(
            503, "busy", "The archive changed while it was read.", "Try again.", {"retry-after": "1"}
        )


def _body(request: Request, raw: bytes) -> dict[str, Any]:
    if request.method not in ("POST", "PATCH"):
        return {}
    try:
        body = decode_json(raw)
    except ValueError as error:
        raise Denied(400, "unreadable", f"The body is no JSON: {error}.", "Send a JSON object.") from None
    if not isinstance(body, dict):
        raise Denied(400, "unreadable", "The body is JSON, but no object.", "Send a JSON object.")
    return body


def _json(value: object, status: int = 200) -> Response:
    return Response(orjson.dumps(value), status, {"cache-control": "no-store"}, "application/json")


def _error(
    status: int, code: str, message: str, hint: str, headers: dict[str, str] | None = None
) -> Response:
    body = orjson.dumps({"error": {"code": code, "message": message, "hint": hint or "See docs/api.md."}})
    return Response(body, status, headers, "application/json")


def _cursor(text: str) -> str:
    if text and not CURSOR.fullmatch(text):
        raise BadQuestion("cursor", "is none that this listing gave.")
    return text
