"""Documents of every kind over real HTTP: conditions, sentences, events with their author; and two gateways on one folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from model_store.record import EventRecord
from tests.bundles import picture
from tests.services import client, eventually, make_data, running_gateway
from tests.triage.serving import Served, problem
from triage.control.kinds import KINDS, Kind
from triage.journal.segments import read

OFF = {"answering": False, "reason": "a wrong batch"}
NEW = {"If-None-Match": "*"}


def events(served: Served, kind: str) -> list[EventRecord]:
    found = [record for _, record in read(served.data.folder / "journal" / "test") if isinstance(record, EventRecord)]
    return [record for record in found if record.name.startswith(f"{kind}_")]


def put(served: Served, path: str, body: dict[str, Any]) -> str:
    """Puts a document, new or over what is there; its etag."""
    now = served.http.get(path)
    condition = {"If-Match": now.headers["etag"]} if now.status_code == 200 else NEW
    reply = served.http.put(path, json=body, headers=condition)
    assert reply.status_code == 200, reply.text
    return reply.headers["etag"]


def test_a_document_is_made_read_replaced_and_removed(served: Served) -> None:
    path = "/v1/projects/default/switch"
    problem(served.http.get(path), 404, "there is no project switch document of project 'default'", "If-None-Match: *")
    made = served.http.put(path, json=OFF, headers=NEW)
    assert (made.status_code, made.json()) == (200, OFF)
    found = served.http.get(path)
    assert (found.json(), found.headers["etag"]) == (OFF, made.headers["etag"])
    problem(served.http.put(path, json=OFF, headers=NEW), 412, "read it again and repeat the change")
    problem(served.http.put(path, json=OFF), 412, "send If-Match with the ETag you read")
    changed = served.http.put(path, json={"answering": True}, headers={"If-Match": made.headers["etag"]})
    assert changed.status_code == 200
    problem(served.http.delete(path), 412, "send its ETag")
    problem(served.http.delete(path, headers={"If-Match": made.headers["etag"]}), 412, "read it again")
    gone = served.http.delete(path, headers={"If-Match": changed.headers["etag"]})
    assert (gone.status_code, gone.content) == (204, b"")
    problem(served.http.get(path), 404)
    told = [(each.name, each.detail["before"]) for each in events(served, "project_switch")]
    first, second = made.headers["etag"], changed.headers["etag"]
    assert told == [
        ("project_switch_changing", ""), ("project_switch_changed", ""),
        ("project_switch_changing", first), ("project_switch_changed", first),
        ("project_switch_changing", second), ("project_switch_removed", second),
    ]  # fmt: skip
    assert all(each.actor for each in events(served, "project_switch"))
    assert '"reason": "a wrong batch"' in events(served, "project_switch")[0].detail["document"].replace('":"', '": "')


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"answering": False}, "add a reason"),
        ({}, "body.answering"),
        ({"answering": True, "x": 1}, "body.x"),
        ([], "body"),
    ],
)
def test_a_document_that_cannot_be_is_422(served: Served, body: Any, says: str) -> None:
    before = len(events(served, "project_switch"))
    problem(served.http.put("/v1/projects/new/switch", json=body, headers=NEW), 422, says)
    assert len(events(served, "project_switch")) == before, "what is refused was never begun"


@pytest.mark.parametrize("path", ["/v1/projects/A/switch", "/v1/projects/a~b/switch", "/v1/projects/%2e%2e/switch"])
def test_names_are_of_small_letters(served: Served, path: str) -> None:
    reply = served.http.put(path, json={"answering": True}, headers=NEW)
    assert reply.status_code in (404, 405, 422)


def test_the_switch_stops_every_answer_and_gives_it_back(served: Served) -> None:
    assert served.predict("red", 1)["route"] == "automatic"
    tag = put(served, "/v1/switch", OFF)
    stopped = served.predict("red", 2)
    assert (stopped["route"], stopped["reasons"]) == ("review", ["site_assisting"])
    assert any("the switch is off (a wrong batch)" in why for why in served.http.get("/readyz").json()["why"])
    served.http.delete("/v1/switch", headers={"If-Match": tag})
    assert served.predict("red", 3)["route"] == "automatic"


def test_sites_are_listed(served: Served) -> None:
    listed = served.http.get("/v1/projects/default/sites").json()["documents"]
    assert [each["name"] for each in listed] == ["default"]
    assert listed[0]["etag"] == served.http.get("/v1/projects/default/sites/default").headers["etag"]
    assert served.http.get("/v1/projects/nowhere/sites").json() == {"documents": []}


@pytest.mark.parametrize("kind", [kind for kind in KINDS.values() if kind.routed], ids=lambda kind: kind.name)
def test_every_kind_has_its_routes_in_the_openapi_document(served: Served, kind: Kind[Any]) -> None:
    paths = served.http.get("/openapi.json").json()["paths"]
    where = f"/v1/projects/{{project}}/{kind.folder}" if kind.of_project else f"/v1/{kind.folder}"
    one = where if kind.single else f"{where}/{{name}}"
    assert {"get", "put", "delete"} <= set(paths[one])
    body = paths[one]["put"]["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    assert body.rsplit("/", 1)[1].startswith(kind.model.__name__)
    assert kind.single or "get" in paths[where]
    parameters = {each["name"] for each in paths[one]["put"]["parameters"]}
    assert parameters == {"if-match", "if-none-match"} | ({"project"} if kind.of_project else set()) | (
        set() if kind.single else {"name"}
    )


def test_two_gateways_on_one_folder_follow_each_other(served: Served, tmp_path: Path) -> None:
    """What one is told the other obeys as soon as it has polled, documents and sites alike."""
    with (
        running_gateway(served.data.folder, served.valkey.url, node="second", blobs=str(tmp_path)) as other,
        client(other) as second,
    ):

        def route(salt: int) -> str:
            return str(second.predict(picture("red", salt=salt))["route"])

        assert route(1) == "automatic"
        tag = put(served, "/v1/switch", OFF)
        eventually(lambda: route(2) == "review")
        served.http.delete("/v1/switch", headers={"If-Match": tag})
        eventually(lambda: route(3) == "automatic")
        before = served.http.get("/v1/projects/default/sites/default")
        put(served, "/v1/projects/default/sites/default", {**before.json(), "mode": "capture"})
        eventually(lambda: route(4) == "captured")
        put(served, "/v1/projects/default/sites/default", before.json())
        eventually(lambda: route(5) == "automatic")


def test_a_class_that_one_gateway_suspends_the_other_no_longer_answers(served: Served, tmp_path: Path) -> None:
    with (
        running_gateway(served.data.folder, served.valkey.url, node="suspends", blobs=str(tmp_path)) as other,
        client(other) as second,
    ):

        def route(salt: int) -> str:
            return str(second.predict(picture("red", salt=salt))["route"])

        assert route(11) == "automatic"
        where = "/v1/projects/default/sites/default/classes/red"
        said = served.http.post(f"{where}/suspend", json={"reason": "a new scanner", "actor": "grace"})
        assert said.status_code == 200, said.text
        eventually(lambda: route(12) == "review")
        said = served.http.post(f"{where}/resume", json={"reason": "mended", "actor": "grace", "hours": 1})
        assert said.status_code == 200, said.text
        eventually(lambda: route(13) == "automatic")


def test_a_gateway_that_cannot_read_its_documents_defers_and_answers_again(served: Served, tmp_path: Path) -> None:
    data = make_data(tmp_path / "data")
    control = data.folder / "control"
    with (
        running_gateway(data.folder, served.valkey.url, node="alone", control_stale_s="1.5") as gateway,
        client(gateway) as http,
    ):

        def answer(salt: int) -> tuple[str, list[str]]:
            found = http.predict(picture("red", salt=salt))
            return found["route"], found["reasons"]

        assert answer(1) == ("automatic", [])
        control.rename(tmp_path / "elsewhere")
        eventually(lambda: answer(2) == ("review", ["control_stale"]))
        (tmp_path / "elsewhere").rename(control)
        eventually(lambda: answer(3) == ("automatic", []))
