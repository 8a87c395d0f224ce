"""`/v1/predictions` through real HTTP: images in, states out, and every refusal an RFC 9457 problem."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterator

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.bundles import picture
from tests.services import eventually, running_gateway
from tests.triage.serving import Served, problem
from triage.schemas import PredictionBody


def test_a_prediction_is_found_again_as_it_was_given(served: Served) -> None:
    for colour, waits in (("red", False), ("blue", True)):
        given_back = served.predict(colour, case="c1")
        again = served.http.get(f"/v1/predictions/{given_back['id']}").json()
        assert again == given_back
        PredictionBody.model_validate(again)
        assert not waits or given_back["review"] == {
        "queue": "default.review", "item": given_back["id"], "status": "waiting", "url": f"/v1/predictions/{given_back['id']}",
    }  # fmt: skip


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    red=st.integers(0, 255), green=st.integers(0, 255), blue=st.integers(0, 255),
    format=st.sampled_from(["PNG", "JPEG", "WEBP"]), kind=st.sampled_from([None, "image/png", "text/html", "x", ""]),
)  # fmt: skip
def test_every_image_s_reply_is_what_the_schema_says(
    served: Served, red: int, green: int, blue: int, format: str, kind: str | None
) -> None:
    stream = io.BytesIO()
    Image.new("RGB", (20, 10), (red, green, blue)).save(stream, format)
    headers = {} if kind is None else {"Content-Type": kind}
    reply = served.http.post("/v1/predictions", content=stream.getvalue(), headers=headers)
    assert reply.status_code == 200
    body = PredictionBody.model_validate(reply.json())
    assert (body.route == "automatic") == bool(body.labels) == (body.final is not None) == (body.review is None)


def test_the_image_comes_back_as_a_fresh_png(served: Served) -> None:
    sent = picture("green", (300, 100), "JPEG")
    reply = served.http.post("/v1/predictions", content=sent)
    shown = served.http.get(f"/v1/predictions/{reply.json()['id']}/image")
    assert shown.headers["content-type"] == "image/png"
    assert shown.content != sent
    with Image.open(io.BytesIO(shown.content)) as image:
        assert (image.format, image.size) == ("PNG", (300, 100))


def test_a_long_poll_ends_when_a_person_has_answered(served: Served) -> None:
    queue = served.project("polled")
    waiting = served.predict("blue", project="polled")
    replies: list[httpx.Response] = []
    thread = threading.Thread(
        target=lambda: replies.append(served.http.get(f"/v1/predictions/{waiting['id']}", params={"wait": 30}))
    )
    started = time.monotonic()
    thread.start()
    (item,) = served.lease(queue)["items"]
    served.http.post(f"/v1/leases/{item['token']}/verdict", json={"answers": {"blue": "present"}})
    thread.join(30)
    assert time.monotonic() - started < 30  # it did not wait its time out
    body = PredictionBody.model_validate(replies[0].json())
    assert body.final is not None
    assert (body.final.labels, body.final.by) == (["blue"], "people")
    assert body.review is not None
    assert body.review.status == "final"


def test_a_poll_without_an_answer_gives_the_state(served: Served) -> None:
    waiting = served.predict("blue", 77)
    assert served.http.get(f"/v1/predictions/{waiting['id']}", params={"wait": 0.01}).json()["final"] is None


def test_unknown_things_are_404(served: Served) -> None:
    problem(served.http.get("/v1/predictions/nobody"), 404, "there is no prediction nobody", "POST /v1/predictions")
    problem(served.http.get("/v1/predictions/nobody/image"), 404)
    problem(served.http.post("/v1/predictions", content=picture(), params={"site": "x"}), 404, "declare it with PUT")
    problem(served.http.get("/v1/nothing"), 404, "see /openapi.json")
    problem(served.http.put("/v1/predictions"), 405)


def test_what_cannot_be_read_is_refused_in_words(served: Served) -> None:
    problem(served.http.post("/v1/predictions", content=b""), 400, "the body is empty; send the bytes of one image")
    problem(served.http.post("/v1/predictions", content=b"hello"), 415, "send one of JPEG, PNG, WEBP")
    problem(served.http.post("/v1/predictions", content=picture(format="JPEG")[:-20]), 422, "send an intact file")
    problem(served.http.post("/v1/predictions", content=bytes(200_001)), 413, "200,000 bytes; send a smaller image")
    for kind, status in (
        ("Application/JSON; charset=utf-8", 400),
        ("multipart/form-data; boundary=x", 400),
        ("multipart/mixed", 415),
    ):
        reply = served.http.post("/v1/predictions", content=picture(), headers={"Content-Type": kind})
        problem(reply, status, "; send")
    squeezed = served.http.post("/v1/predictions", content=picture(), headers={"Content-Encoding": "gzip"})
    problem(squeezed, 415, "Content-Encoding gzip is not taken; send it as it is")
    problem(served.http.post("/v1/predictions", content=picture(), params={"role": "next"}), 422, "role: ")
    problem(served.http.get("/v1/predictions/x", params={"wait": "nan"}), 422, "wait: ")


def test_a_body_without_a_length_is_measured_as_it_comes(served: Served) -> None:
    def chunks(content: bytes) -> Iterator[bytes]:
        for start in range(0, len(content), 10_000):
            yield content[start : start + 10_000]

    assert served.http.post("/v1/predictions", content=chunks(picture())).status_code == 200
    problem(served.http.post("/v1/predictions", content=chunks(bytes(300_000))), 413)


def test_beyond_its_limit_a_gateway_is_busy_and_then_free_again(served: Served) -> None:
    """One request is kept in flight by a body that does not end."""
    hold, begun = threading.Event(), threading.Event()

    def slowly() -> Iterator[bytes]:
        yield picture()[:10]
        begun.set()  # the beginning has been sent: it is in before anything that is sent from now on
        hold.wait(30)
        yield picture()[10:]

    replies: list[httpx.Response] = []
    with (
        running_gateway(served.data.folder, served.valkey.url, node="busy", max_in_flight="1") as gateway,
        httpx.Client(base_url=gateway.url, trust_env=False, timeout=30) as http,
    ):
        thread = threading.Thread(target=lambda: replies.append(http.post("/v1/predictions", content=slowly())))
        thread.start()
        try:
            assert begun.wait(30)
            refused = eventually(
                lambda: (reply := http.post("/v1/predictions", content=picture())).status_code != 200 and reply
            )
            problem(refused, 429, "1 predictions are in flight; send this one again in a moment")
        finally:
            hold.set()
        thread.join(30)
        assert replies[0].status_code == 200
        assert http.post("/v1/predictions", content=picture()).status_code == 200


def test_redis_away_is_503_for_readers_and_nothing_for_callers(served: Served) -> None:
    before = served.predict("blue", 91)
    served.valkey.process.kill()
    try:
        during = served.http.post("/v1/predictions", content=picture("blue", salt=92))
        assert during.status_code == 200
        problem(served.http.get(f"/v1/predictions/{before['id']}"), 503, "Redis does not answer", "try this again soon")
        problem(served.http.post("/v1/queues/default.review/leases", json={"reviewer": "ada"}), 503)
    finally:
        served.valkey.start()
    eventually(lambda: served.http.get(f"/v1/predictions/{during.json()['id']}").status_code == 200)
    eventually(lambda: served.http.get("/readyz").json() == {"status": "answering", "why": []})


@pytest.mark.parametrize(
    "headers", [{"Origin": "http://somewhere.example"}, {"Host": "rebound.example"}, {"Origin": "null"}], ids=str
)
def test_without_a_key_a_web_page_is_refused(served: Served, headers: dict[str, str]) -> None:
    with (
        running_gateway(served.data.folder, served.valkey.url, node="open") as gateway,
        httpx.Client(base_url=gateway.url, trust_env=False) as http,
    ):
        refused = http.post("/v1/predictions", content=picture(), headers=headers)
        problem(
            refused,
            401,
            "without keys only this machine may call; make one",
        )
        assert http.post("/v1/predictions", content=picture(), headers={"Origin": gateway.url}).status_code == 200
