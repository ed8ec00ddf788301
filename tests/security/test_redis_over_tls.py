"""Redis over TLS with a user and a password: all works, a stranger's server is refused, no secret is told anywhere."""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
import redis

from collector import connections
from collector.embedded import Server
from collector.settings import BadSetup, Settings
from tests.conftest import PATIENCE, Live
from tests.contract.test_cli import collector
from tests.ports import free_port
from tests.security.conftest import ADMIN, GRANTED, ORIGIN

PASSWORD = "s3cret-p@ss/w?rd#1"
QUOTED = "s3cret-p%40ss%2Fw%3Frd%231"


class Secured(NamedTuple):
    port: int
    certificate: Path

    def url(
        self, *, user: str = "collector", password: str = QUOTED, scheme: str = "rediss", trust: bool = True
    ) -> str:
        trusted = f"?ssl_ca_certs={self.certificate}" if trust else ""
        return f"{scheme}://{user}:{password}@localhost:{self.port}/0{trusted}"


@pytest.fixture(scope="module")
def secured(server_binary: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """A server that takes TLS only, with a certificate of its own making and one user."""
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
            ),
            *("-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    (folder / "users.acl").write_text(f"user default off\nuser collector on >{PASSWORD} ~* &* +@all\n")
    port = free_port()
    options = {
        "port": "0",
        "tls-port": str(port),
        "bind": "127.0.0.1",
        "dir": str(folder),
        "appendonly": "yes",
    }
    options |= {
        "tls-cert-file": str(certificate),
        "tls-key-file": str(key),
        "tls-auth-clients": "no",
        "save": "",
    }
    options |= {"appendfsync": "always", "aclfile": str(folder / "users.acl")}
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    with (folder / "out").open("wb") as output:
        process = subprocess.Popen([server_binary.path, *words], stdout=output, stderr=output)
    try:
        found = Secured(port, certificate)
        end = time.monotonic() + PATIENCE
        while True:
            try:
                with redis.Redis.from_url(found.url(), protocol=2) as client:
                    client.ping()
                break
            except redis.RedisError:
                if process.poll() is not None and "tls" in (folder / "out").read_text().lower():
                    pytest.skip("this server was built without TLS")
                assert time.monotonic() < end, (folder / "out").read_text()
                time.sleep(0.05)
        yield found
    finally:
        process.kill()
        process.wait()


def secrets_in(text: str) -> list[str]:
    return [secret for secret in (PASSWORD, QUOTED, "s3cret", ADMIN) if secret in text]


def test_all_of_it_works_over_tls_and_tells_no_secret(secured: Secured, tmp_path: Path) -> None:
    environment = {
        "COLLECTOR_REDIS_URL": secured.url(),
        "COLLECTOR_DATA_DIR": str(tmp_path / "data"),
        "COLLECTOR_PARTITIONS": "2",
        "COLLECTOR_PORT": "0",
        "COLLECTOR_DRAIN_SECONDS": "0",
        "COLLECTOR_ADMIN_KEY": ADMIN,
        "COLLECTOR_LOG_LEVEL": "debug",
    }
    running = [Live([role], environment, tmp_path / f"{role}.out") for role in ("serve", "worker")]
    try:
        url = running[0].await_ready()
        told = []
        with httpx.Client(base_url=url, headers={"authorization": f"Bearer {ADMIN}"}, timeout=30) as http:
            made = http.post("/v1/tags", json={"name": "shop", "origins": [ORIGIN]}).json()
            body = {"consent": GRANTED, "events": [{"event": "lead", "visitor": "anna"}]}
            sent = http.post(
                "/v1/server/events", json=body, headers={"authorization": f"Bearer {made['server_key']}"}
            )
            assert sent.json()["results"][0]["outcome"] == "accepted"
            rule = {"tag": made["tag"], "name": "leads", "rule": {"event": "lead"}}
            audience = http.post("/v1/audiences", json=rule).json()["id"]
            end = time.monotonic() + PATIENCE
            while http.get(f"/v1/audiences/{audience}").json()["size"] != 1:
                assert time.monotonic() < end
                time.sleep(0.05)
            for path in (
                "/metrics",
                "/readyz",
                "/healthz",
                "/openapi.json",
                f"/v1/tags/{made['tag']}/health",
            ):
                told.append(http.get(path).text)
        doctor = collector("doctor", redis_url=secured.url(), data_dir=tmp_path / "data", partitions=2)
        told += [doctor.stdout, doctor.stderr, *(live.text for live in running)]
        told.append(subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout)
        assert "Redis" in doctor.stdout or "Valkey" in doctor.stdout
        assert [secrets_in(text) for text in told] == [[]] * len(told)
    finally:
        for live in running:
            live.process.kill()
            live.process.wait()


def test_a_server_that_cannot_prove_itself_or_does_not_know_us_is_refused(
    secured: Secured, tmp_path: Path
) -> None:
    for wrong in (
        secured.url(trust=False),  # a certificate that nobody vouches for
        secured.url(password="s3cret-guess"),
        secured.url(user="default"),
        secured.url(scheme="redis", trust=False),  # plain, where TLS is spoken
    ):
        ran = collector("doctor", redis_url=wrong, data_dir=tmp_path, **{"append_timeout": 2})
        assert ran.returncode == 1, ran.stdout
        assert "Redis does not answer" in ran.stdout
        assert secrets_in(ran.stdout + ran.stderr) == []


@pytest.mark.parametrize(
    "url",
    [
        f"rediss://collector:{PASSWORD}@localhost:6379/0",  # not quoted: / ? and # end the password too soon
        "redis://collector:s3cret@localhost:s3cret/0",
        "redis://collector:s3cret@localhost:99999999/0",
        "redis://collector:s3cret@[::1/0",
        "rediss://collector:s3cret@localhost:6379/0?ssl_ca_certs=/nowhere/s3cret.pem",
        "redis://collector:s3cret@localhost:6379/0?socket_timeout=s3cret",
        "http://collector:s3cret@localhost:6379/0",
    ],
    ids=range(7),
)
def test_a_url_that_cannot_be_read_is_one_line_without_what_is_in_it(url: str, tmp_path: Path) -> None:
    settings = Settings(redis_url=url, data_dir=tmp_path)
    with (
        pytest.raises((BadSetup, *connections.Unavailable)) as told,
        connections.open_redis(settings, timeout=1) as client,
    ):
        client.ping()
    assert "s3cret" not in str(told.value) and "ss" not in str(told.value).split()
    if isinstance(told.value, BadSetup):
        assert "Mend: " in str(told.value) and "\n" not in str(told.value)


def test_settings_do_not_show_their_secrets(secured: Secured) -> None:
    """Whatever prints them, a test's failure or a debugger's log."""
    settings = Settings(redis_url=secured.url(), admin_key=ADMIN)
    assert secrets_in(f"{settings!r}{settings}") == []


def test_no_secret_is_in_the_environment_of_the_tests() -> None:
    assert not {"COLLECTOR_ADMIN_KEY", "COLLECTOR_REDIS_URL"} & os.environ.keys()
