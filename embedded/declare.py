"""The default site: what a data folder declares, and declaring it through the gateway's own HTTP interface."""

from __future__ import annotations

from pathlib import Path

import httpx

from model_store.bundle import Bundle
from model_store.errors import ModelStoreError
from model_store.rules import Rules
from triage.catalog import Catalog
from triage.control import Control


def declared(data: Path) -> tuple[str, str | None]:
    """Model and rules of the site default/default in a data folder. Raises ModelStoreError with the mend."""
    control = Control(data / "control", Catalog(data))
    control.poll()
    for site in control.sites:
        if (site.project, site.name) == ("default", "default") and site.document.model:
            return site.document.model, site.document.rules
    why = control.problems.get("default/default", "it declares no site default/default with a model")
    raise ModelStoreError(f"{data} cannot be served: {why}; name one with --model")


def go_live(url: str, bundle: Bundle, rules: Rules | None) -> None:
    """The site `default/default` serves this bundle by these rules; without rules it only assists."""
    document = {"mode": "live" if rules else "assist", "model": f"{bundle.manifest.name}/{bundle.manifest.version}"}
    if rules is not None:
        document["rules"] = rules.digest
    path = f"{url}/v1/projects/default/sites/default"
    with httpx.Client(trust_env=False, timeout=30) as client:
        now = client.get(path)
        condition = {"If-Match": now.headers["etag"]} if now.status_code == 200 else {"If-None-Match": "*"}
        client.put(path, json=document, headers=condition).raise_for_status()
