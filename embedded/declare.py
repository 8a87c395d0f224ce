"""The default site: what a data folder declares, and declaring it through the gateway's own HTTP interface."""

from __future__ import annotations

import secrets
from pathlib import Path

import httpx

from model_store.bundle import Bundle
from model_store.errors import ModelStoreError
from model_store.rules import Rules
from triage.access.opening import entrance_of
from triage.control.catalog import Catalog
from triage.control.sites import Control
from triage.settings import Settings
from triage.store.opening import open_documents

HOST = "127.0.0.1"
"""Where the embedded gateway listens."""


def declared(data: Path) -> str:
    """The model of the site default/default in a data folder. Raises ModelStoreError, SettingsError with the mend."""
    settings = Settings.load(data=data, host=HOST)  # as the gateway that will be started reads them
    control = Control(open_documents(settings.control_place), Catalog(data, settings.trusted_folder))
    control.poll()
    for site in control.sites:
        if (site.project, site.name) == ("default", "default") and site.document.model:
            return site.document.model
    why = control.problems.get("default/default", "it declares no site default/default with a model")
    raise ModelStoreError(f"{data} cannot be served: {why}; name one with --model")


def key_of_this_run(data: Path) -> str | None:
    """The development key that the gateway is started with, so that `up` itself gets in: the environment's, or one that nobody
    else knows where others need keys. None where programs of this machine are let in without any."""
    settings = Settings.load(data=data, host=HOST)
    if settings.api_key is not None:
        return settings.api_key.get_secret_value()
    control = Control(open_documents(settings.control_place), Catalog(data, settings.trusted_folder))
    control.poll()
    entrance = entrance_of(settings)
    entrance.know(control.of("key"), control.service("access"))
    return None if entrance.local else secrets.token_urlsafe(20)


def go_live(url: str, bundle: Bundle, rules: Rules | None, key: str | None = None) -> str | None:
    """The site `default/default` serves this bundle by these rules; without rules it only assists.

    What else its document says, suspensions above all, stays. A sentence when a site that was live no longer is. Raises
    ModelStoreError when the gateway refuses.
    """
    change = {
        "mode": "live" if rules else "assist",
        "model": f"{bundle.manifest.name}/{bundle.manifest.version}",
        "rules": rules.digest if rules else None,
    }
    path = f"{url}/v1/projects/default/sites/default"
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    with httpx.Client(trust_env=False, timeout=30, headers=headers) as client:
        now = client.get(path)
        known = now.json() if now.status_code == 200 else {}
        condition = {"If-Match": now.headers["etag"]} if known else {"If-None-Match": "*"}
        reply = client.put(path, json={**known, **change}, headers=condition)
    if not reply.is_success:
        raise ModelStoreError(f"the site could not be declared: {reply.json()['detail']}")
    if known.get("mode") != "live" or rules is not None:
        return None
    before = f"{known['model'] or 'no model'} by the rules {known['rules'] or 'none'}"
    back = f"; --model {known['model']} --rules {known['rules']} is the way back" if known["rules"] else ""
    return f"default/default was live with {before}; with {change['model']} and no --rules it only assists{back}."
