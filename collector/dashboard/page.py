"""Page and Visit: what a page is, and what it is given."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from collector import audit, tags
from collector.audit import Act
from collector.dashboard import guard
from collector.dashboard.languages import Language, msg
from collector.dashboard.people import RANKS, Rank
from collector.dashboard.site import Site
from collector.tags import Tag

ANYBODY: tuple[Rank, ...] = RANKS
EDITORS: tuple[Rank, ...] = ("admin", "marketer")
ADMINS: tuple[Rank, ...] = ("admin",)
PUBLIC: tuple[Rank, ...] = ()


class Who(NamedTuple):
    """Somebody who is signed in: a person, or the holder of an admin key (no login)."""

    name: str
    rank: Rank
    tags: tuple[str, ...] | None
    login: str = ""

    def covers(self, tag: str) -> bool:
        return self.tags is None or tag in self.tags

    def reaches(self, tags: Sequence[str] | None) -> bool:
        """Whether this admin may manage what is bound to these tags: no admin gives or takes more than the own."""
        return self.tags is None or bool(tags and set(tags) <= set(self.tags))


class Refusal(Exception):
    """The page cannot be shown: this status, and in words what is wrong and what to do."""

    def __init__(self, status: int, title: str, words: str) -> None:
        super().__init__(title)
        self.status, self.title, self.words = status, title, words


class Visit:
    """One request to a page that its visitor may see."""

    def __init__(self, site: Site, request: Request, language: Language, nonce: str, secret: str) -> None:
        self.site = site
        self.request = request
        self.language = language
        self.nonce = nonce
        self.form = FormData()
        self._who: Who | None = None
        self.secret = secret  # the cookie that the forms' tokens hang on

    def admit(self, who: Who | None, token: str) -> None:
        """Known to be this one from here on; the forms of a session hang on its token."""
        self._who = who
        if who is not None:
            self.secret = token

    @property
    def who(self) -> Who:
        """Never absent on a page that is not public."""
        if self._who is None:
            raise LookupError("a public page asked who is signed in")
        return self._who

    @property
    def signed_in(self) -> bool:
        return self._who is not None

    def need_every_tag(self) -> None:
        """For what is about the whole installation. Raises Refusal for an admin who is bound to some tags."""
        if self.who.tags is not None:
            raise Refusal(
                403, msg("Not yours to see"), msg("You are bound to some tags, and this is about all of them.")
            )

    def say(self, text: str, **named: object) -> str:
        """A text in the visitor's language."""
        return self.language.say(text, **named)

    def query(self, name: str, default: str = "") -> str:
        return self.request.query_params.get(name, default)

    def field(self, name: str) -> str:
        """A field of the form that was sent, without the blanks around it; "" if it was not."""
        value = self.form.get(name, "")
        return value.strip() if isinstance(value, str) else ""

    def secret_field(self, name: str) -> str:
        """A password, as it was typed."""
        value = self.form.get(name, "")
        return value if isinstance(value, str) else ""

    def fields(self, name: str) -> list[str]:
        return [value for value in self.form.getlist(name) if isinstance(value, str)]

    def tags(self) -> list[Tag]:
        """The tags that this visitor may see."""
        found = tags.list_tags(self.site.engine.client)
        return [tag for tag in found if self.who.covers(tag.id)]

    def usual_tag(self) -> str:
        """The id of the tag to begin with: that of the newest audience, else the first; "" without any."""
        known = [tag.id for tag in self.tags()]
        used = [audience.tag for audience in self.site.engine.registry.all() if audience.tag in known]
        return (used[-1:] or known[:1] or [""])[0]

    def chosen_tags(self) -> list[str] | None:
        """The tags that a form binds somebody or something to; None is every tag, for whom has every tag."""
        known = [tag.id for tag in self.tags()]
        if self.field("scope") == "some":
            return [tag for tag in known if tag in self.fields("tag")]
        return None if self.who.tags is None else known

    def onward(self, path: str) -> str:
        """A path of the dashboard that came with a form; the list of audiences if it is none."""
        return path if path.startswith("/") else "/audiences"

    def _here(self) -> str:
        """Where a preference leads back to: what was asked for, or the page whose form was sent."""
        path, query = self.request.url.path.removeprefix(guard.PATH), self.request.url.query
        if self.request.method == "POST":
            return f"/{path.split('/')[1]}"
        return f"{path}?{query}" if query else path

    def note(self, act: Act, what: str = "", tag: str = "", *, who: str = "") -> None:
        """Into the log of who did what; `who` where nobody is signed in yet."""
        audit.note(
            self.site.engine.client, who or self.who.login or tags.ADMIN, "dashboard", act, what, tag
        )

    def page(self, template: str, status: int = 200, **context: Any) -> Response:
        """The answer: a template of `templates/`, filled."""
        text = self.site.rendering.fill(
            template,
            self.language,
            nonce=self.nonce,
            token=guard.form_token(self.secret),
            who=self._who,
            theme=self.request.cookies.get(guard.cookie_name("theme", self.site.secure), ""),
            here=self._here(),
            **context,
        )
        return Response(text, status, media_type="text/html; charset=utf-8")

    def go(self, path: str) -> Response:
        """The answer to a form that was taken: on to another page of the dashboard, as /keys."""
        return RedirectResponse(guard.PATH + path, 303)


Handle = Callable[[Visit], Response]


class Page(NamedTuple):
    """One address. see, act: the ranks that may GET and POST it; PUBLIC is everybody, signed in or not.

    title: its name in the menu, under which it stands if it has an icon.
    """

    path: str
    show: Handle | None = None
    do: Handle | None = None
    see: Sequence[Rank] = ANYBODY
    act: Sequence[Rank] = ADMINS
    title: str = ""
    icon: str = ""
