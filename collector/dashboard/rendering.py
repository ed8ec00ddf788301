"""Rendering: templates filled in a language, everything escaped; static files with their digest in the address."""

import hashlib
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader

from collector.clock import parse_iso
from collector.dashboard import guard
from collector.dashboard.languages import Language, languages

HERE = Path(__file__).parent
STATIC = HERE / "static"


@cache
def address(name: str) -> str:
    """Where a static file is, for ever: another content has another address."""
    digest = hashlib.sha256(files("collector").joinpath("dashboard", "static", name).read_bytes())
    return f"{guard.PATH}/static/{name}?v={digest.hexdigest()[:12]}"


class Rendering:
    """The templates; `menu` is set by who knows all pages."""

    def __init__(self) -> None:
        self.menu: list[Any] = []
        self._environments = {code: self._environment(language) for code, language in languages().items()}

    def fill(self, template: str, language: Language, **context: Any) -> str:
        page = self._environments[language.code].get_template(template)
        return page.render(language=language, menu=self.menu, **context)

    def _environment(self, language: Language) -> Environment:
        environment = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=["jinja2.ext.i18n"],
        )
        environment.install_gettext_translations(language.words, newstyle=True)  # type: ignore[attr-defined]
        environment.globals |= {"static": address, "languages": languages(), "root": guard.PATH}
        environment.filters["number"] = language.number
        environment.filters["decimal"] = language.decimal
        environment.filters["change"] = language.change
        environment.filters["time"] = language.time
        environment.filters["day"] = language.day
        environment.filters["unix"] = lambda iso: int(parse_iso(iso))
        return environment
