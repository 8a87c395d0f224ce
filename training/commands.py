"""`secondreader train, certify`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table

from training.options import DATA, JSON, RECIPE, SHARE, open_bundle, plainly, read_recipe, recipe_of

if TYPE_CHECKING:
    from model_store.rules import Rules
    from training.evaluate import Evaluation
    from training.train import TrainResult


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@DATA
@JSON
def train(recipe: Path, data: Path, as_json: bool) -> None:
    """From labelled images to a bundle. RECIPE is a TOML file, or `sample` for the shipped one."""
    with plainly():
        from training.train import run

        result = run(read_recipe(recipe), data)
    if as_json:
        click.echo(json.dumps(result.to_dict(), indent=1))
    else:
        _show_training(result)


@click.command()
@click.argument("bundle")
@DATA
@RECIPE
@click.option("--target", type=SHARE, help="Precision to prove.")
@click.option("--delta", type=SHARE, help="Risk of a false proof.")
@click.option("--project", help="Project of those sites.")
@click.option("--site", "sites", multiple=True, help="Site that the images come from; may be repeated.")
@click.option("--provider", type=click.Choice(["cpu", "cuda"]), help="What the model will be served on.")
@click.option(
    "--from-log",
    "log",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Certify on what was read blind in operation: a folder that `secondreader log export` wrote.",
)
@click.option(
    "--rules", "digest", help="With --from-log: digest of the rules under which it was drawn, or its first 8 digits."
)
@click.option(
    "--blobs", type=click.Path(path_type=Path, file_okay=False, exists=True), envvar="TRIAGE_BLOBS",
    help="With --from-log: folder of the service's images; without, blobs in the data folder.",
)  # fmt: skip
@click.option(
    "--key", type=click.Path(path_type=Path), envvar="SECONDREADER_SIGNING_KEY",
    help="Private key that signs the rules; without, the data folder's own.",
)  # fmt: skip
@JSON
def certify(
    bundle: str,
    data: Path,
    recipe: Path | None,
    sites: tuple[str, ...],
    key: Path | None,
    log: Path | None,
    digest: str | None,
    blobs: Path | None,
    as_json: bool,
    **promise: Any,
) -> None:
    """From a bundle and fresh data to rules, then what they do on the test images.

    Certification images certify once: afterwards they may only train, and another promise needs fresh ones. What a promise
    would give, `secondreader plan` foretells without using any up.

    BUNDLE is a bundle's folder, or `name/version` in the data folder. With --from-log the evidence is what people read in
    operation of the classes that gathered it, and only those change.
    """
    if (log is None) != (digest is None):
        raise click.UsageError(
            "--from-log FOLDER goes with --rules DIGEST, the rules under which the readings were drawn"
        )
    with plainly():
        from training import certify as certification
        from training import data as datasets
        from training import evaluate, from_log, ledger

        opened = open_bundle(bundle, data)
        chosen = recipe_of(opened, recipe)
        changes = {key: value for key, value in {**promise, "sites": sites}.items() if value}
        chosen = dataclasses.replace(chosen, certification=dataclasses.replace(chosen.certification, **changes))
        dataset = datasets.load(chosen, data, opened)
        told: tuple[str, ...] = ()
        if log is None or digest is None:
            rules = certification.run(opened, chosen, data, dataset, key)
        else:
            made = from_log.run(opened, chosen, data, log, digest, key, dataset, blobs)
            rules, told = made.rules, made.told
        evaluation = evaluate.run(opened, rules, dataset)
        ledger.record(
            data, "test", dataset.parts["test"], ledger.of_bundle(opened, chosen), chosen.data.near_duplicates
        )
    if as_json:
        found = {
            "digest": rules.digest,
            "rules": rules.model_dump(mode="json"),
            "test": evaluation.to_dict(),
            "told": told,
        }
        click.echo(json.dumps(found, indent=1))
    else:
        _show_rules(rules, evaluation)
        for sentence in told:
            click.echo(sentence)


@click.command()
@DATA
@JSON
def uses(data: Path, as_json: bool) -> None:
    """What images have been used for: what trained, tuned, certified and tested which model, and when."""
    with plainly():
        from training.acts import read

        acts = [act.to_dict() for act in read(data)]
    if as_json:
        click.echo(json.dumps(acts, indent=1))
        return
    table = Table(title=f"{data}/uses")
    for heading in ("when (UTC)", "use", "model", "images", "act"):
        table.add_column(heading, justify="right" if heading == "images" else "left")
    for act in acts:
        use = act["purpose"] + (" (set aside)" if act["planned"] else "")
        model, when = act["of"].get("model", ""), act["at"][:16].replace("T", " ")
        table.add_row(when, use, model, f"{act['images']:,}", act["digest"][:12])
    console = Console()
    console.print(table if acts else f"{data}/uses: nothing has been used yet")


def _show_training(result: TrainResult) -> None:
    from training.gate_checks import words

    model = result.bundle.manifest
    table = Table(title=f"{model.name}/{model.version}", show_header=False)
    table.add_row("bundle", str(result.bundle.folder))
    table.add_row("heads", ", ".join(result.heads))
    few = ", ".join(f"{label} ({images})" for label, images in result.without_head.items())
    table.add_row("for people alone (training images)", few or "none")
    table.add_row("images", ", ".join(f"{split} {count:,}" for split, count in result.images.items()))
    table.add_row("accuracy where there is a head, tune", f"{result.accuracy:.3f}")
    for check in model.gate.checks if model.gate else ():
        row = f"{check.rejected:.2f} (AUROC {check.auroc:.3f}, {check.images:,} images)"
        table.add_row(f"gate stops {words(check.name)}", row)
    table.add_row("largest difference to torch", f"{result.parity:.1e}")
    table.add_row("seconds", ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in result.seconds.items()))
    console = Console()
    console.print(table)
    if model.gate is None:
        console.print("no gate (typicality.prototypes = 0): images unlike the training set are answered like any other")
    elif result.gate_lacks:
        reasons = "; ".join(result.gate_lacks)
        console.print(f"the gate is NOT VALIDATED, do not count on it against unlike images: {reasons}", soft_wrap=True)
    for sentence in result.gate_unchecked:
        console.print(sentence, soft_wrap=True)
    if result.evidence_lacks:
        console.print(f"WARNING: {result.evidence_lacks}", soft_wrap=True)
    name = f"{model.name}/{model.version}"
    console.print(
        f"next: secondreader plan {name} (uses nothing up), then secondreader certify {name} "
        f"(uses the {result.evidence:,} certification images up)",
        soft_wrap=True,
    )


def _show_rules(rules: Rules, evaluation: Evaluation) -> None:
    from model_store.binomial import printed

    table = Table(title=f"rules {rules.digest[:19]} for {', '.join(rules.sites)} on {rules.provider}")
    for heading in ("label", "state", "threshold", "certified", "on test images"):
        table.add_column(heading, justify="left" if heading in ("label", "state") else "right")
    for label, rule in rules.classes.items():
        proof = rule.certificate
        stranger = evaluation.strangers.get(label)
        seen = f"{stranger.answered} of {stranger.images} answered" if stranger else ""
        if proof:
            seen = f"{evaluation.classes[label].wrong} of {evaluation.classes[label].answered} wrong"
        table.add_row(
            label,
            rule.state,
            f"{rule.threshold:.3f}" if rule.threshold is not None else "",
            f"≥ {printed(proof.bound, 3):.3f} ({proof.errors} of {proof.firings} wrong)" if proof else "",
            seen,
        )
    console = Console()
    console.print(table)
    for label, rule in rules.classes.items():
        if rule.absence:
            found = rule.absence
            npv = (
                f"; {found.npv:.1%} of what is called absent is, at a prevalence of {found.prevalence:.1%}"
                if found.npv
                else ""
            )
            console.print(
                f"{label}: absent below {rule.absent_below:.3f}, which overlooks at most "
                f"{printed(found.bound, 3, upper=True):.3f} of the images that "
                f"show it ({found.missed} of {found.positives}){npv}",
                highlight=False,
            )
        if rule.lacks:
            console.print(f"{label}: {rule.lacks}", highlight=False)
    everything = evaluation.all
    low, high = everything.interval
    right = (
        f"{everything.precision:.4f} right (95%: {printed(low, 4):.4f} to {printed(high, 4, upper=True):.4f})"
        if everything.answered
        else "none"
    )
    console.print(
        f"test: {everything.answered:,} of {everything.images:,} images answered ({everything.coverage:.1%}), {right}"
    )
