"""Preferences: light or dark, and the language; kept in the browser, for whoever sits before it."""

from starlette.responses import Response

from collector.dashboard import guard
from collector.dashboard.languages import languages
from collector.dashboard.page import PUBLIC, Page, Visit

THEMES = ("auto", "light", "dark")
YEAR = 31_536_000


def keep(visit: Visit) -> Response:
    response = visit.go(visit.onward(visit.field("next")))
    for name, known in (("theme", THEMES), ("language", tuple(languages()))):
        if (value := visit.field(name)) in known:
            guard.set_cookie(response, name, value, secure=visit.site.secure, seconds=YEAR)
    return response


PAGES = (Page("/preferences", None, keep, see=PUBLIC, act=PUBLIC),)
