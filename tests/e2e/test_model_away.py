"""TorchServe dies and returns: callers get 200 throughout, people get the items, and the model takes back its own."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from handlers.server import TorchServe
from model_store.record import PredictionRecord
from tests import bundles, services
from triage.client import Client
from triage.control.catalog import Catalog
from triage.explain import explain
from triage.journal.segments import nodes, read

QUEUE = "default.review"


def test_torchserve_killed_mid_stream(tmp_path: Path, require: Callable[[str, bool], None]) -> None:
    require("torchserve", importlib.util.find_spec("ts") is not None)
    bundle = services.make_data(tmp_path).bundle
    with (
        TorchServe(bundle) as server,
        services.running_valkey(tmp_path / "valkey") as valkey,
        services.running_gateway(
            tmp_path,
            valkey.url,
            classifier="torchserve",
            torchserve_url=f"http://127.0.0.1:{server.listen.inference}",
        ) as gateway,
        Client(gateway.url) as client,
        ThreadPoolExecutor(8) as pool,
    ):
        pictures = iter([bundles.picture(("red", "grey")[salt % 2], salt=salt) for salt in range(400)])

        def some(count: int) -> list[dict[str, object]]:
            return list(pool.map(client.predict, [next(pictures) for _ in range(count)]))

        before = some(40)
        assert {each["route"] for each in before} == {"automatic", "review"}
        assert all("model_unavailable" not in each["reasons"] for each in before)  # type: ignore[operator]

        streaming = pool.submit(lambda: [client.predict(next(pictures)) for _ in range(60)])
        server.kill()
        during = [*streaming.result(), *some(40)]
        away = [each for each in during if each["reasons"] == ["model_unavailable"]]
        assert len(away) >= 40
        assert {each["route"] for each in away} == {"review"}

        held = client.lease(QUEUE, "ada", count=100)
        mine = {item.item for item in held} & {str(each["id"]) for each in away}
        for item in held[20:]:
            client.give_back(item)
        mine = {item.item for item in held[:20]} & mine

        server.start()
        server.wait_ready(60)
        services.eventually(
            lambda: "model_unavailable" not in client.predict(bundles.picture("red", salt=999))["reasons"]
        )
        unleased = [each for each in away if each["id"] not in mine]

        def settled() -> bool:
            states = list(pool.map(lambda each: client.prediction(str(each["id"])), unleased))
            return all("model_unavailable" not in state["reasons"] for state in states)

        services.eventually(settled, 60)
        again = {each["id"]: each for each in pool.map(lambda each: client.prediction(str(each["id"])), unleased)}
        routes = {state["route"] for state in again.values()}
        assert routes == {"automatic", "review"}
        withdrawn = [state for state in again.values() if state["route"] == "automatic"]
        assert all(state["final"]["by"] == "model" for state in withdrawn)
        waiting = client.queue(QUEUE)["waiting"]
        by_hand = sum(state["route"] == "review" for state in again.values())
        assert waiting >= by_hand

    records = [record for node in nodes(tmp_path / "journal") for _, record in read(node)]
    decisions = [record for record in records if isinstance(record, PredictionRecord)]
    both = {record.id for record in decisions if record.revision == 2}
    assert {state["id"] for state in withdrawn} <= both, "both decisions are in the journal"
    catalog = Catalog(tmp_path)
    assert all(explain(record, catalog).agrees for record in decisions)
