"""`/v2` by Triton's own client, unmodified, against a real gateway."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from model_store.record import PredictionRecord
from tests.bundles import picture
from tests.services import running_gateway
from tests.triage.serving import KEY, Served
from triage.journal.segments import read
from triage.schemas import PredictionBody, Problem

http = pytest.importorskip("tritonclient.http")


def authorized(**more: str) -> dict[str, str]:
    """Headers for one request: the client writes its own into what it is given."""
    return {"Authorization": f"Bearer {KEY}", **more}


@pytest.fixture
def triton(served: Served) -> Iterator[Any]:
    with http.InferenceServerClient(served.gateway.url.removeprefix("http://")) as client:
        yield client


def encoded(*images: bytes, shape: tuple[int, ...] | None = None, binary: bool = True) -> Any:
    tensor = http.InferInput("image", list(shape or (len(images),)), "BYTES")
    array = np.empty(len(images), dtype=np.object_)
    array[:] = images
    tensor.set_data_from_numpy(array.reshape(shape or (len(images),)), binary_data=binary)
    return tensor


def outputs(binary: bool, *names: str) -> list[Any]:
    return [http.InferRequestedOutput(name, binary_data=binary) for name in names]


def texts(result: Any, name: str) -> list[str]:
    return [each.decode() if isinstance(each, bytes) else each for each in result.as_numpy(name)]


def records(served: Served, *ids: str) -> list[PredictionRecord]:
    found = {record.id: record for _, record in read(served.data.folder / "journal" / "test")}
    return [record for each in ids if isinstance(record := found[each], PredictionRecord)]


def test_the_server_and_its_models_are_there(triton: Any) -> None:
    assert triton.is_server_live()
    assert triton.is_server_ready()
    assert triton.is_model_ready("default", headers=authorized())
    assert triton.is_model_ready("default.default", "1", headers=authorized())
    assert triton.get_server_metadata()["name"] == "secondreader"
    said = triton.get_model_metadata("default", headers=authorized())
    assert (said["name"], said["versions"]) == ("default", ["1"])
    assert said["inputs"] == [{"name": "image", "datatype": "BYTES", "shape": [-1]}]
    assert {"name": "probability", "datatype": "FP32", "shape": [-1, 3]} in said["outputs"]


@pytest.mark.parametrize("binary", [True, False])
def test_several_images_are_each_predicted(served: Served, triton: Any, binary: bool) -> None:
    asked = outputs(binary, "id", "route", "labels", "decision", "probability")
    images = encoded(picture("red", salt=1), picture("blue", salt=2), picture("green", salt=3), shape=(3, 1))
    result = triton.infer("default", [images], outputs=asked, request_id="mine", headers=authorized())
    assert result.get_response()["id"] == "mine"
    assert texts(result, "route") == ["automatic", "review", "automatic"]
    assert texts(result, "labels") == ["red", "", "green"]
    told = [PredictionBody.model_validate_json(each) for each in texts(result, "decision")]
    assert [each.id for each in told] == texts(result, "id")
    assert told[1].review is not None
    kept = records(served, *texts(result, "id"))
    assert [record.origin for record in kept] == ["v2"] * 3
    probability = result.as_numpy("probability")
    assert probability.dtype == np.float32
    assert np.array_equal(probability, [record.probabilities() for record in kept])
    again = served.http.get(f"/v1/predictions/{told[0].id}").json()
    assert again == json.loads(texts(result, "decision")[0])


def test_all_outputs_when_none_is_named(triton: Any) -> None:
    result = triton.infer("default", [encoded(picture("red", salt=4))], headers=authorized())
    assert {each["name"] for each in result.get_response()["outputs"]} == {
        "id",
        "route",
        "decision",
        "labels",
        "probability",
    }
    assert texts(result, "labels") == ["red"]


def test_pixels_as_a_tensor(served: Served, triton: Any) -> None:
    pixels = np.zeros((2, 20, 30, 3), np.uint8)
    pixels[0, :, :, 0], pixels[1, :, :, 2] = 240, 240
    tensor = http.InferInput("image", list(pixels.shape), "UINT8")
    tensor.set_data_from_numpy(pixels)
    result = triton.infer("default", [tensor], headers=authorized())
    assert texts(result, "labels") == ["red", ""]
    (record,) = records(served, texts(result, "id")[0])
    assert (record.format, record.width, record.height) == ("PNG", 30, 20)
    shown = served.http.get(f"/v1/predictions/{record.id}/image").content
    with Image.open(io.BytesIO(shown)) as image:
        assert (np.asarray(image) == pixels[0]).all()


def test_images_in_json_are_base64(triton: Any) -> None:
    result = triton.infer(
        "default", [encoded(base64.b64encode(picture("red", salt=5)), binary=False)], headers=authorized()
    )
    assert texts(result, "labels") == ["red"]


def test_parameters_say_what_a_query_says(served: Served, triton: Any) -> None:
    said = {"case": "c5", "view": "front", "role": "prior"}
    result = triton.infer("default", [encoded(picture("red", salt=6))], parameters=said, headers=authorized())
    (record,) = records(served, *texts(result, "id"))
    assert (record.case, record.view, record.role) == ("c5", "front", "prior")


def test_a_key_makes_a_batch_idempotent(served: Served, triton: Any) -> None:
    headers = authorized(**{"Idempotency-Key": "batch-1"})
    images = encoded(picture("red", salt=7), picture("red", salt=7), picture("blue", salt=8))
    first, again = [triton.infer("default", [images], headers=dict(headers)) for _ in range(2)]
    assert texts(first, "decision") == texts(again, "decision")
    assert len(set(texts(first, "id"))) == 3
    assert np.array_equal(first.as_numpy("probability")[:, 0] > 0.5, [True, True, False])


def test_one_bad_image_leaves_its_neighbours(served: Served, triton: Any) -> None:
    result = triton.infer(
        "default", [encoded(picture("red", salt=9), b"no image", picture("red", salt=10))], headers=authorized()
    )
    assert texts(result, "route") == ["automatic", "refused", "automatic"]
    said = Problem.model_validate_json(texts(result, "decision")[1])
    assert said.status == 415
    assert np.isnan(result.as_numpy("probability")).tolist() == [[False] * 3, [True] * 3, [False] * 3]


def test_a_batch_may_have_more_images_than_are_read_at_once(served: Served) -> None:
    images = encoded(*(picture("red", salt=20 + number) for number in range(40)))
    with (
        running_gateway(served.data.folder, served.valkey.url, node="few", max_in_flight="2") as gateway,
        http.InferenceServerClient(gateway.url.removeprefix("http://")) as client,
    ):
        result = client.infer("default", [images])
    assert texts(result, "labels") == ["red"] * 40
    assert len(set(texts(result, "id"))) == 40


def raised(triton: Any, *inputs: Any, model: str = "default", version: str = "", **more: Any) -> tuple[str, str]:
    """Status and message that the client raises."""
    with pytest.raises(Exception, match=r"[;']") as caught:
        triton.infer(model, list(inputs), version, **{"headers": authorized(), **more})
    return caught.value.status(), caught.value.message()  # type: ignore[attr-defined]


def test_refusals_in_the_clients_own_words(triton: Any) -> None:
    good = encoded(picture("red", salt=11))
    assert raised(triton, encoded(b"no image")) == (
        "415",
        "the body is no image that can be recognised; send one of JPEG, PNG, WEBP",
    )
    assert raised(triton, good, model="nowhere")[0] == "404"
    assert raised(triton, good, version="7") == ("404", "default is at version 1 and not 7; leave the version out")
    assert raised(triton, good, headers={})[0] == "401"
    assert raised(triton, good, outputs=outputs(True, "scores"))[0] == "422"
    assert raised(triton, good, parameters={"role": "next"})[0] == "422"
    assert raised(triton, good, parameters={"site": "other"})[0] == "422"
    assert raised(triton, encoded(*[b"x"] * 65))[1].startswith("a request has 1 to 64 images and this one 65")
    assert raised(triton, encoded(bytes(200_001)))[0] == "413"
    assert raised(triton, good, request_compression_algorithm="gzip")[0] == "415"
    wrong = http.InferInput("data", [1], "FP32")
    wrong.set_data_from_numpy(np.zeros(1, np.float32))
    assert raised(triton, wrong)[1] == "the model takes one input; send 'image' and nothing else"


def test_a_timeout_is_the_models_and_the_image_goes_to_people(served: Served, triton: Any) -> None:
    result = triton.infer("default", [encoded(picture("red", salt=12))], timeout=0, headers=authorized())
    (decision,) = texts(result, "decision")
    assert json.loads(decision)["reasons"] == ["model_unavailable"]
    assert np.isnan(result.as_numpy("probability")).all()


def test_a_problem_is_one_for_others_too(served: Served) -> None:
    reply = served.http.post("/v2/models/default/infer", content=b"{}")
    assert reply.status_code == 400
    assert reply.headers["content-type"] == "application/problem+json"
    body = reply.json()
    assert body["error"] == body["detail"]
    assert served.http.get("/v2/nothing").json()["error"]
    assert served.http.get("/v2/health/ready").json() == {"ready": True}
    assert "error" not in served.http.get("/v1/nothing").json()
