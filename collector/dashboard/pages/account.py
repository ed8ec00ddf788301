"""Account: one's own password, and the end of one's sessions elsewhere."""

from starlette.responses import Response

from collector.dashboard import guard
from collector.dashboard.page import ANYBODY, Page, Visit
from collector.dashboard.pages.sign_in import password_errors
from collector.dashboard.people import LEAST_PASSWORD, MOST_PASSWORD


def show(visit: Visit) -> Response:
    return _page(visit, {})


def change_password(visit: Visit) -> Response:
    """A new password for the old one; every other session of the person ends."""
    login, site = visit.who.login, visit.site
    if not login:
        return visit.go("/account")
    errors = password_errors(visit, login)
    if errors:
        return _page(visit, errors, 422)
    with site.people.place():
        if wait := site.tries.begin(login):
            errors["old"] = visit.say("Too many tries. The next one counts in %(seconds)d seconds.", seconds=wait)
        elif site.people.check(login, visit.secret_field("old")[:MOST_PASSWORD]) is None:
            errors["old"] = visit.say("That is not your present password.")
        if errors:
            return _page(visit, errors, 422)
        site.tries.forgive(login)
        person = site.people.set_password(login, visit.secret_field("password"))
    response = visit.go("/account?done=password")
    if person is not None:
        token = site.sessions.begin(login=login, generation=person.generation)
        guard.set_cookie(response, "session", token, secure=site.secure)
    return response


def end_sessions(visit: Visit) -> Response:
    visit.site.people.end_sessions(visit.who.login)
    return visit.go("/sign-in")


def _page(visit: Visit, errors: dict[str, str], status: int = 200) -> Response:
    done = visit.query("done") == "password"
    return visit.page("account.html", status, errors=errors, least=LEAST_PASSWORD, done=done)


PAGES = (
    Page("/account", show, change_password, act=ANYBODY),
    Page("/account/sessions", None, end_sessions, act=ANYBODY),
)
