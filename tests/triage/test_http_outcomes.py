"""`GET /v1/outcomes` over real HTTP: of a project, of a queue, filtered, refused in words, ended by a drain."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from embedded.stack import Valkey
from tests.services import eventually, make_data, raw, running_gateway
from tests.triage.serving import Served, problem
from triage.schemas import OutcomeBody


def parsed(lines: Iterator[str]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    event_id = kind = ""
    for line in lines:
        name, _, value = line.partition(": ")
        if name == "id":
            event_id = value
        elif name == "event":
            kind = value
        elif name == "data":
            yield event_id, kind, json.loads(value)


def heard(served: Served, count: int, headers: dict[str, str] | None = None, **about: Any) -> list[Any]:
    with served.http.stream("GET", "/v1/outcomes", params=about, headers=headers or {}) as stream:
        assert stream.status_code == 200, stream.read()
        events = parsed(stream.iter_lines())
        return [next(events) for _ in range(count)]


def answered(served: Served, project: str, count: int, site: str = "default") -> list[str]:
    ids = [served.predict("blue", salt, project=project, site=site)["id"] for salt in range(count)]
    for item in served.lease(f"{project}.review", count=count)["items"]:
        reply = served.http.post(f"/v1/leases/{item['token']}/verdict", json={"answers": {"blue": "present"}})
        assert reply.status_code == 200, reply.text
    return ids


def test_a_project_is_heard_and_resumes_by_header_and_by_query(served: Served) -> None:
    served.project("whole")
    ids = answered(served, "whole", 3)
    told = heard(served, 3, project="whole")
    assert sorted(body["prediction"] for _, _, body in told) == sorted(ids)
    for _, kind, body in told:
        assert OutcomeBody.model_validate(body).type == kind == "final"
    assert told[0][0].startswith("review=")
    assert heard(served, 2, {"Last-Event-ID": told[0][0]}, project="whole") == told[1:]
    assert heard(served, 1, project="whole", after=told[1][0]) == told[2:]


def test_sites_and_types_are_chosen(served: Served) -> None:
    served.project("chosen")
    reply = served.http.put(
        "/v1/projects/chosen/sites/north", json={"mode": "live", "model": "colours/1"}, headers={"If-None-Match": "*"}
    )
    assert reply.status_code == 200, reply.text
    answered(served, "chosen", 2)
    north = answered(served, "chosen", 2, "north")
    told = heard(served, 2, project="chosen", site="north", type=["final", "correction"])
    assert sorted(body["prediction"] for _, _, body in told) == sorted(north)


def test_what_cannot_be_listened_to_is_refused_in_words(served: Served) -> None:
    problem(served.http.get("/v1/outcomes", params={"project": "nowhere"}), 404, "declare a site")
    problem(served.http.get("/v1/outcomes", params={"queue": "nowhere.review"}), 404)
    problem(served.http.get("/v1/outcomes", params={"type": "rumour"}), 422)
    problem(served.http.get("/v1/outcomes", params={"after": "review=1;drop"}), 400, "Last-Event-ID")
    problem(served.http.get("/v1/outcomes", params={"type": "recall", "automatic": "true"}), 400, "automatic")


def test_one_listener_too_many_is_asked_to_wait(tmp_path: Path, valkey: Valkey) -> None:
    data = make_data(tmp_path / "data")
    with (
        running_gateway(data.folder, valkey.url, max_listeners="1") as gateway,
        raw(gateway) as http,
        http.stream("GET", "/v1/outcomes") as stream,
    ):
        received = stream.iter_bytes()  # held: httpx ends the stream with it
        assert next(received).startswith(b"retry: ")
        problem(http.get("/v1/outcomes"), 429, "another gateway")


def test_listeners_end_in_good_order_when_the_gateway_drains(tmp_path: Path, valkey: Valkey) -> None:
    data = make_data(tmp_path / "data")
    with (
        running_gateway(data.folder, valkey.url) as gateway,
        raw(gateway) as http,
        http.stream("GET", "/v1/outcomes") as stream,
    ):
        received = stream.iter_bytes()
        assert next(received).startswith(b"retry: ")
        os.kill(gateway.process.pid, signal.SIGTERM)
        assert b"event" not in b"".join(received)  # a stream that is cut off raises
        eventually(lambda: not gateway.process.running)
