"""`GET /v1/outcomes` over real HTTP: of a project, of a queue, filtered, refused in words, ended by a drain."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from embedded.stack import Valkey
from tests.services import eventually, make_data, raw, running_gateway
from tests.triage.serving import KEY, Served, problem
from triage.schemas import OutcomeBody
from triage.server import FILES


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


@pytest.mark.usefixtures("redis")  # what others left there is to be heard, too
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


def test_the_gateway_asks_for_as_many_files_as_it_may_have(tmp_path: Path, valkey: Valkey) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    data = make_data(tmp_path / "data")
    resource.setrlimit(resource.RLIMIT_NOFILE, (700, hard))
    try:
        with running_gateway(data.folder, valkey.url) as gateway:
            limits = Path(f"/proc/{gateway.process.pid}/limits").read_text()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    (line,) = [each for each in limits.splitlines() if each.startswith("Max open files")]
    assert int(line.split()[3]) == (FILES if hard == resource.RLIM_INFINITY else min(hard, FILES))


def test_the_examples_of_the_page_run(served: Served) -> None:
    page = (Path(__file__).parents[2] / "docs/outcomes.md").read_text()
    (example,) = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    served.predict("blue", 4000)
    for item in served.lease("default.review", count=100)["items"]:
        served.http.post(f"/v1/leases/{item['token']}/verdict", json={"answers": {"blue": "present"}})
    environment = {**os.environ, "URL": served.gateway.url, "KEY": KEY, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", example], env=environment, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout.split()[0]) == (0, "final"), done.stderr
