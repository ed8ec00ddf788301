"""In Redis each role may do its work, and nothing else."""

import gzip
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from collector import connections
from collector.dashboard import links
from collector.dashboard.links import Link
from collector.dashboard.people import People
from collector.dashboard.sessions import Sessions
from collector.dashboard.tries import Tries
from collector.embedded import Server
from collector.settings import load
from collector.worker.chores import TABLE, Duty
from tests.conftest import Start
from tests.docker.redis import ROLES, SOURCE, DeployedRedis
from tests.ports import free_port
from tests.unit.parts import NOW, TAG, Parts

ORIGIN = "https://shop.example"
KEY = "the-admin-key-of-this-test"
CHROME = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"
)
DAY = 86_400


@pytest.fixture(scope="module")
def deployed(server_binary: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeployedRedis]:
    with DeployedRedis(server_binary, tmp_path_factory.mktemp("deployed")) as running:
        yield running


def test_redis_is_set_up_for_every_promise(deployed: DeployedRedis) -> None:
    connections.check_server(deployed.client("serve"), load(redis_url=deployed.url("serve")))
    config: Any = deployed.operator.config_get("*")
    wanted = {
        "appendonly": "yes",
        "appendfsync": "always",
        "maxmemory-policy": "noeviction",
        "aof-use-rdb-preamble": "no",  # so that an erasure can be proven by reading the file
        "rdbcompression": "no",
        "maxmemory": str(256 << 20),
        "save": "",
    }
    assert {name: config[name] for name in wanted} == wanted


Command = tuple[str, ...]

REFUSED_TO_ALL: list[Command] = [
    ("FLUSHALL",),
    ("CONFIG", "SET", "appendonly", "no"),
    ("SHUTDOWN", "NOSAVE"),
    ("KEYS", "*"),
    ("ACL", "LIST"),
    ("ACL", "SETUSER", "mallory", "on"),
    ("SCRIPT", "FLUSH"),
    ("FUNCTION", "FLUSH"),
    ("REPLICAOF", "evil.example", "6379"),
    ("MONITOR",),
    ("SET", "elsewhere", "1"),
    ("GET", "elsewhere"),
]
RECOVERY_ONLY: list[Command] = [("FLUSHDB",), ("SWAPDB", "0", "1"), ("CLIENT", "LIST")]
REFUSED_TO_ONE: list[tuple[str, Command]] = [
    *((role, command) for role in ROLES if role != "recovery" for command in RECOVERY_ONLY),
    ("edge", ("XRANGE", "{p00}:events", "-", "+")),  # it writes events and never reads them
    ("edge", ("GET", "{p00}:2612345678901:col:leaf:0:0")),
    ("edge", ("HGETALL", "{c}:audiences")),
    ("edge", ("HSET", "{c}:api_keys", "x", "{}")),
    ("edge", ("HSET", "{c}:tags", "2612345678901", "{}")),
    ("edge", ("DEL", "{p00}:events")),
    ("worker", ("HGETALL", "{c}:api_keys")),
    ("worker", ("HSET", "{c}:tags", "2612345678901", "{}")),
    ("query", ("BGREWRITEAOF",)),
    ("health", ("INFO",)),
    ("health", ("GET", "{c}:tags")),
]


@pytest.mark.parametrize(
    ("role", "command"), [(role, command) for role in ROLES for command in REFUSED_TO_ALL] + REFUSED_TO_ONE
)
def test_what_a_role_has_no_business_with_is_refused(
    deployed: DeployedRedis, role: str, command: Command
) -> None:
    with deployed.client(role) if role in ROLES else _health(deployed) as client:
        assert client.ping()
        with pytest.raises(redis.ResponseError, match="permissions"):
            client.execute_command(*command)


def _health(deployed: DeployedRedis) -> redis.Redis:
    port = deployed.operator.connection_pool.connection_kwargs["port"]
    return redis.Redis(port=port, username="health", password="any", protocol=2)


def test_a_script_gains_no_right_for_its_caller(deployed: DeployedRedis) -> None:
    with (
        deployed.client("edge") as edge,
        pytest.raises(redis.ResponseError, match=r"ACL failure|permission|can.t run"),
    ):
        edge.eval("return redis.call('FLUSHALL')", 0)


def test_who_has_no_user_gets_nothing(deployed: DeployedRedis) -> None:
    port = deployed.operator.connection_pool.connection_kwargs["port"]
    for password in (None, "", "guess"):
        stranger = redis.Redis(port=port, password=password, protocol=2, retry=Retry(NoBackoff(), 0))
        with pytest.raises((redis.AuthenticationError, redis.ResponseError)):
            stranger.ping()


def test_a_worker_may_do_every_chore(deployed: DeployedRedis, tmp_path: Path) -> None:
    deployed.operator.flushall()
    deployed.operator.acl_log_reset()
    parts = Parts(deployed.operator, load(redis_url=deployed.url("admin"), data_dir=tmp_path), partitions=16)
    gone = parts.registry.create(TAG, "an audience", "", {"event": "addtocart"})
    parts.registry.edit(gone, name="another", description=None, rule=None)
    parts.registry.delete(gone)
    parts.columns().forget(TAG, "anna", "tombstone", NOW)
    parts.now += DAY  # past the grace of a deletion, and the wait of an erasure
    with deployed.client("worker") as client:
        duty = Duty(client, parts.installation, 0, parts.settings, parts.clock)
        for chore in TABLE:
            chore.do(duty)
    refusals: Any = deployed.operator.acl_log()
    assert [(line["reason"], line["object"]) for line in refusals] == []
    assert deployed.operator.keys("{c}:deleted") + deployed.operator.keys("{c}:edits:*") == []


@pytest.mark.parametrize("role", ["query", "serve"])
def test_a_dashboard_may_let_people_in(deployed: DeployedRedis, role: str, tmp_path: Path) -> None:
    with deployed.client(role) as client:
        people, password = People(client, time.time), "three words do"
        assert people.add(f"of-{role}", "", "admin", None, password)
        assert people.check(f"of-{role}", password)
        assert people.choose(f"of-{role}", "viewer", []) and people.end_sessions(f"of-{role}")
        assert people.set_password(f"of-{role}", "other words do")
        tries = Tries(client, b"secret", time.time)
        assert tries.begin(role) == 0
        tries.forgive(role)
        sessions = Sessions(client, load(data_dir=tmp_path), time.time)
        token = sessions.begin(login=f"of-{role}")
        assert sessions.find(token)
        sessions.end(token)
        assert links.use(client, links.make(client, Link(kind="invite", login=f"of-{role}"), 60))
        assert people.remove(f"of-{role}")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_role_can_do_its_work_and_meets_no_refusal(
    deployed: DeployedRedis, start: Start, tmp_path: Path
) -> None:
    operator = deployed.operator
    operator.acl_log_reset()
    common = {"data_dir": tmp_path, "admin_key": KEY, "flush_seconds": 0.2, "history_seconds": 1}
    run = _commands(deployed, tmp_path)
    edge = start("serve", "--only", "edge", redis_url=deployed.url("edge"), **common)
    query = start("serve", "--only", "query", redis_url=deployed.url("query"), **common)
    both = start("serve", redis_url=deployed.url("serve"), **common)
    worker = start("worker", redis_url=deployed.url("worker"), **common)

    made = json.loads(run("tag", "create", "Shop", "--origin", ORIGIN, "--json"))
    tag, visitor = made["tag"], "0" * 31 + "1"
    for number, process in enumerate((edge, both)):
        _send(process.await_ready(), tag, f"{number:032x}")

    past = tmp_path / "past.csv.gz"
    past.write_bytes(
        gzip.compress(f"event_time,visitor,event\n{int(time.time()) - DAY},v1,addtocart\n".encode())
    )
    run("import", str(past), "--tag", tag, "--consent-attested", "test")

    rule = {"event": "addtocart", "retention_days": 30}
    file = tmp_path / "carts.json"
    file.write_text(json.dumps(rule))
    for api in (query.await_ready(), both.await_ready()):
        _ask(api, tag, rule, visitor)
    audience = json.loads(run("audience", "create", tag, str(file), "--json"))["id"]
    _eventually(lambda: run("audience", "size", audience).startswith("3 visitors"))
    run("audience", "export", audience)
    run("key", "create", "--role", "marketer")
    run("subject", visitor, "--tag", tag)
    run("forget", visitor, "--tag", tag, "--now")  # waits for the proof
    _eventually(lambda: run("audience", "size", audience).startswith("2 visitors"))
    httpx.delete(f"{both.url}/v1/visitors/v1", params={"tag": tag}, headers=_bearer()).raise_for_status()
    _eventually(lambda: run("audience", "size", audience).startswith("1 visitor,"))
    run("doctor")
    run("backup", str(tmp_path / "backup"))
    run("dead", "list")
    run("erasures", "--tag", tag)
    for process in (edge, query, both, worker):
        assert process.stop() == 0
    run("rebuild", role="recovery")
    operator.flushall()
    lost = (tmp_path / "archive").rename(tmp_path / "lost")
    run("restore", str(tmp_path / "backup"), "--erased", str(lost), role="recovery")

    refusals: Any = operator.acl_log()
    assert [(line["username"], line["reason"], line["object"]) for line in refusals] == []


@pytest.mark.slow
def test_every_role_can_do_its_work_on_a_cluster_and_wait_for_replicas(
    server_binary: Server, start: Start, tmp_path: Path
) -> None:
    bus = str(free_port())
    with DeployedRedis(
        server_binary, tmp_path / "redis", "--cluster-enabled", "yes", "--cluster-port", bus
    ) as deployed:
        operator: Any = deployed.operator
        operator.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16_383)
        _eventually(lambda: operator.execute_command("CLUSTER INFO")["cluster_state"] == "ok")
        common = {"data_dir": tmp_path, "admin_key": KEY, "flush_seconds": 0.2}
        run = _commands(deployed, tmp_path)
        both = start("serve", redis_url=deployed.cluster("serve"), **common)
        worker = start("worker", redis_url=deployed.cluster("worker"), **common)
        query = start("serve", "--only", "query", redis_url=deployed.cluster("query"), **common)
        tag = json.loads(run("tag", "create", "Shop", "--origin", ORIGIN, "--json", many=True))["tag"]
        # Without a replica these two never hear that one has the event: their spools take it.
        waiting = {**common, "wait_replicas": 1, "append_timeout": 0.5}
        for number, role in enumerate(("edge", "serve")):
            only = ("--only", "edge") if role == "edge" else ()
            url, spool = deployed.cluster(role), tmp_path / f"spool-{role}"
            process = start("serve", *only, redis_url=url, **{**waiting, "spool_dir": spool})
            _send(process.await_ready(), tag, f"{number:032x}")
        past = tmp_path / "past.csv"
        past.write_text(f"event_time,visitor,event\n{int(time.time()) - DAY},v1,addtocart\n")
        run("import", str(past), "--tag", tag, "--consent-attested", "test", many=True)
        for api in (query.await_ready(), both.await_ready()):
            _ask(api, tag, {"event": "addtocart"}, "v1")
        run("forget", "v1", "--tag", tag, "--now", many=True)  # waits for the proof
        run("doctor", many=True)
        for role in ("edge", "serve", "worker", "admin"):
            with deployed.client(role) as client:
                client.wait(0, 1)
        assert worker.stop() == 0
        refusals = operator.acl_log()
        assert [(line["username"], line["reason"], line["object"]) for line in refusals] == []


def test_passwords_outlive_a_restart_and_none_is_kept_in_plain_in_the_users_file(
    server_binary: Server, tmp_path: Path
) -> None:
    with DeployedRedis(server_binary, tmp_path) as first:
        passwords = {role: first.url(role).split(":")[2].split("@")[0] for role in ROLES}
    assert len(set(passwords.values())) == len(ROLES)
    assert all(len(password) == 64 for password in passwords.values())
    users = (tmp_path / "users.acl").read_text()
    assert not [role for role, password in passwords.items() if password in users]
    with DeployedRedis(server_binary, tmp_path) as second:
        assert {role: second.url(role).split(":")[2].split("@")[0] for role in ROLES} == passwords


def test_what_a_script_wrote_is_there_after_a_restart(server_binary: Server, tmp_path: Path) -> None:
    """Redis reads its file as the user `default`: what that may not do would be left out without an error."""
    with DeployedRedis(server_binary, tmp_path) as first, first.client("worker") as client:
        client.eval(
            "redis.call('HSET', KEYS[1], 'a', 1) redis.call('HSET', KEYS[1], 'b', 2)", 1, "{p00}:state"
        )
    with DeployedRedis(server_binary, tmp_path) as second, second.client("worker") as client:
        assert client.hgetall("{p00}:state") == {b"a": b"1", b"b": b"2"}


def test_a_redis_of_one_s_own_takes_the_users_by_the_line_of_operate_md(
    server_binary: Server, tmp_path: Path
) -> None:
    page = (SOURCE.parents[1] / "docs" / "operate.md").read_text()
    (line,) = re.findall(r"^    (.*deploy/redis/start --users)$", page, re.MULTILINE)
    port = free_port()
    line = line.replace("redis.example:6379", f"127.0.0.1:{port}").replace("deploy/redis", str(SOURCE))
    environment = {**os.environ, "REDIS_SERVER": str(server_binary.path)}
    subprocess.run(["sh", "-c", line], cwd=tmp_path, env=environment, check=True)
    users = ("--aclfile", tmp_path / "collector.acl", "--port", str(port), "--bind", "127.0.0.1")
    with subprocess.Popen([server_binary.path, *users, "--save", ""], cwd=tmp_path) as process:
        try:
            for role in ROLES:
                url = (tmp_path / "secrets" / role / "collector_redis_url").read_text().strip()
                with redis.Redis.from_url(url, protocol=2, retry=Retry(NoBackoff(), 0)) as client:
                    _eventually(lambda: _answers(client))
        finally:
            process.terminate()


def _answers(client: redis.Redis) -> bool:
    with suppress(redis.ConnectionError):
        return bool(client.ping())
    return False


def test_a_secret_without_a_password_is_refused_in_one_line(server_binary: Server, tmp_path: Path) -> None:
    broken = DeployedRedis(server_binary, tmp_path)
    (broken.secrets / "worker" / "collector_redis_url").write_text("redis://redis:6379/0\n")
    process = broken.launch()
    said = process.communicate(timeout=20)[0]
    assert process.returncode == 1
    assert said.count("\n") == 1
    assert "Mend:" in said and "worker" in said


def _commands(deployed: DeployedRedis, folder: Path) -> Callable[..., str]:
    """run(*arguments, role="admin", many=False): a command as that user; its output. Fails when it ends in an error.

    many: by the URL of a cluster.
    """

    def run(*arguments: str, role: str = "admin", many: bool = False) -> str:
        environment = {
            **os.environ,
            "COLLECTOR_REDIS_URL": deployed.cluster(role) if many else deployed.url(role),
            "COLLECTOR_DATA_DIR": str(folder),
            "COLLECTOR_LOG_LEVEL": "error",
        }
        done = subprocess.run(
            [sys.executable, "-m", "collector", *arguments], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{arguments}: {done.stderr}{done.stdout}"
        return done.stdout

    return run


def _bearer() -> dict[str, str]:
    return {"Authorization": f"Bearer {KEY}"}


def _send(url: str, tag: str, visitor: str) -> None:
    granted = dict.fromkeys(("ad_storage", "ad_user_data", "ad_personalization"), "granted")
    body = {"tag": tag, "visitor": visitor, "consent": granted, "events": [{"event": "addtocart"}]}
    answer = httpx.post(f"{url}/v1/events", json=body, headers={"Origin": ORIGIN, "User-Agent": CHROME})
    assert [result["outcome"] for result in answer.json()["results"]] == ["accepted"], answer.text


def _ask(url: str, tag: str, rule: dict[str, Any], visitor: str) -> None:
    """Each question and change that the API takes; none may fail."""
    with httpx.Client(base_url=url, headers=_bearer(), timeout=20) as api:
        made = api.post("/v1/audiences", json={"tag": tag, "name": "Carts", "rule": rule})
        assert made.status_code == 201, made.text
        own = f"/v1/audiences/{made.json()['id']}"
        _eventually(lambda: api.get(own).json()["status"] in ("READY", "TOO_SMALL"))
        for path in (
            f"{own}/size?lookback_days=90",
            f"{own}/size?as_of=2026-01-01T00:00:00Z",
            f"{own}/members",
            f"{own}/history",
            f"/v1/audiences?tag={tag}",
            f"/v1/overlap?ids={made.json()['id']}",
            f"/v1/tags/{tag}/health",
            "/v1/tags",
            f"/v1/visitors/{visitor}?tag={tag}",
            "/readyz",
        ):
            assert api.get(path).status_code == 200, f"{path}: {api.get(path).text}"
        for method, path, body in (
            ("POST", "/v1/audiences/preview", {"tag": tag, "rule": rule}),
            ("POST", "/v1/tags", {"name": "Another", "origins": [ORIGIN]}),
            ("PATCH", own, {"name": "Left carts"}),
            ("DELETE", own, None),
        ):
            answer = api.request(method, path, json=body)
            assert answer.is_success, f"{method} {path}: {answer.text}"


def _eventually(true: Callable[[], bool], patience: float = 20.0) -> None:
    end = time.monotonic() + patience
    while not true():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.2)
