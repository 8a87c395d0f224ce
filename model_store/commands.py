"""`secondreader rules show, verify, sign, trust`: what may answer, and who said so. Needs nothing but the base package."""

from __future__ import annotations

import contextlib
import datetime
import json
from collections.abc import Iterator
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from model_store import keys, signing
from model_store import rules as rule_files
from model_store.binomial import printed
from model_store.errors import DocumentError, ModelStoreError
from model_store.rules import Rules

_data = click.option(
    "--data", type=click.Path(path_type=Path, file_okay=False), envvar="TRIAGE_DATA", default=Path("data"),
    show_default=True, help="Data folder.",
)  # fmt: skip
_trusted = click.option(
    "--trusted", type=click.Path(path_type=Path, file_okay=False), envvar="TRIAGE_TRUSTED_KEYS",
    help="Folder of trusted public keys [TRIAGE_TRUSTED_KEYS, default keys/trusted in the data folder].",
)  # fmt: skip
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@contextlib.contextmanager
def _plainly() -> Iterator[None]:
    """A user's mistake is one line and exit code 1."""
    try:
        yield
    except ModelStoreError as error:
        raise click.ClickException(str(error)) from None


@click.group()
def rules() -> None:
    """Rules: what a model may answer, the proof, and the signature that lets it."""


@rules.command()
@click.argument("name", metavar="DIGEST|FILE")
@_data
@_trusted
@_json
def show(name: str, data: Path, trusted: Path | None, as_json: bool) -> None:
    """States, certificates, signature and validity of rules."""
    with _plainly():
        path = _found(name, data)
        made = rule_files.read(path)
        says = _signed(made, path, trusted or keys.trusted_folder(data))
    ended = made.ended(datetime.datetime.now(datetime.UTC))
    if as_json:
        until = made.valid_until.isoformat() if made.valid_until else None
        found = {"digest": made.digest, "signature": says, "valid_until": until, "expired": ended}
        click.echo(json.dumps({**found, "rules": made.model_dump(mode="json")}, indent=1))
        return
    console = Console()
    console.print(_table(made))
    for label, rule in made.classes.items():
        if rule.lacks:
            console.print(f"{label}: {rule.lacks}", highlight=False, soft_wrap=True)
    about = {
        "digest": made.digest,
        "bundle": made.bundle,
        "for": f"{', '.join(f'{made.project}/{site}' for site in made.sites)} on {made.provider} with {made.precision}",
        "only where": ", ".join(condition.told() for condition in made.conditions),
        "signature": says,
        "ends": _end(made, ended),
    }
    for key, value in about.items():  # no table: a narrow terminal would cut the digests
        if value:
            console.print(f"{key:<10} {value}", highlight=False, markup=False, soft_wrap=True)


@rules.command()
@click.argument("name", metavar="DIGEST|FILE")
@_data
@_trusted
def verify(name: str, data: Path, trusted: Path | None) -> None:
    """Whether a gateway that trusts those keys would answer by rules. Exit code 1 when not."""
    with _plainly():
        path = _found(name, data)
        made = rule_files.read(path)
        signing.check(made, path, trusted or keys.trusted_folder(data))
    if made.ended(datetime.datetime.now(datetime.UTC)):
        raise click.ClickException(f"rules {made.digest[:19]} ended on {made.valid_until:%Y-%m-%d}; certify again")
    signed = (
        f"signed by {signing.read(path).key}" if signing.needs_signature(made) else "allow nothing, need no signature"
    )
    click.echo(f"rules {made.digest}: {signed}; {_end(made, False)}")


@rules.command()
@click.argument("name", metavar="FILE|DIGEST")
@click.option(
    "--key", type=click.Path(path_type=Path), envvar="SECONDREADER_SIGNING_KEY",
    help="Private key; without, the data folder's own, which is made at first use.",
)  # fmt: skip
@_data
def sign(name: str, key: Path | None, data: Path) -> None:
    """Signs rules: whoever trusts the key may then answer by them. Only for rules whose proof you have seen."""
    with _plainly():
        path = _found(name, data)
        made = rule_files.read(path)
        signature = signing.sign(made, keys.signing_key(data, key))
        try:
            written = signing.write(path, signature)
        except OSError as error:
            raise DocumentError(f"{signing.path_of(path)}: {error.strerror}; mend the folder's owner") from None
    click.echo(f"{written}: rules {made.digest[:19]}, signed by {signature.key}")


@rules.command()
@click.argument("public", type=click.Path(path_type=Path), metavar="PUBLIC.pem")
@_data
@_trusted
def trust(public: Path, data: Path, trusted: Path | None) -> None:
    """Lets gateways answer by rules that the holder of this key signed."""
    with _plainly():
        key = keys.read_public(public)
        try:
            path = keys.trust(trusted or keys.trusted_folder(data), key)
        except OSError as error:
            raise DocumentError(f"{error.filename}: {error.strerror}; mend the folder's owner") from None
    click.echo(f"{path}: {keys.fingerprint(key)} may sign rules; remove the file to end that")


def _found(name: str, data: Path) -> Path:
    """The file of rules by path, digest, or the first digits of a digest. Raises DocumentError."""
    if Path(name).is_file():
        return Path(name)
    return rule_files.locate(data, name)


def _signed(made: Rules, path: Path, folder: Path) -> str:
    """What there is to say of the signature, good or bad."""
    if not signing.needs_signature(made):
        return "not needed: nothing is answered by these rules"
    try:
        signing.check(made, path, folder)
    except DocumentError as error:
        return f"NOT VALID: {error}"
    return f"valid, by {signing.read(path).key}"


def _end(made: Rules, ended: bool) -> str:
    if made.valid_until is None:
        return "no certificate, so no end"
    return f"{'ENDED on' if ended else 'hold until'} {made.valid_until:%Y-%m-%d %H:%M} UTC"


def _table(made: Rules) -> Table:
    table = Table("label", "state", title=f"rules {made.digest[:19]}", title_justify="left")
    for heading in ("threshold", "promised", "proven", "wrong", "absent below"):
        table.add_column(heading, justify="right")
    for label, rule in made.classes.items():
        proof = rule.certificate
        table.add_row(
            label,
            rule.state,
            f"{rule.threshold:.3f}" if rule.threshold is not None else "",
            f"{proof.target:g}" if proof else "",
            f"≥ {printed(proof.bound, 3):.3f}" if proof else "",
            f"{proof.errors} of {proof.firings}" if proof else "",
            f"{rule.absent_below:.3f}" if rule.absent_below is not None else "",
        )
    return table
