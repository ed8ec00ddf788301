"""Nothing that users build on is undocumented."""

import re

import pytest
from starlette.routing import Route

from collector import connections
from collector.cli.roles import build
from collector.ingest.edge import Edge
from collector.settings import Settings
from collector.stream.partitions import Installation
from tests import tables


@pytest.mark.parametrize("name", tables.TABLES)
def test_the_table_in_the_docs_is_the_table_in_the_code(name: str) -> None:
    document = (tables.DOCS / name).read_text()
    assert tables.written(document) == tables.TABLES[name](), f"docs/{name} is behind. Mend: make tables"


def test_every_route_is_documented() -> None:
    settings = Settings(redis_url="redis://nowhere")
    client = connections.open_async(settings, timeout=1)  # opens nothing until it is used
    installation = Installation(1, b"")
    app = build(Edge(settings, installation, client), client, installation, None)
    documented = "".join(file.read_text() for file in tables.DOCS.glob("*.md"))
    paths = [re.sub(r":\w+}", "}", route.path) for route in app.routes if isinstance(route, Route)]
    assert paths
    missing = [path for path in paths if not re.search(rf"{re.escape(path)}(?![\w/{{.])", documented)]
    assert missing == []


def test_the_line_for_a_balancer_in_front_is_the_proxy_s_own_with_a_condition() -> None:
    own = (tables.DOCS.parent / "deploy" / "proxy" / "haproxy.cfg").read_text()
    (documented,) = re.findall(
        r"`(http-request set-header X-Forwarded-For .+)`", (tables.DOCS / "operate.md").read_text()
    )
    line, condition, _ = documented.partition(" unless { src ")
    assert condition and f"\n  {line}\n" in own
