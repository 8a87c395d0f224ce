"""`secondreader keys`: who may call, and for what. In the data folder's store itself, or with `--url` at a running service."""

from __future__ import annotations

import datetime
import getpass
import json
from pathlib import Path
from typing import Any, get_args

import click
from rich.console import Console
from rich.table import Column, Table

from triage.access.key_document import KeyDocument
from triage.access.roles import Role
from triage.commands.options import config_option, data_option, json_option, key_option, plain, settings_of
from triage.errors import TriageError
from triage.ports import Documents

url_option = click.option(
    "--url", envvar="SECONDREADER_URL", help="A running service; without, the data folder's store itself."
)


@click.group()
def keys() -> None:
    """API keys: `create` shows one once, `list` shows them all without, `revoke` ends one within a second."""


@keys.command()
@click.option(
    "--role", "roles", type=click.Choice(get_args(Role)), multiple=True, required=True, help="May be repeated."
)
@click.option("--subject", help="Whose key it is; a key that is renewed keeps its subject. [default: the role]")
@click.option("--project", "projects", multiple=True, help="May be repeated. [default: all]")
@click.option("--site", "sites", multiple=True, help="May be repeated. [default: all]")
@click.option("--days", type=click.FloatRange(min=0, min_open=True), help="Until it expires. [default: never]")
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="Requests a second at each gateway.")
@click.option("--names-reviewers", is_flag=True, help="A program that answers for reviewers it names.")
@click.option("--note", default="", help="For those who read the list later.")
@url_option
@key_option
@config_option
@data_option
@json_option
def create(
    roles: tuple[str, ...], subject: str | None, projects: tuple[str, ...], sites: tuple[str, ...], days: float | None,
    rate: float | None, names_reviewers: bool, note: str, url: str | None, key: str | None, config: Path | None,
    data: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Makes a key and prints it, once: it is stored nowhere."""
    now = datetime.datetime.now(datetime.UTC)
    grants = [{"role": role, "projects": projects or ("*",), "sites": sites or ("*",)} for role in dict.fromkeys(roles)]
    wanted = {
        "subject": subject or roles[0], "grants": grants, "names_reviewers": names_reviewers, "note": note, "rate": rate,
        "project": projects[0] if projects else "default", "site": sites[0] if sites else "default",
        "expires_at": (now + datetime.timedelta(days=days)).isoformat() if days else None,
    }  # fmt: skip
    made = _at_service("POST", url, key, "/v1/keys", wanted) if url else _create_in_store(wanted, config, data, now)
    if as_json:
        click.echo(json.dumps(made))
        return
    click.echo(made["key"])
    until = f"until {made['expires_at'][:10]}" if made["expires_at"] else "until it is revoked"
    click.echo(
        f"This is the only time that it is shown. It is {made['subject']}'s, {until}; "
        f"end it with: secondreader keys revoke {made['prefix']}",
        err=True,
    )


@keys.command(name="list")
@url_option
@key_option
@config_option
@data_option
@json_option
def show(url: str | None, key: str | None, config: Path | None, data: Path | None, as_json: bool) -> None:
    """Every key, without the key."""
    found = _at_service("GET", url, key, "/v1/keys") if url else _list_store(config, data)
    if as_json:
        click.echo(json.dumps(found))
        return
    table = Table(Column("key", no_wrap=True), "subject", "roles", "state", "created", "expires", "note")
    for each in found:
        expires = (each["expires_at"] or "")[:10]
        about = (each["state"], each["created_at"][:10], expires, plain(each["note"]))
        table.add_row(
            f"sr_{each['prefix']}_…", plain(each["subject"]), "\n".join(map(_granted, each["grants"])), *about
        )
    Console().print(table)


@keys.command()
@click.argument("prefix")
@url_option
@key_option
@config_option
@data_option
def revoke(prefix: str, url: str | None, key: str | None, config: Path | None, data: Path | None) -> None:
    """Ends the key PREFIX: the eight characters after `sr_`, or the whole key."""
    named = prefix.split("_")[1] if prefix.startswith("sr_") else prefix
    if url:
        _at_service("DELETE", url, key, f"/v1/keys/{named}")
    else:
        _revoke_in_store(named, config, data)
    click.echo(f"revoked {named}")


def _granted(grant: dict[str, Any]) -> str:
    where = [f"{name} {', '.join(grant[name])}" for name in ("projects", "sites") if list(grant[name]) != ["*"]]
    return " ".join([grant["role"], *where])


def _at_service(method: str, url: str | None, key: str | None, path: str, body: Any = None) -> Any:
    import httpx

    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        reply = httpx.request(method, f"{url}{path}", json=body, headers=headers, timeout=30, trust_env=False)
    except httpx.TransportError:
        raise click.ClickException(f"nothing answers at {url}; name another --url, or leave it out") from None
    except httpx.InvalidURL:
        raise click.UsageError(f"--url {url} is no URL; write it like http://127.0.0.1:8080") from None
    try:
        found = reply.json()
    except ValueError:
        raise click.ClickException(f"{url} answers {reply.status_code} and no JSON; is it the service's URL?") from None
    if not reply.is_success:
        raise click.ClickException(str(found.get("detail", reply.status_code)))
    return found


def _documents(config: Path | None, data: Path | None) -> Documents:
    from triage.store.opening import open_documents

    return open_documents(settings_of(config, data=data).control_place)


def _by() -> str:
    return f"the command line ({getpass.getuser()})"


def _create_in_store(wanted: dict[str, Any], config: Path | None, data: Path | None, now: datetime.datetime) -> Any:
    from pydantic import ValidationError

    from model_store.errors import document_error
    from triage.access import making

    try:
        new, document = making.made(making.KeyRequest.model_validate(wanted), _by(), now)
        _documents(config, data).swap(f"keys/{new.prefix}.json", _text(document), None)
    except ValidationError as error:
        raise click.UsageError(str(document_error("the key", error))) from None
    except (TriageError, OSError) as error:
        raise click.ClickException(_away(error)) from None
    return {"key": new.key, **making.told(new.prefix, document, now)}


def _list_store(config: Path | None, data: Path | None) -> list[dict[str, Any]]:
    from triage.access import making
    from triage.store.places import folder_of

    folder = folder_of(settings_of(config, data=data).control_place)
    if folder is not None and not folder.is_dir():
        raise click.ClickException(f"{folder} is not there; name the service's data folder with --data, or its --url")
    now = datetime.datetime.now(datetime.UTC)
    try:
        store = _documents(config, data)
        read = {name: KeyDocument.model_validate_json(store.read(name)[0]) for name in store.names("keys/")}
    except (TriageError, OSError) as error:
        raise click.ClickException(_away(error)) from None
    except ValueError as error:
        raise click.ClickException(
            f"a key's document is broken: {str(error).splitlines()[0]}; mend or remove it"
        ) from None
    found = sorted(read.items(), key=lambda each: each[1].created_at)
    return [making.told(name.removeprefix("keys/").removesuffix(".json"), document, now) for name, document in found]


def _revoke_in_store(prefix: str, config: Path | None, data: Path | None) -> None:
    from triage.access import making
    from triage.errors import NotFound

    store, name = _documents(config, data), f"keys/{prefix}.json"
    try:
        content, etag = store.read(name)
        document = making.ended(KeyDocument.model_validate_json(content), _by(), datetime.datetime.now(datetime.UTC))
        store.swap(name, _text(document), etag)
    except (NotFound, ValueError):
        raise click.ClickException(f"there is no key {prefix}; 'secondreader keys list' shows them") from None
    except (TriageError, OSError) as error:
        raise click.ClickException(_away(error)) from None


def _text(document: KeyDocument) -> bytes:
    return document.model_dump_json(indent=1, exclude_defaults=True).encode()


def _away(error: Exception) -> str:
    return (
        str(error) if isinstance(error, TriageError) else f"{error}; name a data folder that can be written with --data"
    )
