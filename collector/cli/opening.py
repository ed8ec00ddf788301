"""Opening: the running installation, for a command that asks it or changes it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NamedTuple, NoReturn

import orjson
import typer

from collector import tags
from collector.archive.scan import Moved
from collector.archive.whole import Damaged
from collector.audience.registry import NotFound, TooMuch
from collector.audience.rules import RuleError
from collector.connections import Redis, open_redis
from collector.query.engine import BadQuestion, Engine, NotReady
from collector.settings import BadSetup, Settings, load
from collector.stream.partitions import Installation, open_installation
from collector.tags import Tag

TagOption = Annotated[str, typer.Option("--tag", help="The tag's id, see `collector tag list`.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document for machines.")]


class Opened(NamedTuple):
    """What a command works with."""

    settings: Settings
    client: Redis
    installation: Installation
    engine: Engine

    def tag(self, tag: str) -> Tag:
        """Raises BadSetup when there is none of this id."""
        found = tags.get(self.client, tag)
        if found is None:
            raise BadSetup(f"There is no tag {tag}. Mend: `collector tag list` shows the tags.")
        return found


@contextmanager
def opened(data_dir: Path | None) -> Iterator[Opened]:
    """The installation of COLLECTOR_REDIS_URL, else of the data folder; what goes wrong becomes one line."""
    settings = load(data_dir=data_dir)
    with open_redis(settings) as client:
        installation = open_installation(client, settings)
        try:
            yield Opened(settings, client, installation, Engine(client, installation, settings))
        except NotFound as none:
            raise BadSetup(
                f"There is no audience {none}. Mend: `collector audience list` shows them."
            ) from None
        except (RuleError, BadQuestion) as wrong:
            said = f"{wrong.field}: {wrong.message}"
            raise BadSetup(said if "Mend: " in said else f"{said} Mend: see docs/audiences.md.") from None
        except (TooMuch, NotReady) as cannot:
            fail(str(cannot))
        except Damaged as damaged:
            fail(str(damaged))
        except Moved:
            fail("The archive changed while it was read. Mend: ask again.")


def fail(message: str) -> NoReturn:
    """End with one line and exit 1: nothing was misused, but it cannot be done now."""
    typer.echo(message, err=True)
    raise typer.Exit(1)


def print_json(value: object) -> None:
    typer.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2))
