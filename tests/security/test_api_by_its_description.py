"""Schemathesis asks all that openapi.json describes, rightly and wrongly: no 5xx, and no answer but those described."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.security.conftest import ORIGIN, Installed, Tenant

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "ignored_auth",
)
SECONDS = 15  # past which the run stops looking


def aimed(document: Any, **known: str) -> Any:
    """The description, with the values that lead somewhere in place of any text: parameters, and fields of bodies."""

    def aim(schema: Any, name: str) -> Any:
        if name in known:
            return {"enum": [known[name]]}
        fields = schema.get("properties", {})
        return (
            {**schema, "properties": {key: aim(field, key) for key, field in fields.items()}}
            if fields
            else schema
        )

    for operation in (operation for methods in document["paths"].values() for operation in methods.values()):
        for parameter in operation["parameters"]:
            parameter["schema"] = aim(parameter["schema"], parameter["name"])
        for body in operation.get("requestBody", {}).get("content", {}).values():
            body["schema"] = aim(body["schema"], "")
    return document


def test_no_answer_is_one_that_the_description_does_not_know(installed: Installed, tmp_path: Path) -> None:
    """On a tag of its own, since it deletes what it finds."""
    tenant = Tenant(installed, "fuzzed", "addtocart")
    known = {"tag": tenant.tag, "tid": tenant.tag, "audience": tenant.audience, "ids": tenant.audience}
    document = aimed(installed.ask("GET", "/openapi.json").json(), visitor="anna", **known)
    (tmp_path / "openapi.json").write_text(json.dumps(document))
    ran = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", "openapi.json", "--url", installed.url),
            *("--header", f"Authorization: Bearer {tenant.admin}", "--header", f"Origin: {ORIGIN}"),
            *("--checks", ",".join(CHECKS), "--phases", "examples,coverage,fuzzing"),
            *("--max-time", str(SECONDS), "--seed", "1", "--no-shrink", "--warnings", "off"),
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stdout[-20_000:] + ran.stderr
