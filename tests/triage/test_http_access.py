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

OPEN = ("/healthz", "/readyz", "/metrics", "/openapi.json")


def test_the_scheme_s_name_counts_in_any_case(served: Served) -> None:
    reply = httpx.get(f"{served.gateway.url}/v1/queues", headers={"Authorization": f"bearer {KEY}"}, trust_env=False)
    assert reply.status_code == 200


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
def test_listening_beyond_loopback_where_nobody_could_let_others_in_is_refused(tmp_path: Path, host: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "triage", "--host", host, "--data", str(tmp_path), "--port", str(free_ports(1)[0])],
        capture_output=True, text=True, timeout=60, check=False, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert ended.returncode == 1
    assert "listening beyond loopback needs an admin's key, an OpenID provider or a proxy; make a key" in ended.stderr
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
        problem(reply, 400 if body in (b"\xff", b"[", b"[" * 60_000) else 422)
    assert served.http.post("/v1/predictions?case=%ff%00%F0%9F", content=picture()).status_code == 200
    problem(served.http.get("/v1/predictions/%00%ff"), 404)
