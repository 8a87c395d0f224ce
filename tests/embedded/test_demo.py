"""The demo on a recipe too small to certify much: every stage runs on real parts, and the account adds up."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import training.recipe
from embedded.demo import MARK, REVIEWED, Demo, account
from embedded.ports import free_ports
from embedded.stack import Stack
from model_store.record import PredictionRecord
from training import sample

SHARE = 4
"""The test sends every fourth image of the stream."""


def test_the_account_of_a_run_adds_up(tmp_path: Path) -> None:
    recipe = training.recipe.sample()
    recipe = dataclasses.replace(
        recipe,
        image=recipe.image.model_copy(update={"height": 28, "width": 28}),
        training=dataclasses.replace(recipe.training, epochs=2),
    )
    said: list[str] = []
    demo = Demo(tmp_path / "demo", said.append, recipe=recipe)
    (demo.data / "control").mkdir(parents=True)
    (demo.folder / MARK).touch()
    bundle, rules = demo.prepare()
    assert said[0].startswith(f"This replaces the earlier demo in {demo.folder}; ")
    assert f"`secondreader up --data {demo.data}`" in said[0]
    with Stack(demo.data, free_ports(1)[0]) as stack:
        gateway = demo.start(stack)
        sent = demo.stream(gateway, sample.images("test")[::SHARE])
        read = demo.review(gateway, sent)
        checked = demo.audit(gateway, sent)
    found = account(demo, sent, {**read, **checked})

    assert found["images"] == len(sent) == sum(found["routes"].values())
    assert found["reviewed"] == REVIEWED
    audits = found["audits"]
    truth = {prediction["id"]: image.present for image, prediction in sent}
    drawn = [each for each in demo._records() if isinstance(each, PredictionRecord) and each.drawn]
    doubted = [each for each in drawn if set(each.drawn) - set(truth[each.id])]
    assert audits["drawn"] == audits["read"] == len(drawn)
    assert audits["read_again"] == len(doubted)
    # Two who know the truth agree; of an image that waits for a person nobody has an answer that could be corrected.
    assert audits["corrected"] == sum(each.route == "automatic" for each in doubted)
    assert found["lost"] == found["disagreements"] == 0
    assert found["explained"] == len(sent)
    assert found["model"] == {"bundle": bundle.digest, "rules": rules.digest}
    assert found["never_seen_class"]["labels"] == ["bag"]
    assert found["never_seen_class"]["images"] == sum("bag" in image.present for image, _ in sent)
    assert set(found["seconds"]) == {"train", "certify", "start", "stream", "review", "audit", "total"}
    states = {label: each["state"] for label, each in found["classes"].items()}
    assert {states[label] for label in ("coat", "sandal", "bag")} == {"human"}
    answered = sum(each["answered"] for each in found["classes"].values())
    assert answered == found["routes"].get("automatic", 0)
    for each in found["classes"].values():
        assert each["right"] <= each["answered"]
        assert each["answered"] == 0 or each["state"] == "automatic"
