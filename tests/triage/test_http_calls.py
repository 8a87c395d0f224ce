"""Deadlines, traces, truths, evidence and who may see them, through a real gateway."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from redis import Redis

from model_store.record import PredictionRecord, TruthRecord
from tests.bundles import picture
from tests.services import Data, eventually, make_data, raw, running_gateway, running_valkey
from tests.triage.holders import holder
from tests.triage.serving import Served, problem
from triage.journal.segments import read

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


def journaled(data: Data, node: str = "test") -> list[Any]:
    return [record for _, record in read(data.folder / "journal" / node)]


def record_of(served: Served, prediction: str) -> PredictionRecord:
    (found,) = [each for each in journaled(served.data) if each.id == prediction and isinstance(each, PredictionRecord)]
    return found


# --- truths ---------------------------------------------------------------------------------------------------------------


def test_a_truth_is_recorded_once_and_shown(served: Served) -> None:
    made = served.predict("red", 300)
    path = f"/v1/predictions/{made['id']}/truth"
    assert served.http.get(path).json() == {"truths": []}
    said = {"answers": {"red": "absent", "blue": "present"}, "source": "pathology"}
    first, again = served.http.post(path, json=said), served.http.post(path, json=said)
    assert first.status_code == again.status_code == 200
    assert first.json() == again.json()
    other = served.http.post(path, json={"answers": {"blue": "present"}})
    assert other.json()["source"] == "development"
    assert served.http.get(path).json() == {"truths": [first.json(), other.json()]}
    kept = [each for each in journaled(served.data) if isinstance(each, TruthRecord) and each.prediction == made["id"]]
    assert [(each.id, each.answers, each.source) for each in kept] == [
        (first.json()["id"], said["answers"], "pathology"), (other.json()["id"], {"blue": "present"}, "development"),
    ]  # fmt: skip


def test_truths_come_back_after_redis_was_wiped(served: Served) -> None:
    made = served.predict("red", 301)
    path = f"/v1/predictions/{made['id']}/truth"
    told = served.http.post(path, json={"answers": {"red": "present"}}).json()
    with Redis.from_url(served.valkey.url) as client:
        client.flushall()
    eventually(lambda: served.http.get(path).status_code == 200 and served.http.get(path).json() == {"truths": [told]})


def test_a_truth_that_contradicts_is_refused(served: Served) -> None:
    made = served.predict("red", 302)
    path = f"/v1/predictions/{made['id']}/truth"
    for answers, says in (
        ({"purple": "present"}, "'purple' is no label of this prediction; choose from red, green"),
        ({"red": "present", "blue": "present"}, "'red' and 'blue' exclude each other; call one of them present"),
        ({}, "at least 1 item"),
        ({"red": "maybe"}, "Input should be"),
    ):
        problem(served.http.post(path, json={"answers": answers}), 422, says)
    assert problem(served.http.post(path, json={"answers": {"x": "absent"}}), 422).prediction_id == made["id"]
    problem(served.http.post("/v1/predictions/nobody/truth", json={"answers": {"red": "absent"}}), 404, "no prediction")


# --- evidence -------------------------------------------------------------------------------------------------------------


def test_evidence_lights_where_the_colour_is(served: Served) -> None:
    pixels = np.full((70, 140, 3), 40, np.uint8)
    pixels[:, :, 0] = 120
    pixels[40:, 100:] = (255, 30, 30)  # what is reddest stands in the lower right
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    made = served.http.post("/v1/predictions", content=stream.getvalue()).json()
    path = f"/v1/predictions/{made['id']}/evidence"
    shown = served.http.get(path, params={"label": "red"})
    assert shown.headers["content-type"] == "image/png"
    assert served.http.get(path, params={"label": "red"}).content == shown.content
    with Image.open(io.BytesIO(shown.content)) as image:
        assert image.size == (140, 70)
        overlay = np.asarray(image.convert("RGB")).astype(int)
    warmth = overlay[:, :, 0] - overlay[:, :, 2]
    assert warmth[45:65, 105:135].mean() > 60
    assert warmth[5:30, 5:80].mean() < 5


def test_evidence_is_of_a_label_that_the_model_gives(served: Served) -> None:
    made = served.predict("red", 303)
    path = f"/v1/predictions/{made['id']}/evidence"
    problem(
        served.http.get(path, params={"label": "other"}),
        422,
        "'other' is no label that this model gives; choose from red",
    )
    assert served.http.get(path).status_code == 200
    problem(served.http.get("/v1/predictions/nobody/evidence"), 404)


# --- who may see ----------------------------------------------------------------------------------------------------------


def test_a_caller_sees_its_own_and_nobody_elses(tmp_path: Path) -> None:
    data = make_data(tmp_path / "data")
    mine, other, auditor = (holder(data.folder, role, subject=name) for name, role in (
        ("ward", "caller"), ("lab", "caller"), ("ada", "auditor"),
    ))  # fmt: skip
    with (
        running_valkey(tmp_path / "valkey") as valkey,
        running_gateway(data.folder, valkey.url) as gateway,
        raw(gateway) as http,
    ):
        eventually(lambda: http.get("/v1/me", headers=mine.headers).status_code == 200)
        made = http.post("/v1/predictions", content=picture("red"), headers=mine.headers)
        path = f"/v1/predictions/{made.json()['id']}"
        for way in ("", "/image", "/evidence", "/truth"):
            assert http.get(path + way, headers=mine.headers).status_code == 200, way
            problem(http.get(path + way, headers=other.headers), 404, "there is no prediction")
            assert http.get(path + way, headers=auditor.headers).status_code == 200, way
        (record,) = [each for each in journaled(data) if isinstance(each, PredictionRecord)]
        assert record.caller == "ward"


# --- deadlines and traces -------------------------------------------------------------------------------------------------


@dataclass
class Asked:
    """A model server that takes requests, tells what it was sent, and answers only when it is let."""

    url: str
    traces: list[str | None]
    let: threading.Event


@pytest.fixture
def silent() -> Iterator[Asked]:
    let, traces = threading.Event(), []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            traces.append(self.headers.get("traceparent"))
            self.rfile.read(int(self.headers["Content-Length"]))
            let.wait(60)
            self.close_connection = True

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield Asked(f"http://127.0.0.1:{server.server_address[1]}", traces, let)
    finally:
        let.set()
        server.shutdown()
        server.server_close()
        thread.join(30)


def test_a_callers_deadline_defers_and_its_trace_goes_on(silent: Asked, tmp_path: Path) -> None:
    data = make_data(tmp_path / "data")
    with (
        running_valkey(tmp_path / "valkey") as valkey,
        running_gateway(
            data.folder, valkey.url, classifier="torchserve", torchserve_url=silent.url, classify_timeout_s="600"
        ) as gateway,
        raw(gateway) as http,
    ):
        headers = {"Prefer": "respond-async, wait=0.2", "traceparent": PARENT}
        reply = http.post("/v1/predictions", content=picture("red"), headers=headers)
        assert reply.status_code == 200
        assert reply.headers["preference-applied"] == "wait=0.2"
        assert (reply.json()["route"], reply.json()["reasons"]) == ("review", ["model_unavailable"])
        (record,) = [each for each in journaled(data) if isinstance(each, PredictionRecord)]
        assert record.trace == TRACE
        (passed,) = silent.traces
        assert passed is not None
        assert passed.startswith(f"00-{TRACE}-")
        assert passed != PARENT, "the model's request is a child of the gateway's own span"
        http.post("/v1/predictions", content=picture("red"), headers={"Prefer": "wait=0", "traceparent": "00-no"})
        assert [each.trace for each in journaled(data) if isinstance(each, PredictionRecord)] == [TRACE, ""]
        problem(
            http.post("/v1/predictions", content=picture(), headers={"Prefer": "wait=soon"}),
            400,
            "no number of seconds",
        )


def test_log_lines_carry_the_trace_and_the_prediction(served: Served) -> None:
    def told() -> bool:
        """Whether the prediction was the first to notice that Redis is away, and not the gateway's own look at it."""
        served.valkey.process.kill()
        try:
            body, about = picture("red", salt=305), {"traceparent": PARENT}
            reply = served.http.post("/v1/predictions", content=body, headers=about)
        finally:
            served.valkey.start()
        eventually(lambda: served.http.get("/readyz").json()["why"] == [])
        log = Path(served.gateway.process.log).read_text().splitlines()
        lines = [json.loads(line) for line in log if line[:1] == "{"]
        return any(line.get("trace") == TRACE and line.get("prediction") == reply.json()["id"] for line in lines)

    eventually(told)


# --- many who wait --------------------------------------------------------------------------------------------------------


def test_everybody_who_waits_is_told_at_once_over_one_subscription(served: Served) -> None:
    """100 long polls of one prediction; while they wait Redis sees the looks of one gateway and not of a hundred."""
    queue = served.project("many")
    waiting = served.predict("blue", 306, project="many")
    path = f"/v1/predictions/{waiting['id']}"

    def wait(_: int) -> Any:
        with httpx.Client(
            base_url=served.gateway.url, trust_env=False, timeout=60, headers=served.http.headers
        ) as http:
            return http.get(path, params={"wait": 50}).json()["final"]["labels"]

    with ThreadPoolExecutor(100) as pool, Redis.from_url(served.valkey.url) as client:
        replies = [pool.submit(wait, number) for number in range(100)]
        assert client.pubsub_numsub("sr:finals")[0][1] == 1
        (item,) = served.lease(queue, wait=20)["items"]
        served.http.post(f"/v1/leases/{item['token']}/verdict", json={"answers": {"blue": "present"}})
        assert [reply.result(60) for reply in replies] == [["blue"]] * 100


def test_prefer_waits_too(served: Served) -> None:
    waiting = served.predict("blue", 307)
    reply = served.http.get(f"/v1/predictions/{waiting['id']}", headers={"Prefer": "wait=0.01"})
    assert reply.json()["final"] is None
