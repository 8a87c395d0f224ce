"""Trace context: only what the standard allows is believed; spans go out where somebody listens, else nothing is imported."""

from __future__ import annotations

import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedded.stack import Valkey
from tests.bundles import picture
from tests.services import Data, raw, running_gateway
from tests.triage.gateway_parts import Wired
from triage import tracing
from triage.intake import Request
from triage.tracing import Trace

ROOT = Path(__file__).parents[2]
_hex = st.text("0123456789abcdef", min_size=1, max_size=40)


@given(st.from_regex(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", fullmatch=True))
def test_what_is_passed_on_is_in_the_callers_trace(header: str) -> None:
    found = tracing.parse(header)
    version, trace, span, _ = header.split("-")
    if version == "ff" or int(trace, 16) == 0 or int(span, 16) == 0:
        assert found is None
    else:
        assert found is not None
        assert (found.id, found.span) == (trace, span)
        assert tracing.parse(found.header()) == found


@given(st.text() | st.lists(_hex, max_size=5).map("-".join))
def test_anything_else_is_no_trace(header: str) -> None:
    found = tracing.parse(header)
    assert found is None or header.strip().startswith(f"{header.strip()[:2]}-{found.id}-{found.span}-{found.flags}")


def test_a_version_to_come_may_say_more_and_this_one_may_not() -> None:
    rest = f"{'a' * 32}-{'b' * 16}-01"
    assert tracing.parse(f"01-{rest}-more") == Trace("a" * 32, "b" * 16, "01")
    assert tracing.parse(f"00-{rest}-more") is None
    assert tracing.parse(None) is None
    assert tracing.parse(f"00-{rest.upper()}") is None


def test_a_request_is_a_child_and_ends_with_its_block() -> None:
    with tracing.request(f"00-{'a' * 32}-{'b' * 16}-00", "x") as trace:
        assert trace is not None
        assert (trace.id, trace.flags) == ("a" * 32, "00")
        assert trace.span != "b" * 16
        assert tracing.current.get() == trace
    assert tracing.current.get() is None
    with tracing.request("no", "x") as trace:
        assert trace is None


async def test_each_stage_is_a_span_below_the_callers(gateway: Wired) -> None:
    memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter").InMemorySpanExporter()
    end = tracing.install(memory)
    assert end is not None
    try:
        with tracing.request(f"00-{'a' * 32}-{'b' * 16}-01", "POST /v1/predictions") as trace:
            assert trace is not None
            tracing.about("p1")
            await gateway.intake.read(picture("red"), Request(trace=trace.id))
        spans = {span.name: span for span in memory.get_finished_spans()}
    finally:
        end()
    assert spans.keys() >= {"POST /v1/predictions", "receive", "classify", "decide"}
    root = spans["POST /v1/predictions"]
    assert f"{root.context.trace_id:032x}" == "a" * 32
    assert f"{root.parent.span_id:016x}" == "b" * 16
    assert root.attributes["secondreader.prediction"] == "p1"
    for stage in ("receive", "classify", "decide"):
        assert spans[stage].parent.span_id == root.context.span_id
        assert spans[stage].end_time >= spans[stage].start_time
    assert not tracing.sending()


@pytest.mark.parametrize("endpoint", [None, "http://127.0.0.1:9"])
def test_nothing_is_imported_where_nobody_listens(endpoint: str | None) -> None:
    """By us: FastAPI and redis-py look for OpenTelemetry by themselves."""
    code = (
        "import sys; from triage import tracing; end = tracing.install(); end and end(); "
        "print(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    environment = {} if endpoint is None else {tracing.ENDPOINT: endpoint}
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert told.stdout.strip() == str(endpoint is not None)


def test_where_the_extra_is_missing_the_gateway_runs_without_spans(data: Data) -> None:
    code = (
        "import sys; sys.modules['opentelemetry.sdk.trace'] = None\n"
        "from triage import tracing; print(tracing.install(), tracing.sending())"
    )
    environment = {tracing.ENDPOINT: "http://127.0.0.1:9"}
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert told.stdout.split() == ["None", "False"]


def test_a_gateway_sends_its_spans_before_it_ends(
    data: Data, valkey: Valkey, redis: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A receiver of OTLP over HTTP that keeps what it is sent; names stand in it as they are."""
    sent: list[tuple[str, bytes]] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        monkeypatch.setenv(tracing.ENDPOINT, f"http://127.0.0.1:{server.server_address[1]}")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        with running_gateway(data.folder, valkey.url, node="traced") as gateway, raw(gateway) as http:
            made = http.post(
                "/v1/predictions", content=picture("red"), headers={"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}
            )
            assert made.status_code == 200
    finally:
        server.shutdown()
        server.server_close()
        thread.join(30)
    assert {path for path, _ in sent} == {"/v1/traces"}
    body = b"".join(each for _, each in sent)
    for name in (
        b"POST /v1/predictions",
        b"receive",
        b"classify",
        b"decide",
        b"secondreader",
        made.json()["id"].encode(),
    ):
        assert name in body
    assert bytes.fromhex("a" * 32) in body
