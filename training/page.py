"""`report.html` and `report.json` beside a bundle: what the account found, as a page that needs nothing but itself."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup

from model_store import keys, signing
from model_store import rules as rule_files
from model_store.bundle import Bundle
from model_store.errors import DocumentError
from model_store.rules import Rules
from training import data, figures, gate_checks, ledger, report, thumbnails
from training.account import Found, account
from training.recipe import Recipe
from training.score import score
from training.wording import FILTERS

ROWS = 40
"""Classes of each state in the open; the others fold."""
CERTIFICATES = 200
"""In full on the page; report.json has all."""
LABELS = 40
"""Rows of the table of images."""


def run(bundle: Bundle, recipe: Recipe, out: Path, digest: str | None = None) -> tuple[Path, dict[str, Any]]:
    """Scores the test images and writes page and numbers; returns the page's path and the numbers.

    `digest` names the rules; without it the last ones that were certified for this bundle, if any.
    Raises a ModelStoreError for everything its caller can mend, test images that certified something among it.
    """
    digest = digest or _latest(bundle)
    rules = rule_files.find(out, digest) if digest else None
    if rules:
        rules.check_fits(bundle.digest, bundle.manifest)
    dataset = data.load(recipe, out, bundle)
    ledger.record(out, "test", dataset.parts["test"], ledger.of_bundle(bundle, recipe), recipe.data.near_duplicates)
    test = score(bundle, dataset.parts["test"], rules.provider if rules else "cpu", "testing")
    found = Found.of(
        dataset,
        report.read(bundle, "training"),
        report.read(bundle, "plan"),
        ledger.risk(out, bundle.digest) or None,
        _signed(rules, out) if rules else None,
    )
    values = account(bundle, rules, test, found, datetime.datetime.now(datetime.UTC))
    pictures = {
        each["image"]: thumbnails.data_uri(test.images[each.pop("row")], bundle.manifest.image)
        for each in values["worst"] + values["borderline"]
    }
    path = report.write(bundle, "report", values).with_suffix(".html")
    path.write_text(render(values, pictures), "utf-8")
    return path, values


def _latest(bundle: Bundle) -> str | None:
    """Digest of the rules whose certification was reported last; None where nobody certified."""
    written = sorted(report.folder(bundle).glob("certificate-*.json"), key=lambda path: path.stat().st_mtime_ns)
    told = report.read(bundle, written[-1].stem) if written else None
    return str(told["digest"]) if told else None


def _signed(rules: Rules, out: Path) -> dict[str, Any] | None:
    """Who signed; None where nobody did, or nothing has to be."""
    file = out / "rules" / f"{rules.digest.removeprefix('sha256:')}.json"
    if not signing.path_of(file).is_file():
        return None
    signature = signing.read(file)
    try:
        signing.check(rules, file, keys.trusted_folder(out))
    except DocumentError as error:
        return {"key": signature.key, "trusted": False, "why": str(error)}
    return {"key": signature.key, "trusted": True, "why": ""}


def render(values: Mapping[str, Any], pictures: Mapping[str, str]) -> str:
    """The page. `values`: an account; `pictures`: image name -> data URI. Pure."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("training", "report_page"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {**FILTERS, "check_words": gate_checks.words}
    classes = [
        {**each, "proof_bar": figures.proof(each["certificate"], f"proof-{index}") if each["certificate"] else ""}
        for index, each in enumerate(values["classes"])
    ]
    shown = [each for state in ("automatic", "assist", "human") for each in _of(classes, state)[:ROWS]]
    proofs = [(each["id"], kind, each[kind]) for each in classes for kind in ("certificate", "absence") if each[kind]]
    labels = sorted(values["data"]["labels"].items(), key=lambda item: -sum(item[1].values()))
    style = (files("training") / "report_page" / "style.css").read_text("utf-8")
    return environment.get_template(
        "page.html"
    ).render(
        it=values,
        pictures=pictures,
        style=Markup(style),  # our own file, and the CSP lets nothing else in
        charts={
            "risk": figures.risk_coverage(values["curve"]) if values["curve"]["ours"] else "",
            "reliability": figures.reliability(values["reliability"]) if values["reliability"]["bins"] else "",
            "typicality": figures.typicality(values["typicality"]) if values["typicality"]["gate"] else "",
        },
        tradeoff=_tradeoff(values["curve"]),
        shown=shown,
        hidden=[each for state in ("automatic", "assist", "human") for each in _of(classes, state)[ROWS:]],
        matrix=_matrix(values["confusion"]),
        certified=proofs[:CERTIFICATES],
        certified_left=len(proofs[CERTIFICATES:]),
        labels=labels[:LABELS],
        labels_left=len(labels[LABELS:]),
    )


def _of(classes: list[dict[str, Any]], state: str) -> list[dict[str, Any]]:
    return [each for each in classes if each["state"] == state]


def _tradeoff(curve: Mapping[str, Any]) -> list[tuple[float, float, float]]:
    """The curves at every tenth of the images: answered, error, the oracle's."""
    if not curve["ours"]:
        return []
    at = np.linspace(0.1, 1, 10)
    ours, best = (np.interp(at, *np.array(curve[name]).T) for name in ("ours", "oracle"))
    return [(float(x), float(y), float(z)) for x, y, z in zip(at, ours, best, strict=True)]


def _matrix(confusion: Mapping[str, Any]) -> dict[str, Any] | None:
    """The confusion as rows of cells; None where it is too wide for one."""
    if not confusion["labels"]:
        return None
    counts = {(answered, true): count for answered, true, count in confusion["counts"]}
    answered = [label for label in confusion["labels"] if any(pair[0] == label for pair in counts)]
    columns = [*confusion["labels"], *([""] if any(true == "" for _, true in counts) else [])]
    rows = []
    for label in answered:
        cells = [{"count": counts.get((label, true), 0), "same": label == true} for true in columns]
        total = sum(int(cell["count"]) for cell in cells)
        rows.append({"label": label, "cells": [{**cell, "share": cell["count"] / total} for cell in cells]})
    return {"columns": columns, "rows": rows}
