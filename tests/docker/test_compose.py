"""`docker compose up` alone gives a whole installation, which loses nothing that it acknowledged."""

import json
import os
import re
import shlex
import socket
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.docker.compose import CHROME, ORIGIN, ROOT, Compose, Shopper, engine, eventually

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not os.environ.get("COLLECTOR_DOCKER_TEST"), reason="make docker-test runs it"),
]
OPERATE = ROOT / "docs" / "operate.md"
# The event ids in the files that the manifests list; a file beside them was replaced, or never put in force.
IDS = """
import duckdb, redis, sys
with open("/run/secrets/collector_redis_url") as secret:
    client = redis.Redis.from_url(secret.read().strip(), decode_responses=True)
files = [
    f"/data/archive/p{number:02d}/{sys.argv[1]}/{name}.parquet"
    for number in range(16)
    for name in client.hkeys(f"{{p{number:02d}}}:{sys.argv[1]}:manifest")
]
for row in duckdb.read_parquet(files, union_by_name=True).select("event_id").fetchall() if files else []:
    print(row[0])
"""


@pytest.fixture(scope="module")
def compose(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Compose]:
    """Built from this tree and started; afterwards no container, volume, network or image of it is left."""
    assert not engine(), engine()
    project = Compose(tmp_path_factory.mktemp("compose"))
    try:
        project.run("build")
        project.up()
        yield project
    finally:
        project.down("--volumes", "--rmi", "all")


def test_every_container_has_the_least_rights(compose: Compose) -> None:
    containers = compose.containers()
    services = [container["Config"]["Labels"]["com.docker.compose.service"] for container in containers]
    assert sorted(services) == ["proxy", "redis", "serve", "worker"]
    for service, container in zip(services, containers, strict=True):
        host = container["HostConfig"]
        assert container["Config"]["User"] == "10001:10001", service
        assert host["ReadonlyRootfs"] and host["CapDrop"] == ["ALL"], service
        assert "no-new-privileges:true" in host["SecurityOpt"], service
        published = {port for port, bound in container["NetworkSettings"]["Ports"].items() if bound}
        assert published == ({"8080/tcp", "8443/tcp"} if service == "proxy" else set()), service
        assert not [value for value in container["Config"]["Env"] if "redis://" in value], service


def test_each_service_sees_its_own_secret_alone(compose: Compose) -> None:
    for service in ("serve", "worker"):
        seen = compose.run("exec", "-T", service, "sh", "-c", "cat /run/secrets/*")
        assert seen.startswith(f"redis://{service}:") and seen.count("redis://") == 1


def test_the_proxy_ends_slow_headers_and_slow_bodies(compose: Compose) -> None:
    """The first bytes of a request, and then nothing: within some 10 s it is told 408 or hung up on."""
    beginnings = [
        b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\n",
        b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{",
    ]
    trust, began = compose.certificate(), time.monotonic()
    held = []
    for beginning in beginnings:
        plain = socket.create_connection(("localhost", compose.https))
        connection = trust.wrap_socket(plain, server_hostname="localhost")
        connection.sendall(beginning)
        connection.settimeout(15)
        held.append(connection)
    for connection in held:
        with connection:
            assert connection.recv(100)[:12] in (b"HTTP/1.1 408", b"")
    assert 5 < time.monotonic() - began < 15


def test_the_proxy_refuses_a_header_that_the_edge_would_parse(compose: Compose) -> None:
    with compose.client(Cookie="x" * 20_000) as client:
        assert client.get("/healthz").status_code in (400, 431)


def test_plain_http_is_led_to_tls_and_metrics_stay_inside(compose: Compose) -> None:
    led = httpx.get(f"http://localhost:{compose.http}/tag.js")
    assert led.status_code == 308 and led.headers["location"].startswith("https://")
    with compose.client() as client:
        assert client.get("/tag.js").status_code == 200
        assert client.get("/metrics").status_code == client.get("/readyz").status_code == 404


def test_the_visitor_cookie_is_secure_behind_the_proxy(compose: Compose) -> None:
    tag = json.loads(compose.admin("tag", "create", "Cookies", "--origin", "https://localhost", "--json"))[
        "tag"
    ]
    granted = dict.fromkeys(("ad_storage", "ad_user_data", "ad_personalization"), "granted")
    with compose.client(Origin="https://localhost", **{"User-Agent": CHROME}) as client:
        answer = client.post(
            "/v1/events", json={"tag": tag, "consent": granted, "events": [{"event": "lead"}]}
        )
    assert "secure" in answer.headers["set-cookie"].lower()


def test_nothing_acknowledged_is_lost_through_scaling_crashes_and_a_new_start(compose: Compose) -> None:
    tag = json.loads(compose.admin("tag", "create", "Shop", "--origin", ORIGIN, "--json"))["tag"]
    key = compose.run("exec", "-T", "serve", "cat", "/data/admin.key").strip()
    with (
        compose.client(Authorization=f"Bearer {key}") as marketer,
        compose.client(Origin=ORIGIN, **{"User-Agent": CHROME}) as browser,
    ):
        made = marketer.post(
            "/v1/audiences", json={"tag": tag, "name": "Carts", "rule": {"event": "addtocart"}}
        )
        audience = f"/v1/audiences/{made.raise_for_status().json()['id']}"
        shopper = Shopper(browser, tag)
        shopper.start()
        _live_dangerously(compose, shopper)
        shopper.stop()
        assert shopper.repeats > 0, "the faults were not felt: nothing was tried"
        visitors = len(set(shopper.acknowledged.values()))
        eventually(
            lambda: marketer.get(f"{audience}/size").json().get("size") == visitors,
            f"all {visitors} visitors are counted, and nobody else",
            30,
        )
    archived: Counter[str] = Counter()

    def all_archived() -> bool:
        archived.clear()
        archived.update(
            compose.run("run", "--rm", "-T", "--entrypoint", "python", "admin", "-c", IDS, tag).split()
        )
        return shopper.acknowledged.keys() <= archived.keys()

    eventually(all_archived, "every acknowledged event is in the archive", 60)
    assert not [event for event in shopper.acknowledged if archived[event] > 1], "an event was archived twice"
    findings = json.loads(compose.admin("doctor", "--json"))
    assert not [finding for finding in findings if finding["state"] == "fail"], findings


def test_a_backup_is_made_and_restored_by_the_lines_of_operate_md(compose: Compose, tmp_path: Path) -> None:
    tag = json.loads(compose.admin("tag", "create", "Kept", "--origin", ORIGIN, "--json"))["tag"]
    key = compose.run("exec", "-T", "serve", "cat", "/data/admin.key").strip()
    tmp_path.chmod(0o777)  # the page has the folder owned by the containers' user
    for folder in tmp_path.parents[:3]:  # pytest's own are for their owner alone
        folder.chmod(folder.stat().st_mode | 0o011)
    with (
        compose.client(Authorization=f"Bearer {key}") as marketer,
        compose.client(Origin=ORIGIN, **{"User-Agent": CHROME}) as browser,
    ):
        rule = {"event": "addtocart"}
        made = marketer.post("/v1/audiences", json={"tag": tag, "name": "Kept", "rule": rule})
        size = f"/v1/audiences/{made.raise_for_status().json()['id']}/size"

        def members() -> int:
            answer = marketer.get(size)
            return int(answer.json().get("size", -1)) if answer.status_code == 200 else -1

        shopper = Shopper(browser, tag)
        shopper.start()
        shopper.await_progress(20)
        shopper.stop()
        kept = len(set(shopper.acknowledged.values()))
        eventually(lambda: members() == kept, f"{kept} visitors are counted")
        _, backup, _ = _lines("admin backup /backups/monday")  # between the folder and the line for cron
        _follow(compose, backup, tmp_path)
        later = Shopper(browser, tag)
        later.acknowledged = {str(n): f"{n:032x}" for n in range(2 * kept)}  # so that its visitors are others
        later.start()
        later.await_progress(20)
        later.stop()
        eventually(lambda: members() > kept, "more are counted after the backup")
        *restore, clear = _lines("recovery restore /backups/monday")
        for line in restore:
            _follow(compose, line, tmp_path)
        compose.up()
        eventually(lambda: members() == kept, f"the {kept} of the backup are counted again", 60)
        _follow(compose, clear, tmp_path)
    findings = json.loads(compose.admin("doctor", "--json"))
    assert not [finding for finding in findings if finding["state"] == "fail"], findings


def _lines(about: str) -> list[str]:
    """The block of lines for a shell in docs/operate.md that one with `about` is in."""
    blocks = re.findall(r"(?:^    .+\n)+", OPERATE.read_text(), re.MULTILINE)
    (block,) = [block for block in blocks if about in block]
    return [line.strip() for line in block.splitlines()]


def _follow(compose: Compose, line: str, backups: Path) -> None:
    """Do what a line of the page says, with this folder for its own, and no terminal."""
    for command in line.replace("/srv/backups", str(backups)).split(" && docker compose "):
        words = shlex.split(command.removeprefix("docker compose "))
        if words[0] in ("run", "exec"):
            words.insert(1, "-T")
        compose.run(*words)


def _live_dangerously(compose: Compose, shopper: Shopper) -> None:
    """Scale, crash, and start anew, while events come."""
    shopper.await_progress()
    compose.up(serve=2, worker=2)
    shopper.await_progress(200)
    assert all(_requests(compose, index) > 0 for index in (1, 2)), "one replica of serve got no request"
    for service in ("serve", "worker", "redis", "proxy"):
        compose.kill(service)
        eventually(lambda: all(state["Running"] for state in compose.states()), f"{service} runs again")
        shopper.await_progress()
    compose.run("stop", "redis")
    shopper.await_progress()  # into the spool: the proxy still sends to replicas that are alive
    compose.run("start", "redis")
    compose.down()  # the volumes stay: so an upgrade goes
    compose.up(serve=2, worker=2)
    shopper.await_progress()


def _requests(compose: Compose, index: int) -> float:
    """Events routes' requests that a replica of serve has answered."""
    script = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:8000/metrics').read().decode())"
    text = compose.run("exec", "-T", "--index", str(index), "serve", "python", "-c", script)
    return sum(
        float(line.split()[-1]) for line in text.splitlines() if "_total{" in line and '"/v1/events"' in line
    )
