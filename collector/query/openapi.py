"""OpenAPI: operations as data → the document that /openapi.json serves and the tests check against."""

import re
from collections.abc import Iterable
from importlib.metadata import version
from typing import Any, NamedTuple

from collector.tags import Role

Schema = dict[str, Any]


class Operation(NamedTuple):
    """One route. parameters: query parameter → (schema, meaning).

    answers: status → (meaning, schema or media types with commas between them).
    """

    method: str
    path: str
    summary: str
    answers: dict[int, tuple[str, Schema | str | None]]
    parameters: dict[str, tuple[Schema, str]] = {}  # noqa: RUF012 (never written to)
    body: Schema | None = None
    roles: tuple[Role, ...] = ()
    body_type: str = "application/json"


TEXT: Schema = {"type": "string"}
WHOLE: Schema = {"type": "integer"}
INSTANT: Schema = {"type": "string", "format": "date-time"}


def some(schema: Schema) -> Schema:
    return {"type": "array", "items": schema}


def record(*required: str, **properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(required)}


def no_more(schema: Schema) -> Schema:
    """The same object, and no member besides."""
    return {**schema, "additionalProperties": False}


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def nullable(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def document(operations: Iterable[Operation], schemas: dict[str, Schema]) -> dict[str, Any]:
    """The OpenAPI 3.1 document."""
    paths: dict[str, Any] = {}
    for operation in operations:
        path = re.sub(r":\w+}", "}", operation.path)
        paths.setdefault(path, {})[operation.method.lower()] = _described(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Collector", "version": version("collector")},
        "paths": paths,
        "components": {
            "schemas": {
                "Error": record(
                    "error", error=record("code", "message", "hint", code=TEXT, message=TEXT, hint=TEXT)
                ),
                **schemas,
            },
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _described(operation: Operation) -> dict[str, Any]:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": TEXT}
        for name in re.findall(r"{(\w+)(?::\w+)?}", operation.path)
    ] + [
        {"name": name, "in": "query", "description": meaning, "schema": schema}
        for name, (schema, meaning) in operation.parameters.items()
    ]
    answers = dict(operation.answers)
    if operation.roles:
        answers.setdefault(401, ("No usable key.", ref("Error")))
        answers.setdefault(403, ("A key of another role.", ref("Error")))
    described: dict[str, Any] = {
        "summary": operation.summary,
        "parameters": parameters,
        "responses": {
            str(status): {"description": meaning, **_content(schema)}
            for status, (meaning, schema) in answers.items()
        },
    }
    if operation.body is not None:
        described["requestBody"] = {
            "required": True,
            "content": {operation.body_type: {"schema": operation.body}},
        }
    if operation.roles:
        described["security"] = [{"key": []}]
        described["description"] = f"Roles: {', '.join(operation.roles)}."
    return described


def _content(schema: Schema | str | None) -> dict[str, Any]:
    if schema is None:
        return {}
    if isinstance(schema, str):
        return {"content": {media_type: {} for media_type in schema.split(", ")}}
    return {"content": {"application/json": {"schema": schema}}}
