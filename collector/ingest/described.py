"""Described: the edge's routes for openapi.json. docs/wire.md says more than a schema can."""

from collector.query.openapi import TEXT, WHOLE, Operation, Schema, record, ref, some

ERROR = ref("Error")
RESULT = record(
    "event_id",
    "outcome",
    event_id={"anyOf": [TEXT, {"type": "null"}]},
    outcome={"enum": ["accepted", "duplicate", "refused", "retry"]},
    reason=TEXT,
)
EVENT = record(
    "event",
    event=TEXT,
    event_id={"anyOf": [TEXT, WHOLE]},
    event_time={"type": "number"},
    url=TEXT,
    referrer=TEXT,
    data={"type": "object"},
)
BATCH = record(
    "tag",
    tag=TEXT,
    visitor=TEXT,
    sent_at={"type": "number"},
    withdraw={"type": "boolean"},
    lost={"type": "integer"},
    consent={"type": "object"},
    user_data={"type": "object"},
    click_ids={"type": "object"},
    events=some(EVENT),
)
STORED: dict[int, tuple[str, Schema | str | None]] = {
    200: ("The fate of each event, in order.", record("results", results=some(RESULT))),
    400: ("The body cannot be read.", ERROR),
    401: ("Unknown tag, or no usable key.", ERROR),
    403: ("Origin not allowed, or a key of another role.", ERROR),
    408: ("The body came too slowly.", ERROR),
    413: ("Too large.", ERROR),
    429: ("Too many requests; nothing was stored.", ERROR),
    503: ("Not stored; Retry-After tells when to try again.", ERROR),
}
PIXEL: dict[int, tuple[str, Schema | str | None]] = {
    200: ("A 43-byte GIF; X-Collector tells the outcome.", "image/gif"),
    **dict.fromkeys((400, 401, 403, 429, 503), ("The GIF; X-Collector tells why nothing was stored.", "image/gif")),
}

OPERATIONS = (
    Operation("POST", "/v1/events", "Events from a page.", STORED, body=BATCH, body_type="text/plain"),
    Operation("POST", "/v1/server/events", "Events from a server.", STORED, body=BATCH, roles=("server", "admin")),
    Operation(
        "GET",
        "/v1/pixel.gif",
        "One event from a page without JavaScript.",
        PIXEL,
        {
            "tag": (TEXT, "The tag's id."),
            "event": (TEXT, "The event's name."),
            "consent": ({"enum": ["granted", "denied"]}, "The visitor's choice."),
        },
    ),
    Operation(
        "GET",
        "/v3/",
        "The same, with the Pinterest tag's parameters.",
        PIXEL,
        {
            "tid": (TEXT, "The tag's id."),
            "event": (TEXT, "The event's name."),
            "ed": (TEXT, "Event data as JSON; or ed[value]=… and so on."),
            "pd": (TEXT, "User data, in the same forms."),
            "ad": (TEXT, "About the page: loc and ref."),
        },
    ),
    Operation("GET", "/tag.js", "The tag in force.", {200: ("The script.", "text/javascript")}),
    Operation(
        "GET",
        "/tag/{version}.js",
        "A released version of the tag, for ever.",
        {200: ("The script.", "text/javascript"), 404: ("No such version.", ERROR)},
    ),
    Operation("GET", "/healthz", "Whether the process is alive.", {200: ("It is.", {"type": "object"})}),
    Operation(
        "GET",
        "/readyz",
        "Whether it should get traffic.",
        {200: ("It should.", {"type": "object"}), 503: ("It should not; the reasons.", {"type": "object"})},
    ),
    Operation("GET", "/metrics", "Prometheus.", {200: ("The metrics.", "text/plain")}),
    Operation("GET", "/openapi.json", "This document.", {200: ("OpenAPI 3.1.", {"type": "object"})}),
)
