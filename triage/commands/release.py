"""`secondreader release`: tries a model at a site, puts it in force, and takes it back."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table

from triage.commands.options import json_option, key_option, url_option

if TYPE_CHECKING:
    from triage.control.site_document import SiteDocument

Change = Callable[["SiteDocument"], "SiteDocument"]


class _SiteName(click.ParamType[tuple[str, str]]):
    name = "project/site"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        parts = str(value).split("/")
        if len(parts) != 2 or not all(parts):
            self.fail(f"{value!r} names no site; write it like default/default", param, ctx)
        return parts[0], parts[1]


def _options(command: Any) -> Any:
    site = click.option("--site", type=_SiteName(), default="default/default", show_default=True, help="Which site.")
    for option in (json_option, key_option, url_option, site):
        command = option(command)
    return command


rules_option = click.option("--rules", metavar="DIGEST", help="Rules it answers by, sha256:...; none: it only assists.")


@click.group()
def release() -> None:
    """A site's champion, its challenger, and the way back."""


@release.command()
@_options
def status(site: tuple[str, str], url: str, key: str | None, as_json: bool) -> None:
    """What answers at a site, what is tried, and what a rollback goes back to."""
    from triage.commands.at_service import Service

    with Service(url, key) as service:
        document, _ = _read(service, site)
    _show(document, as_json)


@release.command()
@click.argument("model", metavar="NAME/VERSION")
@rules_option
@click.option(
    "--share", type=float, default=1.0, show_default=True, help="Share of the site's images that it reads too."
)
@_options
def shadow(model: str, rules: str | None, share: float, **where: Any) -> None:
    """A challenger reads along; what it would have said is recorded and never answers."""
    from triage.control import release as changes

    _change(lambda document: changes.shadow(document, model, rules, share), **where)


@release.command()
@click.argument("model", metavar="NAME/VERSION")
@rules_option
@click.option(
    "--share", type=float, default=0.05, show_default=True, help="Share of the site's images that it answers."
)
@_options
def canary(model: str, rules: str | None, share: float, **where: Any) -> None:
    """A challenger answers a share of the images by its own rules."""
    from triage.control import release as changes

    _change(lambda document: changes.canary(document, model, rules, share), **where)


@release.command()
@click.argument("model", metavar="[NAME/VERSION]", required=False)
@rules_option
@_options
def promote(model: str | None, rules: str | None, **where: Any) -> None:
    """The challenger, or the named model, becomes the champion; the former one is kept for `rollback`."""
    from triage.control import release as changes

    if model is None and rules is not None:
        raise click.UsageError("--rules are of a named model; name it, or leave them out for the challenger's own")
    _change(lambda document: changes.promote(document, model, rules), **where)


@release.command()
@_options
def rollback(**where: Any) -> None:
    """Takes the challenger away; without one the previous release is in force again."""
    from triage.control import release as changes

    _change(changes.rollback, **where)


def _change(change: Change, site: tuple[str, str], url: str, key: str | None, as_json: bool) -> None:
    """Read, changed, put on the version that was read."""
    from triage.commands.at_service import Refused, Service
    from triage.errors import TriageError

    with Service(url, key) as service:
        before, etag = _read(service, site)
        try:
            after = change(before)
        except TriageError as error:
            raise click.ClickException(str(error)) from None
        if after != before:
            try:
                service.put(_path(site), after.model_dump(mode="json", exclude_defaults=True), etag)
            except Refused as error:
                if error.status != 412:
                    raise
                raise click.ClickException(
                    f"{'/'.join(site)} was changed by somebody else meanwhile; look at 'release status' and say it again"
                ) from None
    _show(after, as_json)


def _read(service: Any, site: tuple[str, str]) -> tuple[SiteDocument, str]:
    from pydantic import ValidationError

    from model_store.errors import document_error
    from triage.control.site_document import SiteDocument

    found, etag = service.read(_path(site))
    if found is None:
        raise click.ClickException(f"there is no site {'/'.join(site)}; declare it with 'secondreader apply'")
    try:
        return SiteDocument.model_validate_json(json.dumps(found)), etag
    except ValidationError as error:
        said = document_error("the service's document, which may be newer than this program", error)
        raise click.ClickException(str(said)) from None


def _path(site: tuple[str, str]) -> str:
    return f"/v1/projects/{site[0]}/sites/{site[1]}"


def _show(document: SiteDocument, as_json: bool) -> None:
    told = document.model_dump(mode="json", include={"mode", "model", "rules", "challenger", "previous"})
    if as_json:
        click.echo(json.dumps(told))
        return
    tried, back = document.challenger, document.previous
    table = Table("", "model", "rules", "does")
    table.add_row("champion", document.model or "none", _short(document.rules), document.mode)
    if tried is not None:
        how = f"shadows {_percent(tried.shadow)}" if tried.shadow else f"answers {_percent(tried.canary)}"
        table.add_row("challenger", tried.model, _short(tried.rules), how)
    if back is not None:
        table.add_row("previous", back.model, _short(back.rules), "")
    Console().print(table)


def _percent(share: float | None) -> str:
    return f"{100 * (share or 0):g}%"


def _short(digest: str | None) -> str:
    return digest[:19] if digest else "none"
