"""Site: what all pages share."""

from collections.abc import Callable

from collector.dashboard.live import Live
from collector.dashboard.people import People
from collector.dashboard.rendering import Rendering
from collector.dashboard.sessions import Sessions
from collector.dashboard.tries import Tries
from collector.query.engine import Engine
from collector.query.operations import Operations
from collector.settings import Settings
from collector.stream.partitions import Installation
from collector.tags import Tag

Snippet = Callable[[Tag, bool], str]
"""(a tag, whether pinned to this version by its hash) → the lines to paste."""


class Site:
    """The parts behind the pages; `stopping` says when streams are to end, `snippet` what a website pastes."""

    def __init__(
        self,
        engine: Engine,
        installation: Installation,
        settings: Settings,
        stopping: Callable[[], bool] = lambda: False,
        snippet: Snippet = lambda tag, pinned: "",
    ) -> None:
        self.engine = engine
        self.settings = settings
        self.stopping = stopping
        self.snippet = snippet
        self.operations = Operations(engine.client, installation, settings)
        self.secure = settings.url.startswith("https:")
        self.people = People(engine.client, engine.clock)
        self.sessions = Sessions(engine.client, settings, engine.clock)
        self.tries = Tries(engine.client, installation.secret, engine.clock)
        self.live = Live(engine)
        self.rendering = Rendering()
