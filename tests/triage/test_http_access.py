"""Who comes in, what is open to all, what the description says, and what is counted."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from embedded.ports import free_ports
from tests.bundles import picture
from tests.services import eventually, running_gateway
from tests.triage.serving import KEY, Served, problem

GUARDED = [
    ("POST", "/v1/predictions"), ("GET", "/v1/predictions/x"), ("GET", "/v1/predictions/x/image"), ("GET", "/v1/queues"),
    ("GET", "/v1/queues/default.review"), ("POST", "/v1/queues/default.review/leases"), ("PATCH", "/v1/leases/a~b~1~c"),
    ("DELETE", "/v1/leases/a~b~1~c"), ("POST", "/v1/leases/a~b~1~c/shown"), ("POST", "/v1/leases/a~b~1~c/skip"),
    ("POST", "/v1/leases/a~b~1~c/verdict"), ("GET", "/v1/leases/a~b~1~c/image"), ("GET", "/v1/outcomes"),
    ("GET", "/v1/projects/default/sites/default"), ("GET", "/v1/projects/default/sites/default/monitor"),
    ("POST", "/v1/projects/default/sites/default/classes/red/suspend"),
    ("POST", "/v1/projects/default/sites/default/classes/red/resume"),
    ("PUT", "/v1/projects/default/sites/default"), ("GET", "/v1/models/colours/1"), ("GET", "/v1/rules/sha256:0"),
]  # fmt: skip
OPEN = ("/healthz", "/readyz", "/metrics", "/openapi.json")
BODIES = {"/leases": {"reviewer": "ada"}, "/verdict": {"outcome": "unusable"}}


@pytest.mark.parametrize(("method", "path"), GUARDED)
def test_without_the_key_nobody_comes_in(served: Served, method: str, path: str) -> None:
    body = next((each for end, each in BODIES.items() if path.endswith(end)), {"mode": "assist"})
    for headers in (
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Basic " + KEY},
        {"Authorization": KEY},
        {"Authorization": "Bearer"},
    ):
        with httpx.Client(base_url=served.gateway.url, trust_env=False) as stranger:
            reply = stranger.request(method, path, headers=headers, json=body if method in ("POST", "PUT") else None)
        problem(reply, 401, "send the service's key as 'Authorization: Bearer KEY'")
        assert reply.headers["www-authenticate"] == "Bearer"


def test_the_scheme_s_name_counts_in_any_case(served: Served) -> None:
    reply = httpx.get(f"{served.gateway.url}/v1/queues", headers={"Authorization": f"bearer {KEY}"}, trust_env=False)
    assert reply.status_code == 200


def test_every_route_is_guarded_or_known_to_be_open(served: Served) -> None:
    described = served.http.get("/openapi.json").json()["paths"]
    guarded = {(method, path) for method, path in GUARDED}
    names = {"x": "{prediction_id}", "default.review": "{queue}", "a~b~1~c": "{token}", "sha256:0": "{digest}"}
    templates = set()
    for method, path in guarded:
        parts = [names.get(part, part) for part in path.split("/")]
        if parts[2] == "projects":
            parts[3], parts[5] = "{project}", "{site}"
            parts[7:8] = ["{label}"] if parts[7:8] else []
        if parts[2] == "models":
            parts[3:] = ["{name}", "{version}"]
        templates.add((method.lower(), "/".join(parts)))
    there = {(method, path) for path, methods in described.items() for method in methods}
    assert there - templates == {("get", path) for path in OPEN if path != "/openapi.json"}


def test_health_and_metrics_need_no_key(served: Served) -> None:
    for path in OPEN:
        assert httpx.get(served.gateway.url + path, trust_env=False).status_code == 200
    assert httpx.get(f"{served.gateway.url}/healthz", trust_env=False).json() == {"status": "alive"}


def test_the_description_is_whole(served: Served) -> None:
    described = served.http.get("/openapi.json").json()
    assert described["openapi"].startswith("3.")
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            assert operation["responses"], f"{method} {path}"
    references = served.http.get("/openapi.json").text.split('"$ref":"#/components/schemas/')[1:]
    assert {each.split('"')[0] for each in references} <= set(described["components"]["schemas"])


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_listening_beyond_loopback_without_a_key_is_refused(tmp_path: Path, host: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "triage", "--host", host, "--data", str(tmp_path), "--port", str(free_ports(1)[0])],
        capture_output=True, text=True, timeout=60, check=False, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert ended.returncode == 2
    assert "listening beyond loopback needs a key; set TRIAGE_API_KEY, or host to 127.0.0.1" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_second_gateway_of_the_same_name_ends_with_its_sentence(served: Served) -> None:
    ended = subprocess.run(
        [
            sys.executable, "-m", "triage", "--data", str(served.data.folder), "--node", "test",
            "--port", str(free_ports(1)[0]), "--redis-url", served.valkey.url, "--classifier", "inprocess",
        ],
        capture_output=True, text=True, timeout=60, check=False, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert ended.returncode == 1
    assert "another gateway writes this journal; stop it, or set TRIAGE_NODE to another name" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_listener_does_not_keep_a_gateway_from_stopping(served: Served) -> None:
    with running_gateway(served.data.folder, served.valkey.url, node="stopping") as gateway:
        with httpx.stream("GET", f"{gateway.url}/v1/outcomes", timeout=30, trust_env=False) as stream:
            lines = stream.iter_lines()
            next(lines)
            gateway.process._process.terminate()
            for _ in lines:  # ends when the gateway ends it, and not after its grace of 20 s
                pass
        eventually(lambda: not gateway.process.running, 10)
        assert gateway.process._process.returncode in (0, -signal.SIGTERM)  # the server passes the signal on at its end
        assert "Traceback" not in gateway.process.tail(100)


def test_every_request_is_counted_by_its_route(served: Served) -> None:
    line = 'triage_http_requests_total{code="%s",method="%s",route="%s"}'
    one = "/v1/predictions/{prediction_id}"
    routes = [("200", "POST", "/v1/predictions"), ("415", "POST", "/v1/predictions"), ("404", "GET", one)]
    before = {each: served.metric(line % each) for each in routes}
    served.predict("red")
    served.http.post("/v1/predictions", content=b"hello")
    served.http.get("/v1/predictions/one")
    served.http.get("/v1/predictions/two")
    for each, more in zip(before, (1, 1, 2), strict=True):
        assert served.metric(line % each) == before[each] + more, each
    assert served.metric('triage_http_request_duration_seconds_count{route="/v1/predictions"}') >= 2
    served.http.get("/v1/never/heard/of")
    assert "never" not in served.http.get("/metrics").text  # strangers' paths are no labels


def test_metrics_have_the_documented_names(served: Served) -> None:
    served.predict("red")
    served.predict("blue")

    def names() -> set[str]:
        lines = served.http.get("/metrics").text.splitlines()
        return {line.split("{")[0].split(" ")[0] for line in lines if not line.startswith("#")}

    expected = {
        "triage_http_requests_total", "triage_http_request_duration_seconds_count", "triage_decisions_total",
        "triage_stage_duration_seconds_count", "triage_reasons_total", "triage_class_fired_total", "triage_queue_depth",
        "triage_queue_oldest_age_seconds", "triage_queue_leased", "triage_review_wait_seconds_count",
        "triage_journal_fsync_seconds_count", "triage_outbox_depth", "triage_control_age_seconds", "triage_classifier_up",
        "triage_model_info",
    }  # fmt: skip
    eventually(lambda: expected <= names())
    assert all(name.startswith("triage_") for name in names())


def test_a_json_body_has_a_limit_too(served: Served) -> None:
    reply = served.http.post("/v1/queues/default.review/leases", content=b'{"reviewer": "' + b"a" * 2_000_000 + b'"}')
    problem(reply, 413)


def test_odd_text_is_never_a_server_error(served: Served) -> None:
    for body in (
        b'{"\\ud800": 1}',
        b'{"reviewer": "\\ud800"}',
        b"\xff",
        b"[",
        b"null",
        b'{"reviewer": "a~b"}',
        b"[" * 60_000,
    ):
        headers = {"Content-Type": "application/json"}
        reply = served.http.post("/v1/queues/default.review/leases", content=body, headers=headers)
        problem(reply, 400 if body in (b"\xff", b"[" * 60_000) else 422)
    assert served.http.post("/v1/predictions?case=%ff%00%F0%9F", content=picture()).status_code == 200
    problem(served.http.get("/v1/predictions/%00%ff"), 404)
