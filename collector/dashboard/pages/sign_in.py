"""Sign-in: by password, by the admin key, by a link that works once; the first run; sign-out."""

from starlette.responses import Response

from collector import tags
from collector.dashboard import guard, links
from collector.dashboard.languages import msg
from collector.dashboard.links import Link
from collector.dashboard.page import PUBLIC, Page, Refusal, Visit
from collector.dashboard.people import LEAST_PASSWORD, MOST_NAME, MOST_PASSWORD, Person, Taken, login_of
from collector.tags import ApiKey


def ask(visit: Visit) -> Response:
    if visit.signed_in:
        return visit.go("/audiences")
    if not visit.site.people.any():
        return visit.go("/first-run")
    return _form(visit)


def by_password(visit: Visit) -> Response:
    """One answer for a wrong password and for a login that nobody has, in the same time."""
    login, password = (
        login_of(visit.field("login"))[:MOST_NAME],
        visit.secret_field("password")[:MOST_PASSWORD],
    )
    with visit.site.people.place():
        if wait := visit.site.tries.begin(login):
            return _form(
                visit, visit.say("Too many tries. The next one counts in %(seconds)d seconds.", seconds=wait), 429
            )
        person = visit.site.people.check(login, password)
    if person is None:
        return _form(visit, visit.say("That is not right. Check both, and mind capital letters."), 401)
    visit.site.tries.forgive(login)
    return _enter_as(visit, person)


def by_key(visit: Visit) -> Response:
    key = _admin_key(visit)
    if key is None:
        return _form(visit, visit.say("That is no admin key in use."), 401)
    visit.note("signed_in", who=key.name)
    return _enter(visit, visit.site.sessions.begin(key=key.id))


def first_run(visit: Visit) -> Response:
    if visit.site.people.any():
        return visit.go("/sign-in")
    return visit.page("first_run.html", errors={}, values={}, least=LEAST_PASSWORD)


def first_person(visit: Visit) -> Response:
    """The first admin. Whoever holds the admin key may do everything anyway: that is who may do this."""
    if visit.site.people.any():
        return visit.go("/sign-in")
    login, name = login_of(visit.field("login")), visit.field("name")
    errors = password_errors(visit, login)
    key = _admin_key(visit)
    if key is None:
        errors["key"] = visit.say(
            "That is no admin key in use. «collector up» prints it when it starts; it lies in admin.key of the "
            "data folder."
        )
    if not login or len(login) > MOST_NAME or len(login.split()) != 1:
        errors["login"] = visit.say("An e-mail address, or a name without blanks.")
    if key is not None and not errors:
        try:
            with visit.site.people.place():
                person = visit.site.people.add(
                    login, name[:MOST_NAME] or login, "admin", key.tags, visit.secret_field("password")
                )
        except Taken:
            return visit.go("/sign-in")
        visit.note("made_account", who=person.login)
        return _enter_as(visit, person)
    values = {"login": login, "name": name}
    return visit.page("first_run.html", 422, errors=errors, values=values, least=LEAST_PASSWORD)


def link(visit: Visit) -> Response:
    found = _link(visit, links.look(visit.site.engine.client, visit.request.path_params["token"]))
    return visit.page("link.html", kind=found.kind, login=found.login, errors={}, least=LEAST_PASSWORD)


def use_link(visit: Visit) -> Response:
    client, token = visit.site.engine.client, visit.request.path_params["token"]
    found = _link(visit, links.look(client, token))
    if found.kind == "enter":
        found = _link(visit, links.use(client, token))
        visit.note("signed_in", links.ENTERED, who=tags.ADMIN)
        return _enter(visit, visit.site.sessions.begin(key=found.key))
    errors = password_errors(visit, found.login)
    if errors:
        return visit.page(
            "link.html", 422, kind=found.kind, login=found.login, errors=errors, least=LEAST_PASSWORD
        )
    with visit.site.people.place():
        found = _link(visit, links.use(client, token))
        person = visit.site.people.set_password(found.login, visit.secret_field("password"))
    if person is None:
        raise _spent()
    return _enter_as(visit, person)


def sign_out(visit: Visit) -> Response:
    visit.site.sessions.end(visit.secret)
    response = visit.go("/sign-in")
    guard.drop_cookie(response, "session", secure=visit.site.secure)
    return response


def password_errors(visit: Visit, login: str) -> dict[str, str]:
    """What is wrong with the new password of a form, by field."""
    password = visit.secret_field("password")
    if len(password) < LEAST_PASSWORD:
        return {"password": visit.say("At least %(least)d characters: a few words do.", least=LEAST_PASSWORD)}
    if len(password) > MOST_PASSWORD or password.lower() == login:
        return {"password": visit.say("Another one: this is the login, or far too long.")}
    return {}


def _form(visit: Visit, error: str = "", status: int = 200) -> Response:
    onward = visit.field("next") or visit.query("next")
    return visit.page("sign_in.html", status, error=error, login=visit.field("login"), onward=onward)


def _admin_key(visit: Visit) -> ApiKey | None:
    engine = visit.site.engine
    key = tags.lookup(engine.client, visit.field("key"), clock=engine.clock)
    return key if key is not None and key.role == "admin" else None


def _enter_as(visit: Visit, person: Person) -> Response:
    visit.note("signed_in", who=person.login)
    return _enter(visit, visit.site.sessions.begin(login=person.login, generation=person.generation))


def _enter(visit: Visit, token: str) -> Response:
    """On to where the visitor was going, with a session that nobody knew before."""
    response = visit.go(visit.onward(visit.field("next")))
    guard.set_cookie(response, "session", token, secure=visit.site.secure)
    return response


def _link(visit: Visit, found: Link | None) -> Link:
    if found is None or (found.kind == "invite" and visit.site.people.get(found.login) is None):
        raise _spent()
    return found


def _spent() -> Refusal:
    return Refusal(
        410, msg("This link is spent"), msg("It works once, and not for ever. Ask an admin for a new one.")
    )


PAGES = (
    Page("/sign-in", ask, by_password, see=PUBLIC, act=PUBLIC),
    Page("/sign-in/key", None, by_key, see=PUBLIC, act=PUBLIC),
    Page("/first-run", first_run, first_person, see=PUBLIC, act=PUBLIC),
    Page("/link/{token}", link, use_link, see=PUBLIC, act=PUBLIC),
    Page("/sign-out", None, sign_out, see=PUBLIC, act=PUBLIC),
)
