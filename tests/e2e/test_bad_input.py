"""What strangers send, through real HTTP, with the model inside the gateway and behind TorchServe.

Each is a prediction or a problem that says what is wrong and what to do; never a 5xx, nothing queued, no blob left, and who
sends a good image at the same time is answered.
"""

from __future__ import annotations

import gc
import io
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest
from PIL import Image

from embedded.stack import Gateway
from handlers import runtime
from handlers.errors import ServerError
from handlers.server import TorchServe
from model_store.record import EventRecord, PredictionRecord
from tests.bundles import picture
from tests.model_store import images
from tests.services import DEADLINE_S, Data, blob_files, eventually, make_data, raw, running_gateway, running_valkey
from triage.journal.segments import read
from triage.schemas import PredictionBody, Problem

MEGABYTE = 2**20


@dataclass(frozen=True)
class Sent:
    """A body and what must become of it: 200, or a status and words that its problem says."""

    body: bytes
    status: int
    says: str = ""
    kind: str | None = None


def _large() -> bytes:
    return picture("red") + bytes(25_000_000)


def _lying_header() -> bytes:
    """A PNG whose header says 100 x 100 and whose data has one row."""
    return images.png(100, 100, 8, 2, bytes(3)).replace(b"IHDR", b"IHDR", 1)


def _strangers() -> dict[str, Sent]:
    jpeg = images.encoded("JPEG")
    form = (
        b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'
        + picture() + b"\r\n--x--\r\n"
    )  # fmt: skip
    return {
        "empty": Sent(b"", 400, "the body is empty; send the bytes of one image"),
        "text": Sent(
            images.TEXTS["text"], 415, "the body is no image that can be recognised; send one of JPEG, PNG, WEBP"
        ),
        "html": Sent(images.TEXTS["html"], 415, "the body is HTML; send one of JPEG, PNG, WEBP"),
        "json": Sent(images.TEXTS["json"], 415, "the body is JSON; send one of JPEG, PNG, WEBP", "image/jpeg"),
        "json and says so": Sent(images.TEXTS["json"], 422, "the reference is none", "application/json"),
        "svg": Sent(images.TEXTS["svg"], 415, "the body is an SVG; send one of JPEG, PNG, WEBP"),
        "pdf": Sent(images.TEXTS["pdf"], 415, "the body is a PDF; send one of JPEG, PNG, WEBP"),
        "dicom": Sent(images.TEXTS["dicom"], 415, "the body is a DICOM file; send one of JPEG, PNG, WEBP"),
        "animated gif": Sent(images.animated("GIF"), 415, "the body is a GIF; send one of JPEG, PNG, WEBP"),
        "animated png": Sent(images.animated("PNG"), 415, "the image is an animation; send one still frame of it"),
        "animated webp": Sent(images.animated("WEBP"), 415, "the image is an animation; send one still frame of it"),
        "jpeg cut by 20 bytes": Sent(jpeg[:-20], 422, "; send an intact file"),
        "jpeg cut in its header": Sent(jpeg[:30], 422, "; send an intact file"),
        "png of noise": Sent(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8, 422, "; send an intact file"),
        "png of 13000 x 13000": Sent(images.bomb(), 413, "; send a smaller version of it"),
        "png of too few rows": Sent(_lying_header(), 422, "; send an intact file"),
        "25 MB": Sent(_large(), 413, "the body has more than 20,000,000 bytes; send a smaller image"),
        "a form without its end": Sent(form[:-8], 400, "send it again", "multipart/form-data; boundary=x"),
        "a form": Sent(form, 200, kind="multipart/form-data; boundary=x"),
        "cmyk jpeg": Sent(images.save(Image.new("CMYK", (40, 30), (0, 200, 200, 20)), "JPEG"), 200),
        "16-bit grey png": Sent(images.grey16(), 200),
        "16-bit rgb png": Sent(images.rgb16(), 200),
        "palette with alpha": Sent(images.palette(), 200),
        "turned by exif": Sent(images.turned(6), 200),
        "broken exif": Sent(images.broken_exif(), 200),
        "a lie in Content-Type": Sent(jpeg, 200, kind="text/html"),
        "another lie": Sent(jpeg, 200, kind="image/png"),
        "no Content-Type": Sent(jpeg, 200, kind=""),
        "1 x 1 pixel": Sent(images.encoded("PNG", 1, 1), 200),
        "a ribbon": Sent(images.encoded("PNG", 4000, 1), 200),
    }


STRANGERS = _strangers()
BAD = [name for name, sent in STRANGERS.items() if sent.status != 200]
TAKEN = [name for name, sent in STRANGERS.items() if sent.status == 200]


@dataclass(frozen=True)
class Service:
    data: Data
    gateway: Gateway
    http: httpx.Client

    def send(self, sent: Sent) -> httpx.Response:
        headers = {} if sent.kind is None else {"Content-Type": sent.kind}
        return self.http.post("/v1/predictions", content=sent.body, headers=headers)

    def waiting(self) -> int:
        return int(self.http.get("/v1/queues/default.review").json()["waiting"])

    def journaled(self) -> list[PredictionRecord | EventRecord]:
        records = (record for _, record in read(self.data.folder / "journal" / "test"))
        return [record for record in records if isinstance(record, PredictionRecord | EventRecord)]

    def memory(self) -> int:
        return int(psutil.Process(self.gateway.process.pid).memory_info().rss)


@pytest.fixture(scope="module", params=["inprocess", "torchserve"])
def service(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, require: Callable[[str, bool], None]
) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("bad")
    data = make_data(folder / "data")
    with running_valkey(folder / "valkey") as valkey:
        if request.param == "inprocess":
            with running_gateway(data.folder, valkey.url) as gateway, raw(gateway) as http:
                yield Service(data, gateway, http)
            return
        try:
            runtime.java()
            runtime.torchserve_home()
        except ServerError as error:
            require(str(error), False)
        with TorchServe(data.bundle) as server:
            url = f"http://127.0.0.1:{server.listen.inference}"
            with (
                running_gateway(data.folder, valkey.url, classifier="torchserve", torchserve_url=url) as gateway,
                raw(gateway) as http,
            ):
                yield Service(data, gateway, http)


def is_problem(reply: httpx.Response, sent: Sent) -> None:
    assert reply.status_code == sent.status, reply.text
    assert reply.headers["content-type"] == "application/problem+json"
    body = Problem.model_validate(reply.json())
    assert body.status == sent.status
    assert sent.says in body.detail
    assert "; " in body.detail


@pytest.mark.parametrize("name", BAD)
def test_a_bad_body_is_a_problem_and_leaves_nothing(service: Service, name: str) -> None:
    blobs, waiting, journaled = blob_files(service.data.folder), service.waiting(), len(service.journaled())
    is_problem(service.send(STRANGERS[name]), STRANGERS[name])
    assert blob_files(service.data.folder) == blobs
    assert service.waiting() == waiting
    new = service.journaled()[journaled:]
    assert all(isinstance(record, EventRecord) and record.name == "refused" for record in new)


@pytest.mark.parametrize("name", TAKEN)
def test_an_odd_image_is_a_prediction(service: Service, name: str) -> None:
    reply = service.send(STRANGERS[name])
    assert reply.status_code == 200, reply.text
    body = PredictionBody.model_validate(reply.json())
    assert body.model is not None, "the model read it, and not only a person"
    assert "model_unavailable" not in body.reasons
    assert service.http.get(f"/v1/predictions/{body.id}/image").headers["content-type"] == "image/png"


def test_what_exif_turned_is_read_upright(service: Service) -> None:
    """Red sky over green ground: the mean does not tell, but the shown image does."""
    reply = service.send(STRANGERS["turned by exif"])
    shown = service.http.get(f"/v1/predictions/{reply.json()['id']}/image").content
    with Image.open(io.BytesIO(shown)) as image:
        assert image.size == (96, 64)
        sky, ground = image.getpixel((80, 24)), image.getpixel((48, 60))
    assert isinstance(sky, tuple)
    assert isinstance(ground, tuple)
    assert sky[0] > sky[1]
    assert ground[1] > ground[0]


def test_neighbours_sent_at_the_same_time_are_answered(service: Service) -> None:
    bodies = [sent for name, sent in STRANGERS.items() if name != "25 MB"] * 3
    good = [Sent(picture("red", salt=salt), 200) for salt in range(len(bodies))]
    mixed = [each for pair in zip(bodies, good, strict=True) for each in pair]
    waiting = service.waiting()
    with ThreadPoolExecutor(12) as pool:
        replies = list(pool.map(service.send, mixed))
    queued = 0
    for sent, reply in zip(mixed, replies, strict=True):
        assert reply.status_code == sent.status, reply.text
        queued += reply.status_code == 200 and reply.json()["route"] == "review"
    assert [reply.json()["labels"][0]["id"] for reply in replies[1::2]] == ["red"] * len(good)
    assert service.waiting() == waiting + queued
    assert service.http.get("/readyz").json() == {"status": "answering", "why": []}


def test_a_declared_length_is_refused_before_it_is_sent(service: Service) -> None:
    with socket.create_connection(("127.0.0.1", service.gateway.port), timeout=DEADLINE_S) as connection:
        connection.sendall(b"POST /v1/predictions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 25000000\r\n\r\n")
        assert connection.recv(64).startswith(b"HTTP/1.1 413 ")


def test_a_sender_who_leaves_in_the_middle_leaves_nothing(service: Service) -> None:
    blobs, waiting = blob_files(service.data.folder), service.waiting()
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", service.gateway.port), timeout=DEADLINE_S) as connection:
            connection.sendall(
                b"POST /v1/predictions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000\r\n\r\n" + picture()
            )
    assert service.send(Sent(picture("red", salt=5000), 200)).status_code == 200
    assert len(blob_files(service.data.folder) - blobs) == 1
    assert service.waiting() == waiting


def test_memory_stays_flat_under_bad_bodies(service: Service) -> None:
    """Compared after a first round, which fills pools and caches once."""

    def a_round() -> None:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(service.send, [STRANGERS[name] for name in BAD] * 2))

    a_round()
    before = service.memory()
    for _ in range(4):
        a_round()
    gc.collect()
    grown = eventually(lambda: (service.memory() - before < 40 * MEGABYTE) and service.memory() - before + 1)
    assert grown
    assert service.memory() < 600 * MEGABYTE


def test_it_answered_with_no_fault_of_its_own(service: Service) -> None:
    log = Path(service.gateway.process.log).read_text()
    assert "Traceback" not in log
    for line in service.http.get("/metrics").text.splitlines():
        if line.startswith("triage_http_requests_total{"):
            assert 'code="5' not in line, line
