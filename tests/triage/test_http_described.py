"""Requests made up from /openapi.json, against a real gateway: no 5xx, replies as described, and every refusal a problem."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.openapi import from_url
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.triage.serving import KEY, Served
from triage.schemas import Problem

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
EXAMPLES = 8
"""Of each operation in each mode."""
MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
"""What the description allows, and what it does not."""


def test_whatever_is_sent_the_reply_is_as_described(served: Served) -> None:
    known = {
        "prediction_id": served.predict("red")["id"], "project": "default", "site": "default", "queue": "default.review",
        "model": "default", "version": "1", "label": "red", "case": "c1",
    }  # fmt: skip
    described = from_url(f"{served.gateway.url}/openapi.json").exclude(
        path="/v1/outcomes"
    )  # ends when its listener does
    operations = [found.ok() for found in described.get_all_operations() if isinstance(found, Ok)]
    assert len(operations) > 40
    failures = [f"{each.label}: {why}" for each in operations for mode in MODES if (why := failed(each, mode, known))]
    assert not failures, "\n\n".join(failures)
    assert served.http.get("/readyz").status_code == 200


def failed(operation: Any, mode: GenerationMode, known: dict[str, str]) -> str:
    """What the first reply of an operation that is not as described was; empty where all are.

    Half of the requests are about things that there are: what is made up is mostly a 404.
    """

    @settings(
        max_examples=EXAMPLES, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck),
        phases=(Phase.explicit, Phase.generate),
    )  # fmt: skip
    @given(operation.as_strategy(generation_mode=mode), st.booleans())
    def check(case: Any, there: bool) -> None:
        if there:
            case.path_parameters = {
                name: known.get(name, value) for name, value in (case.path_parameters or {}).items()
            }
        reply = case.call_and_validate(headers={"Authorization": f"Bearer {KEY}"}, checks=CHECKS, timeout=40)
        if reply.status_code >= 400:
            assert reply.headers["content-type"] == ["application/problem+json"]
            assert Problem.model_validate(reply.json()).status == reply.status_code

    try:
        check()
    except Unsatisfiable:  # nothing about it could be wrong
        return ""
    except (Exception, BaseExceptionGroup) as error:
        return f"{type(error).__name__}: {error}"
    return ""
