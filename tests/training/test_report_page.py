"""The page itself: from a real bundle, without rules, with several groups, with a thousand classes, with hostile names."""

from __future__ import annotations

import base64
import datetime
import io
import json
import os
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from model_store import bundle as bundle_files
from model_store.bundle import Bundle
from model_store.labels import Group, Label, LabelSchema
from model_store.manifest import Gate, GateCheck, ImageSpec
from model_store.rules import ClassRule, Rules
from secondreader import main
from tests import bundles
from tests.training.conftest import Trained
from training import certify, data, page, report, thumbnails
from training.account import Found, account
from training.images import LabelledImage, from_bytes, truth
from training.score import Scores
from training.splits import SPLITS

NOW = datetime.datetime(2026, 6, 1, tzinfo=datetime.UTC)


class Outline(HTMLParser):
    """Tags that are opened and closed in order, their attributes, and the text outside of styles."""

    VOID = frozenset({"meta", "img", "br"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += " ".join(data.split()) + " "

    def ids(self) -> list[str]:
        return [attributes["id"] or "" for _, attributes in self.tags if "id" in attributes]


def checked(html: str) -> Outline:
    """The page's outline, after what has to hold of every page."""
    outline = Outline(html)
    assert outline.open == []
    assert len(set(outline.ids())) == len(outline.ids())
    assert not [tag for tag, _ in outline.tags if tag in ("script", "link", "iframe", "object", "form")]
    for tag, attributes in outline.tags:
        assert not [name for name in attributes if name.startswith("on")]
        assert (attributes.get("src") or "data:image/").startswith("data:image/")
        assert "href" not in attributes
        if tag == "img":
            assert attributes.get("alt")
    for name in (attributes["aria-labelledby"] for _, attributes in outline.tags if "aria-labelledby" in attributes):
        assert set((name or "").split()) <= set(outline.ids())
    return outline


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return bundles.make(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def rules(trained: Trained) -> Rules:
    return certify.run(trained.result.bundle, trained.recipe, trained.data)


def seen(bundle: Bundle, n: int = 120) -> Scores:
    """Images scored at random, their labels drawn among all labels."""
    rng = np.random.default_rng(0)
    ids = bundle.manifest.labels.ids
    images: list[LabelledImage] = []
    for index in range(n):
        images.append(
            from_bytes(bundles.picture("red", salt=index), f"case-{index}", [ids[int(rng.integers(len(ids)))]])
        )
    heads = bundle.manifest.heads
    probability = rng.beta(0.3, 1, (n, len(heads))).astype(np.float32)
    return Scores(tuple(images), probability, rng.random(n).astype(np.float32), truth(images, heads), 0)


def made(
    bundle: Bundle, rules: Rules | None, test: Scores, plan: dict[str, Any] | None = None
) -> tuple[str, dict[str, Any]]:
    labels = bundle.manifest.labels.ids
    counts = {label: dict.fromkeys(map(str, SPLITS), 10) for label in labels}
    found = Found(counts, dict.fromkeys(map(str, SPLITS), 10 * len(labels)), None, plan, 0.15, None)
    values = account(bundle, rules, test, found, NOW)
    pictures = {
        each["image"]: thumbnails.data_uri(test.images[each["row"]], bundle.manifest.image)
        for each in values["worst"] + values["borderline"]
    }
    return page.render(json.loads(json.dumps(values)), pictures), values


def test_with_rules_it_says_what_is_proven(bundle: Bundle) -> None:
    html, values = made(bundle, bundles.rules(bundle), seen(bundle))
    outline = checked(html)
    head = values["headline"]
    assert f"It answers {100 * head['coverage']:.1f}% of images" in outline.text.replace("  ", " ")
    assert "at least 95% of the answers are right, with 90% confidence in all of them at once" in outline.text
    assert {"headline", "classes", "tradeoff", "calibration", "unlike", "pictures", "data", "record"} <= set(
        outline.ids()
    )
    assert "Answers by itself" in outline.text
    assert "59 more correct firings" in outline.text
    assert "This model has no typicality gate" in outline.text
    assert "What a promise costs" not in outline.text


def test_without_rules_it_says_so(bundle: Bundle) -> None:
    html, values = made(bundle, None, seen(bundle))
    outline = checked(html)
    assert "Nothing is certified yet: people read every image." in outline.text
    assert "There are no rules for this bundle" in outline.text
    assert values["headline"]["answered"] == 0
    assert values["rules"] is None


def test_rules_that_ended_say_so(bundle: Bundle) -> None:
    classes = {
        label: rule.model_copy(update={"certificate": rule.certificate and bundles.certificate(valid_until=NOW)})
        for label, rule in bundles.rules(bundle).classes.items()
    }
    html, values = made(bundle, bundles.sealed(bundles.rules(bundle), classes=classes), seen(bundle))
    assert values["rules"]["ended"]
    assert "nothing is answered; certify again" in checked(html).text


def test_no_test_image_is_no_error(bundle: Bundle) -> None:
    html, _ = made(bundle, bundles.rules(bundle), seen(bundle, 0))
    assert "Some classes are proven, but none of the test images was answered" in checked(html).text


def test_a_gate_shows_its_checks(bundle: Bundle) -> None:
    held_out = GateCheck(name="held_out", images=92, rejected=0.931, auroc=0.975)
    noise, blank = (GateCheck(name=name, images=500, rejected=0.5, auroc=0.9) for name in ("noise", "blank"))
    gate = Gate(
        kind="mahalanobis_all_stages",
        prototypes=3,
        images=500,
        reject=0.05,
        validated=False,
        checks=(held_out, noise, blank),
    )
    gated = Bundle(bundle.folder, bundle.manifest.model_copy(update={"gate": gate}), bundle.digest)
    outline = checked(made(gated, None, seen(gated))[0])
    assert "The gate did not pass its checks" in outline.text
    assert (
        "The gate was seen to stop 93% of images of kinds it has no class for; 50% of noise and blank images."
        in outline.text
    )
    assert "What it lacks: it stops 50% of noise, which should be 80%" in outline.text
    assert "Held-out classes were not checked" not in outline.text
    assert "typicality-title" in outline.ids()


def test_a_gate_that_no_strange_class_was_shown_to_says_so(bundle: Bundle) -> None:
    checks = tuple(
        GateCheck(name=name, images=40, rejected=1.0, auroc=1.0) for name in ("prototypes_removed", "noise", "blank")
    )
    gate = Gate(kind="mahalanobis_embedding", prototypes=3, images=500, reject=0.05, validated=True, checks=checks)
    gated = Bundle(bundle.folder, bundle.manifest.model_copy(update={"gate": gate}), bundle.digest)
    outline = checked(made(gated, None, seen(gated))[0])
    assert "The gate passed the checks that could be made" in outline.text
    assert "Held-out classes were not checked" in outline.text
    assert "The gate was seen to stop 100% of noise and blank images." in outline.text
    assert "What it lacks" not in outline.text


def test_the_risk_of_all_certifications_is_told_with_the_rules(bundle: Bundle) -> None:
    told = "at most 15.0% that any certificate ever made for this bundle claims too much"
    assert told in checked(made(bundle, bundles.rules(bundle), seen(bundle))[0]).text
    assert told not in checked(made(bundle, None, seen(bundle))[0]).text


def test_several_groups_and_certified_absence(bundle: Bundle) -> None:
    labels = (
        Label(id="red", name="Red", group="findings"),
        Label(id="green", name="Green", group="findings"),
        Label(id="blue", name="Blue", group="quality"),
        Label(id="other", name="Other", group="quality"),
    )
    schema = LabelSchema(
        labels=labels, groups=(Group(id="findings", kind="independent"), Group(id="quality", required=False))
    )
    many = Bundle(bundle.folder, bundle.manifest.model_copy(update={"labels": schema}), bundle.digest)
    absent = ClassRule(
        state="automatic", threshold=0.9, absent_below=0.1, certificate=bundles.certificate(), absence=bundles.absence()
    )
    rules = bundles.sealed(
        bundles.rules(bundle),
        labels=schema.digest,
        classes={
            "red": absent,
            "green": absent,
            "blue": ClassRule(state="assist", lacks="more"),
            "other": ClassRule(state="human", lacks="training images"),
        },
    )
    html, values = made(many, rules, seen(many))
    outline = checked(html)
    assert values["headline"]["absences"] == 2
    assert "absent below 0.100: overlooked in at most 4.0% of its images (1 of 200)" in outline.text
    assert "findings" in outline.text


def test_a_thousand_classes_fit_into_five_megabytes(bundle: Bundle) -> None:
    ids = tuple(f"class-{index}" for index in range(1000))
    schema = LabelSchema(labels=tuple(Label(id=each, name=f"Class number {each}") for each in ids))
    manifest = bundle.manifest.model_copy(update={"labels": schema, "heads": ids[:990]})
    many = Bundle(bundle.folder, manifest, bundle.digest)
    automatic = ClassRule(state="automatic", threshold=0.5, veto=0.5, certificate=bundles.certificate())
    rules = bundles.sealed(
        bundles.rules(bundle),
        labels=schema.digest,
        classes={each: automatic if int(each[6:]) < 990 else ClassRule(state="human", lacks="images") for each in ids},
    )
    test = seen(many, 400)
    test.probability[:] = 0.01
    test.probability[np.arange(400), np.arange(400) % 990] = 0.99
    html, values = made(many, rules, test)
    outline = checked(html)
    assert len(html) < 5_000_000
    assert len(values["classes"]) == 1000
    assert f"{990 - page.ROWS} more classes" in outline.text
    assert f"and {990 - page.CERTIFICATES} more; all of them are in report.json." in outline.text
    assert len(values["worst"]) == 12


def test_names_are_text(bundle: Bundle) -> None:
    hostile = '<script>alert("x")</script>'
    labels = tuple(
        label.model_copy(update={"name": f"{label.id} {hostile}"}) for label in bundle.manifest.labels.labels
    )
    schema = bundle.manifest.labels.model_copy(update={"labels": labels})
    named = Bundle(bundle.folder, bundle.manifest.model_copy(update={"labels": schema}), bundle.digest)
    rules = bundles.sealed(bundles.rules(bundle), labels=schema.digest)
    outline = checked(made(named, rules, seen(named))[0])  # no script among its tags
    assert hostile in outline.text


def test_thumbnails_are_small_and_keep_nothing_of_the_file() -> None:
    stream = io.BytesIO()
    Image.new("RGB", (600, 300), (200, 30, 30)).save(stream, "JPEG", comment=b"patient 4711")
    uri = thumbnails.data_uri(from_bytes(stream.getvalue(), "a", ["red"]), ImageSpec(height=224, width=224))
    kind, encoded = uri.split(";base64,")
    content = base64.b64decode(encoded)
    assert kind == "data:image/jpeg"
    assert b"4711" not in content
    with Image.open(io.BytesIO(content)) as small:
        assert max(small.size) <= thumbnails.SIDE


def test_deep_images_are_shown_too() -> None:
    stream = io.BytesIO()
    Image.fromarray(np.full((20, 30), 40_000, np.uint16)).save(stream, "PNG")
    spec = ImageSpec(height=16, width=16, dtype="uint16")
    content = base64.b64decode(thumbnails.data_uri(from_bytes(stream.getvalue(), "a", []), spec).split(",")[1])
    with Image.open(io.BytesIO(content)) as small:
        assert (np.asarray(small) == 40_000 >> 8).all()


class TestCommand:
    """Through the command line, on the trained bundle."""

    def report(self, trained: Trained, *options: str) -> Any:
        return CliRunner().invoke(main, ["report", "colours/1", "--data", str(trained.data), *options])

    def test_it_writes_page_and_numbers(self, trained: Trained, rules: Rules) -> None:
        result = self.report(trained)
        assert result.exit_code == 0, result.output
        folder = report.folder(trained.result.bundle)
        html = (folder / "report.html").read_text("utf-8")
        outline = checked(html)
        values = json.loads((folder / "report.json").read_text("utf-8"))
        assert values["rules"]["digest"] == rules.digest
        assert values["training"]["seconds"]["train"] > 0
        assert rules.digest in outline.text
        loaded = data.load(trained.recipe, trained.data, trained.result.bundle)
        assert values["headline"]["images"] == len(loaded.parts["test"])
        assert f"of {values['headline']['images']} test images" in outline.text

    def test_the_costs_name_the_wage_and_how_many_images_they_are_foretold_for(
        self, trained: Trained, rules: Rules
    ) -> None:
        command = ["plan", "colours/1", "--data", str(trained.data), "--draws", "1", "--target", "0.8", "--wage", "31"]
        told, aside = [], f"(training set {trained.result.evidence} aside)"
        for more in (["--images", "777"], ["--images", str(trained.result.evidence), "--cost-per-error", "5"]):
            planned = CliRunner().invoke(main, [*command, *more])
            assert planned.exit_code == 0, planned.output
            assert self.report(trained).exit_code == 0
            told.append(checked((report.folder(trained.result.bundle) / "report.html").read_text("utf-8")).text)
        (report.folder(trained.result.bundle) / "plan.json").unlink()
        assert f"for 777 certification images {aside};" in told[0]
        assert aside not in told[1]
        assert "at a wage of 31 an hour" in told[0]
        assert "at a wage of 31 an hour, 5 a wrong answer" in told[1]

    def test_it_takes_the_rules_that_are_named(self, trained: Trained, rules: Rules) -> None:
        result = self.report(trained, "--rules", rules.digest, "--json")
        assert result.exit_code == 0, result.output
        assert json.loads(result.output)["rules"]["digest"] == rules.digest

    def test_rules_that_are_not_there_are_one_sentence(self, trained: Trained) -> None:
        result = self.report(trained, "--rules", "sha256:" + "0" * 64)
        assert result.exit_code == 1
        assert "certify the bundle, or name an existing rules file" in result.output
        assert result.output.count("\n") == 1

    def test_rules_of_another_bundle_are_refused(self, trained: Trained, bundle: Bundle) -> None:
        from model_store import rules as rule_files

        other = bundles.rules(bundle)
        rule_files.write(trained.data, other)
        result = self.report(trained, "--rules", other.digest)
        assert result.exit_code == 1
        assert "certify this bundle" in result.output

    def test_a_broken_plan_is_one_sentence(self, trained: Trained, rules: Rules) -> None:
        path = report.folder(trained.result.bundle) / "plan.json"
        path.write_text("{")
        try:
            result = self.report(trained)
        finally:
            os.unlink(path)
        assert result.exit_code == 1
        assert "plan.json cannot be read" in result.output
        assert "remove it, or write it again" in result.output


def test_an_unreadable_bundle_is_one_sentence(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["report", "nothing/1", "--data", str(tmp_path)])
    assert result.exit_code == 1
    assert result.output.count("\n") == 1
    with pytest.raises(Exception, match="nothing"):
        bundle_files.find(tmp_path, "nothing/1")
