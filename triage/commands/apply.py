"""`secondreader apply` and `secondreader diff`: control documents kept in files."""

from __future__ import annotations

import difflib
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from triage.commands.options import json_option, key_option, url_option

if TYPE_CHECKING:
    from triage.commands.at_service import Service
    from triage.control.declared import Declared

files_option = click.option(
    "-f", "--file", "files", multiple=True, required=True, type=click.Path(path_type=Path, exists=True),
    help="YAML or JSON file, or a folder of them; may be given again.",
)  # fmt: skip


class _Trouble(click.ClickException):
    exit_code = 2  # 1 is a difference


@dataclass(frozen=True)
class _Found:
    """A document of the files beside what stands in the service."""

    declared: Declared
    stands: dict[str, Any] | None
    etag: str | None

    @property
    def differs(self) -> bool:
        return self.stands != self.declared.shown()

    def lines(self) -> str:
        """Both as a unified diff."""
        from triage.control.declared import text

        before = [] if self.stands is None else text(self.stands).splitlines(keepends=True)
        after = text(self.declared.shown()).splitlines(keepends=True)
        return "".join(difflib.unified_diff(before, after, f"service: {self.declared.told}", self.declared.where))


@click.command()
@files_option
@url_option
@key_option
@json_option
def apply(files: tuple[Path, ...], url: str, key: str | None, as_json: bool) -> None:
    """Makes the service's control documents what the files say. Applying again changes nothing, and nothing is removed."""
    from triage.commands.at_service import Refused

    failed, done = False, []
    with _service(url, key) as service:
        for found in _found(service, files):
            each, etag, refused = found.declared, found.etag, ""
            did = "unchanged" if not found.differs else "made" if found.stands is None else "changed"
            if found.differs:
                try:
                    etag = service.put(each.path, each.shown(), found.etag)
                except Refused as error:
                    did, refused, failed = "refused", str(error), True
            done.append({"kind": each.kind.name, "project": each.project, "name": each.name, "did": did, "etag": etag})
            if refused:
                click.echo(f"Error: {each.where}: {each.told}: {refused}", err=True)
            elif not as_json:
                click.echo(f"{did} {each.told}")
    if as_json:
        click.echo(json.dumps(done))
    sys.exit(1 if failed else 0)


@click.command()
@files_option
@url_option
@key_option
def diff(files: tuple[Path, ...], url: str, key: str | None) -> None:
    """Shows what `apply` would change, as a unified diff. Ends with 0 for no difference, 1 for some, 2 for an error."""
    try:
        with _service(url, key) as service:
            differing = [found for found in _found(service, files) if found.differs]
    except click.UsageError:
        raise
    except click.ClickException as error:
        raise _Trouble(error.message) from None
    for found in differing:
        click.echo(found.lines(), nl=False)
    sys.exit(1 if differing else 0)


def _service(url: str, key: str | None) -> Service:
    from triage.commands.at_service import Service

    return Service(url, key)


def _found(service: Service, files: tuple[Path, ...]) -> Iterator[_Found]:
    """Every document; all of them were read and understood before the first is given."""
    from model_store.errors import ModelStoreError
    from triage.control.declared import read

    try:
        declared = read(files)
        stand = [service.read(each.path) for each in declared]
        found = [
            _Found(each, None if told is None else each.as_shown(told), etag)
            for each, (told, etag) in zip(declared, stand, strict=True)
        ]
    except ModelStoreError as error:
        raise click.ClickException(str(error)) from None
    yield from found
