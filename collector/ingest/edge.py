"""Edge: what every endpoint works with."""

from pathlib import Path

from collector.clock import Clock, system
from collector.connections import AsyncRedis
from collector.health import Tally
from collector.ingest.commit import Committer
from collector.ingest.patience import Patience
from collector.ingest.pressure import Pressure
from collector.ingest.tagfiles import STATIC, TagFiles
from collector.settings import Settings
from collector.stream.append import Appender
from collector.stream.partitions import Installation
from collector.tags import TagCache


class Edge:
    """The parts of one edge process. They ask Redis when they are used, not when they are made."""

    def __init__(
        self,
        settings: Settings,
        installation: Installation,
        client: AsyncRedis,
        *,
        clock: Clock = system,
        static: Path = STATIC,
    ) -> None:
        self.settings = settings
        self.secret = installation.secret
        self.clock = clock
        self.tags = TagCache(client, settings, clock=clock)
        self.committer = Committer(Appender(client, installation, settings))
        self.patience = Patience(settings.body_timeout)
        self.tally = Tally(client, clock)
        self.pressure = Pressure(client, settings)
        self.files = TagFiles(static)
        self.draining = False  # set by whoever stops the process, so that /readyz says so first
