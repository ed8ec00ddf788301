"""Keys: of the API. Made and shown once, replaced, ended."""

from typing import cast, get_args

from starlette.responses import Response

from collector import clock, tags
from collector.dashboard.languages import msg
from collector.dashboard.page import ADMINS, Page, Refusal, Visit
from collector.dashboard.people import MOST_NAME
from collector.tags import ApiKey, Role


def show(visit: Visit) -> Response:
    return _page(visit)


def create(visit: Visit) -> Response:
    name, role, attested = visit.field("name")[:MOST_NAME], visit.field("role"), visit.field("attested")
    errors: dict[str, str] = {}
    if not name:
        errors["name"] = visit.say("Say what it is for: it is all that tells it from the others later.")
    if role not in get_args(Role):
        errors["role"] = visit.say("Choose what it may do.")
    if attested and role == "marketer":
        errors["attested"] = visit.say("A marketer's key sends no events.")
    try:
        expires = clock.end_of(visit.field("expires")) if visit.field("expires") else 0
    except ValueError:
        errors["expires"] = visit.say("A day, as 2027-01-31.")
        expires = 0
    if expires and expires <= visit.site.engine.clock():
        errors["expires"] = visit.say("That day is over.")
    if errors:
        values = {"name": name, "role": role, "attested": attested, "expires": visit.field("expires")}
        return _page(visit, errors=errors, values=values, status=422)
    made = tags.create_key(
        visit.site.engine.client,
        name,
        cast(Role, role),
        tags=visit.chosen_tags(),
        consent_attested=attested,
        expires_at=expires,
        clock=visit.site.engine.clock,
    )
    visit.note("made_key", f"{made[0].id} {name}")
    return _page(visit, made=made)


def rotate(visit: Visit) -> Response:
    """Another key that may do the same; the old one ends a day later."""
    old, engine = _key(visit), visit.site.engine
    made = tags.rotate(engine.client, old, clock=engine.clock)
    visit.note("replaced_key", f"{old.id} {old.name}")
    return _page(visit, made=made, replaced=True)


def revoke(visit: Visit) -> Response:
    key = _key(visit)
    tags.revoke(visit.site.engine.client, key.id, clock=visit.site.engine.clock)
    visit.note("ended_key", f"{key.id} {key.name}")
    return visit.go("/keys?done=revoked")


def _page(
    visit: Visit,
    *,
    made: tuple[ApiKey, str] | None = None,
    replaced: bool = False,
    errors: dict[str, str] | None = None,
    values: dict[str, str] | None = None,
    status: int = 200,
) -> Response:
    engine = visit.site.engine
    known = [key for key in tags.list_keys(engine.client) if visit.who.reaches(key.tags)]
    now = engine.clock()
    return visit.page(
        "keys.html",
        status,
        keys=[key for key in reversed(known) if key.usable(now)],
        ended=[key for key in reversed(known) if not key.usable(now)],
        fixed=tags.ADMIN,
        tags=visit.tags(),
        names={tag.id: tag.name for tag in visit.tags()},
        roles=get_args(Role),
        made=made,
        replaced=replaced,
        errors=errors or {},
        values=values or {},
        done=visit.query("done"),
    )


def _key(visit: Visit) -> ApiKey:
    """The key of the path, if it works. Raises Refusal."""
    engine = visit.site.engine
    for key in tags.list_keys(engine.client):
        mine = visit.who.reaches(key.tags)
        if mine and key.id == visit.request.path_params["key"] and key.usable(engine.clock()):
            if key.name == tags.ADMIN:
                raise Refusal(
                    409,
                    msg("The admin key stays"),
                    msg("It is let in at every start. COLLECTOR_ADMIN_KEY sets another."),
                )
            return key
    raise Refusal(404, msg("No such key"), msg("It has ended already."))


PAGES = (
    Page("/keys", show, create, see=ADMINS, title=msg("API keys"), icon="key"),
    Page("/keys/{key}/rotate", None, rotate),
    Page("/keys/{key}/revoke", None, revoke),
)
