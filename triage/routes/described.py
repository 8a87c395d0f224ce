"""The service's description at /openapi.json: FastAPI's own, and beside it what holds for every route."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from triage.routes.doors import is_open
from triage.routes.replies import PROBLEM
from triage.schemas import Problem

_NAME = Problem.__name__
_REFUSAL = {
    "description": "Refused; the detail says what is wrong and what to do.",
    "content": {PROBLEM: {"schema": {"$ref": f"#/components/schemas/{_NAME}"}}},
}
_NOT_OURS = ("HTTPValidationError", "ValidationError")
"""FastAPI's words for a body that does not fit; we say it in problems."""


def describe(app: FastAPI) -> None:
    """Makes the app describe its refusals as the problems that they are, and the key that it asks for."""

    def description() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _with_refusals(
                get_openapi(
                    title=app.title, version=app.version, routes=app.routes, openapi_version=app.openapi_version
                )
            )
        return app.openapi_schema

    app.openapi = description  # type: ignore[method-assign]


def _with_refusals(described: dict[str, Any]) -> dict[str, Any]:
    parts = described.setdefault("components", {})
    schemas = parts.setdefault("schemas", {})
    schemas[_NAME] = Problem.model_json_schema()
    for name in _NOT_OURS:
        schemas.pop(name, None)
    parts["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    for path, operations in described["paths"].items():
        for operation in operations.values():
            answers = {code: each for code, each in operation["responses"].items() if code < "4"}
            operation["responses"] = {**answers, "4XX": _REFUSAL, "5XX": _REFUSAL}
            if not is_open(path):
                operation["security"] = [{"key": []}]
    return described
