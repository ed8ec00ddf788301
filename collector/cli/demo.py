"""`collector demo`: the demo shop of `up --demo`, with a tag of its own and a marketer's key."""

import signal
from typing import Annotated
from urllib.parse import urlsplit

import typer
import uvicorn

from collector import log, tags
from collector.cli import roles
from collector.cli.options import DataDir
from collector.cli.snippet import snippet
from collector.connections import Redis, open_redis
from collector.settings import BadSetup, Settings, load

TAG_NAME = "demo shop"
ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 — what listens everywhere is reached here


def demo(
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="The shop's port.")],
    data_dir: DataDir = None,
) -> None:
    """Serve the demo shop beside a running collector."""
    settings = load(data_dir=data_dir)
    log.configure(settings.log_level)
    from collector.demo import shop  # here: the other commands need not wait for it

    with roles.listen(settings.model_copy(update={"port": port})) as listener:
        url = shop_url(settings, listener.getsockname()[1])
        with open_redis(settings) as client:
            tag = _tag(client, url)
            key = _key(client, tag)
        app = shop.build(
            snippet(settings.url, tag, vendor=settings.tcf_vendor_id),
            tag.id,
            collector=settings.url,
            inside=inside(settings),
            origin=url,
            key=key,
        )
        config = uvicorn.Config(
            app, access_log=False, log_config=None, ws="none", timeout_graceful_shutdown=2
        )
        _Server(config).run(sockets=[listener])


class _Server(uvicorn.Server):
    """uvicorn, but a stop that was asked for ends with exit code 0."""

    def handle_exit(self, sig: int, frame: object) -> None:
        self.should_exit = True
        self.force_exit = sig == signal.SIGINT


def beside(settings: Settings) -> int:
    """The shop's port: the one after the collector's, or where that is taken a free one."""
    following = settings.port + 1
    try:
        with roles.listen(
            settings.model_copy(update={"port": following if following < 1 << 16 else 0})
        ) as probe:
            return int(probe.getsockname()[1])
    except BadSetup:
        with roles.listen(settings.model_copy(update={"port": 0})) as probe:
            return int(probe.getsockname()[1])


def shop_url(settings: Settings, port: int) -> str:
    """The shop's URL as browsers see it: the collector's host, another port, and so another origin."""
    own = urlsplit(settings.url)
    host = ANYWHERE.get(own.hostname or "", own.hostname or "")
    return f"{own.scheme}://{_bracketed(host)}:{port}"


def inside(settings: Settings) -> str:
    """The collector's URL for those on its own machine."""
    return f"http://{_bracketed(ANYWHERE.get(settings.host, settings.host))}:{settings.port}"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _tag(client: Redis, url: str) -> tags.Tag:
    """The shop's tag, which allows this origin and its other names on this machine."""
    port = urlsplit(url).port
    origins = dict.fromkeys([url, *(f"http://{name}:{port}" for name in ("127.0.0.1", "localhost"))])
    for tag in tags.list_tags(client):
        if tag.name == TAG_NAME:
            return tags.allow(client, tag, list(origins))
    return tags.create_tag(client, TAG_NAME, list(origins), "opt_in")[0]


def _key(client: Redis, tag: tags.Tag) -> str:
    """A key for this run alone: nothing keeps it, and those of earlier runs end."""
    for known in tags.list_keys(client):
        if known.name == TAG_NAME and not known.revoked_at:
            tags.revoke(client, known.id)
    return tags.create_key(client, TAG_NAME, "marketer", tags=(tag.id,))[1]
