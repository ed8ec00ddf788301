"""The manifests of deploy/kubernetes are what a cluster takes, fit together, and run with the least rights."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
FOLDER = DEPLOY / "kubernetes"
OLDEST = "1.27"  # what docs/operate.md promises; the newest is whatever the linter knows

Manifest = dict[str, Any]


def _manifests() -> Iterator[Manifest]:
    for file in sorted(FOLDER.glob("*.yaml")):
        if file.name != "kustomization.yaml":
            yield from yaml.safe_load_all(file.read_text())


MANIFESTS = list(_manifests())
WORKLOADS = [each for each in MANIFESTS if each["kind"] in ("Deployment", "StatefulSet")]


def name(manifest: Manifest) -> str:
    return f"{manifest['kind']}-{manifest['metadata']['name']}"


def pod(workload: Manifest) -> Manifest:
    found: Manifest = workload["spec"]["template"]["spec"]
    return found


@pytest.mark.parametrize("manifest", MANIFESTS, ids=name)
def test_a_cluster_takes_it(manifest: Manifest) -> None:
    for version in (OLDEST, kubernetes_validate.latest_version()):
        kubernetes_validate.validate(manifest, version, strict=True)


def test_the_linter_refuses_a_typing_error() -> None:
    broken = {**WORKLOADS[0], "spec": {**WORKLOADS[0]["spec"], "replica": 2}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, OLDEST, strict=True)


@pytest.mark.skipif(
    not shutil.which("kubectl"), reason="kubectl is not here: the files are checked one by one"
)
def test_kustomize_puts_them_together() -> None:
    built = subprocess.run(
        ["kubectl", "kustomize", FOLDER], capture_output=True, text=True, check=True
    ).stdout
    manifests = list(yaml.safe_load_all(built))
    assert len(manifests) == len(MANIFESTS) + 1  # and the ConfigMap of Redis
    assert {each["metadata"].get("namespace") for each in manifests if each["kind"] != "Namespace"} == {
        "collector"
    }
    for each in manifests:
        kubernetes_validate.validate(each, OLDEST, strict=True)


def test_the_kustomization_names_every_file() -> None:
    named = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())["resources"]
    files = {file.name for file in FOLDER.glob("*.yaml")} - {"kustomization.yaml"}
    assert sorted(named) == sorted({*files, "../redis"})
    generated = yaml.safe_load((DEPLOY / "redis" / "kustomization.yaml").read_text())["configMapGenerator"]
    assert all((DEPLOY / "redis" / file).exists() for each in generated for file in each["files"])


@pytest.mark.parametrize("workload", WORKLOADS, ids=name)
def test_a_pod_runs_with_the_least_rights(workload: Manifest) -> None:
    spec = pod(workload)
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in spec["containers"]:
        assert container["securityContext"] == {
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["limits"]["memory"]


def test_what_is_referred_to_is_there() -> None:
    documented = (DEPLOY.parent / "docs" / "operate.md").read_text()
    services = {each["metadata"]["name"]: each for each in MANIFESTS if each["kind"] == "Service"}
    claims = {each["metadata"]["name"] for each in MANIFESTS if each["kind"] == "PersistentVolumeClaim"}
    for workload in WORKLOADS:
        labels = workload["spec"]["template"]["metadata"]["labels"]
        assert workload["spec"]["selector"]["matchLabels"].items() <= labels.items()
        volumes = {volume["name"] for volume in pod(workload)["volumes"]}
        volumes |= {claim["metadata"]["name"] for claim in workload["spec"].get("volumeClaimTemplates", [])}
        for container in pod(workload)["containers"]:
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes, name(workload)
        for volume in pod(workload)["volumes"]:
            if "persistentVolumeClaim" in volume:
                assert volume["persistentVolumeClaim"]["claimName"] in claims
            for secret in _secrets(volume):
                assert f"create secret generic {secret.split('-')[0]}" in documented, secret
    for ingress in (each for each in MANIFESTS if each["kind"] == "Ingress"):
        for rule in ingress["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                backend = path["backend"]["service"]
                ports = {port["name"] for port in services[backend["name"]]["spec"]["ports"]}
                assert backend["port"]["name"] in ports


def test_whoever_prints_a_snippet_names_the_address_that_the_ingress_answers() -> None:
    (ingress,) = [each for each in MANIFESTS if each["kind"] == "Ingress"]
    (rule,) = ingress["spec"]["rules"]
    for workload in WORKLOADS:
        if workload["metadata"]["name"] in ("edge", "query", "admin"):
            (container,) = pod(workload)["containers"]
            given = {each["name"]: each["value"] for each in container["env"]}
            assert given["COLLECTOR_PUBLIC_URL"] == f"https://{rule['host']}", name(workload)


def _secrets(volume: Manifest) -> list[str]:
    if "secret" in volume:
        return [volume["secret"]["secretName"]]
    return [source["secret"]["name"] for source in volume.get("projected", {}).get("sources", [])]
