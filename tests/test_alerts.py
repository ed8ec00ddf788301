"""Alerts and dashboard ask for what there is, fire when they should, and say what to do."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.conftest import Live
from tests.ports import free_port

DEPLOY = Path(__file__).parent.parent / "deploy"
RULES = DEPLOY / "prometheus" / "collector.rules.yml"
TESTS = DEPLOY / "prometheus" / "collector.rules.test.yml"
DASHBOARD = DEPLOY / "grafana" / "collector.json"
PARTS = ("bucket", "sum", "count")
OURS = re.compile(r"\bcollector_[a-z_]+")

promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="no promtool here. Mend: apt-get install prometheus"
)


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def dashboard() -> Iterator[str]:
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", []):
            yield target["expr"]


@promtool
def test_each_alert_is_quiet_and_then_fires() -> None:
    ran = subprocess.run(["promtool", "test", "rules", TESTS], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    tested = re.findall(r'alertname="(\w+)"', TESTS.read_text())
    assert {name: tested.count(name) for name in tested} == {rule["alert"]: 2 for rule in rules()}


@promtool
def test_the_example_configuration_is_one() -> None:
    config = DEPLOY / "prometheus" / "prometheus.yml"
    ran = subprocess.run(["promtool", "check", "config", config], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@promtool
def test_the_dashboards_queries_are_promql(tmp_path: Path) -> None:
    written = tmp_path / "rules.yml"
    queries = [expr.replace("$__rate_interval", "5m") for expr in dashboard()]
    recorded = [{"record": f"panel:{n}", "expr": expr} for n, expr in enumerate(queries)]
    written.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": recorded}]}))
    ran = subprocess.run(["promtool", "check", "rules", written], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_each_alert_says_what_is_why_it_matters_and_what_to_do() -> None:
    for rule in rules():
        assert set(rule["annotations"]) == {"what", "why", "mend"}, rule["alert"]
        assert rule["labels"]["severity"] in ("critical", "warning"), rule["alert"]


def test_alerts_and_dashboard_ask_for_metrics_that_a_running_collector_has(tmp_path: Path) -> None:
    port, worker_port = free_port(), free_port()
    environment = {"COLLECTOR_WORKER_METRICS_PORT": str(worker_port)}
    live = Live(["up", "--data-dir", str(tmp_path), "--port", str(port)], environment, tmp_path / "out")
    try:
        live.await_text("Collector is ready")
        told = "".join(httpx.get(f"http://127.0.0.1:{at}/metrics").text for at in (port, worker_port))
    finally:
        live.stop()
    kinds = dict(re.findall(r"^# TYPE (\S+) (\w+)", told, re.MULTILINE))
    known = {name for name, kind in kinds.items() if kind != "histogram"}
    known |= {f"{name}_{part}" for name, kind in kinds.items() if kind == "histogram" for part in PARTS}
    expressions = [*dashboard(), *(rule["expr"] for rule in rules())]
    asked = {name for expression in expressions for name in OURS.findall(expression)}
    assert len(asked) > 30
    assert asked - known == set()
