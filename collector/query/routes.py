"""The API's routes, in one table: what openapi.json says of each, and what each does."""

from functools import partial

from starlette.routing import Route

from collector.query import api
from collector.query.engine import IDENTITIES, Engine
from collector.query.openapi import (
    INSTANT,
    TEXT,
    WHOLE,
    Operation,
    Schema,
    no_more,
    nullable,
    record,
    ref,
    some,
)
from collector.tags import Role

READERS: tuple[Role, ...] = ("admin", "marketer")
ADMIN: tuple[Role, ...] = ("admin",)

ERROR = ref("Error")
TAG_PARAMETER = {"tag": (TEXT, "The tag's id: 13 digits.")}
CONDITION: dict[str, Schema] = {
    "event": {"anyOf": [TEXT, some(TEXT)]},
    "url": {"anyOf": [TEXT, {"type": "object", "additionalProperties": TEXT}]},
    "event_data": {"type": "object"},
    "event_source": {"enum": ["web", "server", "import"]},
    "min_count": {"type": "integer", "minimum": 1, "maximum": 20},
    "retention_days": {"type": "integer", "minimum": 1, "maximum": 540},
}
RULE: Schema = {
    **record(
        **CONDITION,
        **dict.fromkeys(("all", "any"), some(record(**CONDITION))),
        exclude=some(record(**CONDITION, since={"const": "match"})),
        prefill={"type": "boolean"},
    ),
    "description": "Whom to take: see docs/audiences.md.",
}
AUDIENCE = record(
    *("id", "tag", "name", "description", "rule", "status", "reason", "mend", "progress"),
    *("size", "size_as_of", "created_at", "updated_at"),
    id=TEXT,
    tag=TEXT,
    name=TEXT,
    description=TEXT,
    rule=RULE,
    status={"type": "string", "enum": ["INITIALIZING", "READY", "TOO_SMALL", "FAILED"]},
    reason=nullable(TEXT),
    mend=nullable(TEXT),
    progress={"type": "number", "minimum": 0, "maximum": 1},
    size=nullable(WHOLE),
    size_as_of=nullable(INSTANT),
    created_at=INSTANT,
    updated_at=INSTANT,
)
ERASURE = record(
    *("record", "visitor", "asked_at", "rows_gone_at", "files_rewritten_at", "waits_for"),
    record=nullable(TEXT),
    visitor=TEXT,
    asked_at=INSTANT,
    rows_gone_at=nullable(INSTANT),
    files_rewritten_at=nullable(INSTANT),
    waits_for=nullable({"enum": ["archive_and_stream", "append_only_file"]}),
)
SCHEMAS: dict[str, Schema] = {"Audience": AUDIENCE}
GONE = {404: ("No such audience for this key.", ERROR)}
UNREADY = {409: ("It is INITIALIZING.", ERROR)}
BAD = {
    400: ("The body cannot be read.", ERROR),
    422: ("Something in it cannot be taken; the message names it.", ERROR),
}
NO_TAG = {404: ("No such tag for this key.", ERROR)}
LARGE = {507: ("It needs more memory than there is.", ERROR)}

TABLE: tuple[tuple[Operation, api.Handle], ...] = (
    (
        Operation(
            "GET",
            "/v1/tags",
            "The tags.",
            {200: ("The tags.", record("items", items=some({"type": "object"})))},
            roles=READERS,
        ),
        api.list_tags,
    ),
    (
        Operation(
            "POST",
            "/v1/tags",
            "Create a tag.",
            {
                201: (
                    "The tag, and its server key: shown once.",
                    record("tag", "server_key", tag=TEXT, server_key=TEXT),
                ),
                **BAD,
            },
            body=record(
                "name", "origins", name=TEXT, origins=some(TEXT), regime={"enum": ["opt_in", "opt_out"]}
            ),
            roles=ADMIN,
        ),
        api.create_tag,
    ),
    (
        Operation(
            "GET",
            "/v1/tags/{tag}/health",
            "Last events, outcomes by reason, and what the install lacks.",
            {200: ("The last week.", {"type": "object"}), **NO_TAG},
            roles=READERS,
        ),
        api.tag_health,
    ),
    (
        Operation(
            "GET",
            "/v1/audiences",
            "The audiences, oldest first.",
            {
                200: (
                    "A page of them.",
                    record("items", "next", items=some(ref("Audience")), next=nullable(TEXT)),
                ),
                **NO_TAG,
                422: BAD[422],
            },
            {
                **TAG_PARAMETER,
                "cursor": (TEXT, "`next` of the page before."),
                "limit": (WHOLE, f"1 to {api.MOST}; {api.PAGE} by default."),
            },
            roles=READERS,
        ),
        api.list_audiences,
    ),
    (
        Operation(
            "POST",
            "/v1/audiences",
            "Create an audience.",
            {
                201: ("The audience.", ref("Audience")),
                **BAD,
                **NO_TAG,
                **LARGE,
            },
            body=no_more(record("tag", "name", "rule", tag=TEXT, name=TEXT, description=TEXT, rule=RULE)),
            roles=READERS,
        ),
        api.create_audience,
    ),
    (
        Operation(
            "POST",
            "/v1/audiences/preview",
            "A size before anything is saved.",
            {200: ("The size.", record("size", "as_of", size=WHOLE, as_of=INSTANT)), **BAD, **NO_TAG, **LARGE},
            body=no_more(
                record("tag", "rule", tag=TEXT, name=TEXT, description=TEXT, rule=RULE, as_of=INSTANT)
            ),
            roles=READERS,
        ),
        api.preview,
    ),
    (
        Operation(
            "GET",
            "/v1/audiences/{audience}",
            "An audience.",
            {200: ("The audience.", ref("Audience")), **GONE},
            roles=READERS,
        ),
        api.show_audience,
    ),
    (
        Operation(
            "PATCH",
            "/v1/audiences/{audience}",
            "Edit an audience; it takes effect at once.",
            {
                200: ("The audience.", ref("Audience")),
                **BAD,
                **GONE,
                **LARGE,
            },
            body=no_more(record(name=TEXT, description=TEXT, rule=RULE)),
            roles=READERS,
        ),
        api.edit_audience,
    ),
    (
        Operation(
            "DELETE",
            "/v1/audiences/{audience}",
            "Delete an audience.",
            {204: ("Gone.", None), **GONE},
            roles=READERS,
        ),
        api.delete_audience,
    ),
    (
        Operation(
            "GET",
            "/v1/audiences/{audience}/size",
            "The exact size, for any window, at any instant.",
            {
                200: (
                    "The size.",
                    record(
                        "size",
                        "lookback_days",
                        "as_of",
                        size=nullable(WHOLE),
                        lookback_days=nullable(WHOLE),
                        as_of=INSTANT,
                    ),
                ),
                **GONE,
                **LARGE,
                422: BAD[422],
            },
            {
                "lookback_days": (WHOLE, "1 to 540; the rule's own by default."),
                "as_of": (INSTANT, "A past instant; now by default."),
            },
            roles=READERS,
        ),
        api.size,
    ),
    (
        Operation(
            "GET",
            "/v1/audiences/{audience}/history",
            "The recorded sizes.",
            {
                200: (
                    "Oldest first.",
                    record("items", items=some(record("at", "size", at=INSTANT, size=WHOLE))),
                ),
                **GONE,
            },
            roles=READERS,
        ),
        api.sizes_recorded,
    ),
    (
        Operation(
            "GET",
            "/v1/audiences/{audience}/members",
            "The members, as NDJSON or CSV.",
            {
                200: ("One a line; with a cursor, X-Next-Cursor tells how to go on.", "application/x-ndjson, text/csv"),
                **GONE,
                **UNREADY,
                422: BAD[422],
            },
            {
                "cursor": (
                    TEXT,
                    "Empty for the first run, then X-Next-Cursor; without it all come in one stream.",
                ),
                "as": ({"enum": list(IDENTITIES)}, "What to give of each member."),
                "format": ({"enum": ["ndjson", "csv"]}, "Or by Accept: text/csv."),
            },
            roles=READERS,
        ),
        api.members,
    ),
    (
        Operation(
            "GET",
            "/v1/overlap",
            "Pairwise sizes of audiences.",
            {
                200: (
                    "sizes[i][j]: members of both.",
                    record("ids", "sizes", "as_of", ids=some(TEXT), sizes=some(some(WHOLE)), as_of=INSTANT),
                ),
                **GONE,
                **UNREADY,
                422: BAD[422],
            },
            {"ids": (TEXT, "Audience ids of one tag, with commas between them.")},
            roles=READERS,
        ),
        api.overlap,
    ),
    (
        Operation(
            "GET",
            "/v1/visitors/{visitor:path}",
            "What is known of a visitor.",
            {
                200: ("Audiences with dates, events, consent, its records, erasures.", {"type": "object"}),
                **NO_TAG,
                422: BAD[422],
            },
            TAG_PARAMETER,
            roles=READERS,
        ),
        api.visitor,
    ),
    (
        Operation(
            "DELETE",
            "/v1/visitors/{visitor:path}",
            "Erase a visitor.",
            {
                200: (
                    "Out of every audience; files are free of the visitor within 24 h.",
                    record(
                        "tag", "visitor", "erased_until", tag=TEXT, visitor=TEXT, erased_until=INSTANT
                    ),
                ),
                **NO_TAG,
                422: BAD[422],
            },
            {**TAG_PARAMETER, "now": ({"enum": ["true", "false"]}, "Whether files are cleaned without delay.")},
            roles=READERS,
        ),
        api.erase_visitor,
    ),
    (
        Operation(
            "GET",
            "/v1/erasures",
            "The erasures of a tag, with their proof or what it waits for.",
            {
                200: ("Those with a proof first.", record("items", items=some(ERASURE))),
                **NO_TAG,
                422: BAD[422],
            },
            TAG_PARAMETER,
            roles=READERS,
        ),
        api.erasures,
    ),
)


def routes(engine: Engine) -> list[Route]:
    """The API's routes."""
    return [
        Route(operation.path, partial(api.serve, engine, operation.roles, handle), methods=[operation.method])
        for operation, handle in TABLE
    ]
