"""Declares the default site of a gateway through its own HTTP interface."""

from __future__ import annotations

import httpx

from model_store.bundle import Bundle
from model_store.rules import Rules


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
