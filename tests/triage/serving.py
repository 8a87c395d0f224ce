"""A gateway as a process, and what every problem it answers with must be."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from embedded.stack import Gateway, Valkey
from tests.bundles import picture
from tests.services import Data
from triage.schemas import Problem

KEY = "a key for tests"


@dataclass(frozen=True)
class Served:
    data: Data
    gateway: Gateway
    valkey: Valkey
    http: httpx.Client
    """Sends the key."""

    @property
    def scans(self) -> Path:
        """Folder of the store `scans`, which the gateway reads images from by reference."""
        return self.data.folder.parent / "scans"

    def predict(self, colour: str = "red", salt: int = 0, **about: str) -> dict[str, Any]:
        reply = self.http.post("/v1/predictions", content=picture(colour, salt=salt), params=about)
        assert reply.status_code == 200, reply.text
        found: dict[str, Any] = reply.json()
        return found

    def project(self, name: str, **document: Any) -> str:
        """Declares a project with one site `default`; the name of its queue."""
        body = {"mode": "live", "model": "colours/1", **document}
        reply = self.http.put(
            f"/v1/projects/{name}/sites/default", json=body, headers={"If-None-Match": "*"}
        )  # fmt: skip
        assert reply.status_code == 200, reply.text
        return f"{name}.review"

    def lease(self, queue: str, reviewer: str = "ada", **about: Any) -> dict[str, Any]:
        reply = self.http.post(f"/v1/queues/{queue}/leases", json={"reviewer": reviewer, **about})
        assert reply.status_code == 200, reply.text
        found: dict[str, Any] = reply.json()
        return found

    def metric(self, line: str) -> float:
        """The value of a sample, named as it stands in /metrics; 0 while it does not."""
        for each in self.http.get("/metrics").text.splitlines():
            if each.startswith(line + " "):
                return float(each.rsplit(" ", 1)[1])
        return 0.0


def problem(reply: httpx.Response, status: int, *words: str) -> Problem:
    """Checks that a reply is an RFC 9457 problem of this status that says these words, and what to do."""
    assert reply.status_code == status, reply.text
    assert reply.headers["content-type"] == "application/problem+json"
    body = Problem.model_validate(reply.json())
    assert body.status == status
    assert body.type.startswith("urn:secondreader:problem:")
    assert body.title
    for word in words:
        assert word in body.detail
    assert ";" in body.detail or "'" in body.detail, f"{body.detail!r} says nothing of what to do"
    assert (reply.headers.get("retry-after") is not None) == (status in (429, 503))
    return body
