"""People: who may sign in, as what, to which tags; invited and helped by links that work once."""

from starlette.responses import Response

from collector.dashboard import links
from collector.dashboard.languages import msg
from collector.dashboard.links import Link
from collector.dashboard.page import ADMINS, Page, Refusal, Visit
from collector.dashboard.people import MOST_NAME, RANKS, Person, Rank, Taken, login_of


def show(visit: Visit) -> Response:
    return _page(visit)


def invite(visit: Visit) -> Response:
    login, name = login_of(visit.field("login")), visit.field("name")
    errors: dict[str, str] = {}
    if not login or len(login) > MOST_NAME or len(login.split()) != 1:
        errors["login"] = visit.say("An e-mail address, or a name without blanks.")
    if not errors:
        try:
            person = visit.site.people.add(
                login, name[:MOST_NAME] or login, _rank(visit), visit.chosen_tags()
            )
        except Taken:
            errors["login"] = visit.say("There is somebody of this name already.")
        else:
            visit.note("invited_person", f"{person.login} as {person.rank}")
            return _page(visit, invited=person)
    return _page(visit, errors=errors, values={"login": login, "name": name}, status=422)


def change(visit: Visit) -> Response:
    person = visit.site.people.choose(_other(visit).login, _rank(visit), visit.chosen_tags())
    if person is not None:
        visit.note("changed_person", f"{person.login} as {person.rank}")
    return visit.go("/people" + (f"?done=changed#{person.login}" if person else ""))


def new_link(visit: Visit) -> Response:
    """For somebody who lost the password, or the link. The old password holds until the link is used."""
    return _page(visit, invited=_other(visit))


def remove(visit: Visit) -> Response:
    login = _other(visit).login
    visit.site.people.remove(login)
    visit.note("removed_person", login)
    return visit.go("/people?done=removed")


def _page(
    visit: Visit,
    *,
    invited: Person | None = None,
    errors: dict[str, str] | None = None,
    values: dict[str, str] | None = None,
    status: int = 200,
) -> Response:
    address = ""
    if invited is not None:
        token = links.make(
            visit.site.engine.client, Link(kind="invite", login=invited.login), links.INVITE_SECONDS
        )
        address = visit.site.settings.url + links.path(token)
    return visit.page(
        "people.html",
        status,
        people=[person for person in visit.site.people.all() if visit.who.reaches(person.tags)],
        tags=visit.tags(),
        ranks=RANKS,
        invited=invited,
        address=address,
        errors=errors or {},
        values=values or {},
        done=visit.query("done"),
    )


def _other(visit: Visit) -> Person:
    """The person of the path. Raises Refusal for nobody, and for oneself: nobody locks the own door by a slip."""
    person = visit.site.people.get(visit.request.path_params["login"])
    if person is None or not visit.who.reaches(person.tags):
        raise Refusal(404, msg("No such person"), msg("Somebody may have removed them meanwhile."))
    if person.login == visit.who.login:
        raise Refusal(
            409,
            msg("That is you"),
            msg("Another admin can change your place. Your password is in your account."),
        )
    return person


def _rank(visit: Visit) -> Rank:
    rank = visit.field("rank")
    return next((known for known in RANKS if known == rank), "viewer")


PAGES = (
    Page("/people", show, invite, see=ADMINS, title=msg("People"), icon="people"),
    Page("/people/{login}/change", None, change),
    Page("/people/{login}/link", None, new_link),
    Page("/people/{login}/remove", None, remove),
)
