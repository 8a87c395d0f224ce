"""Real services for tests: a Valkey, gateways over a temporary data folder, and what tests ask of them.

Nothing here sleeps for a fixed time: `eventually` polls a condition until its deadline and then says what it saw.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from embedded.stack import Gateway, Valkey
from model_store.bundle import Bundle
from model_store.rules import Rules
from tests import bundles
from triage.client import Client
from triage.control.catalog import Catalog
from triage.control.site_document import SiteDocument
from triage.control.sites import Control
from triage.store.documents import LocalDocuments

DEADLINE_S = 30.0
POLL_S = 0.02


def eventually(condition: Callable[[], Any], seconds: float = DEADLINE_S) -> Any:
    """The first truthy value of a condition. AssertionError, with the last value, when the deadline passes first."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"still {value!r} after {seconds:.0f} s"
        time.sleep(POLL_S)
    return value


@dataclass(frozen=True)
class Data:
    """A data folder with the tiny bundle `colours/1`, its rules, and the sites that were declared."""

    folder: Path
    bundle: Bundle
    rules: Rules

    def declare(self, site: str = "default", project: str = "default", **changes: Any) -> SiteDocument:
        """Declares a site, live, certified and without audits unless the changes say otherwise; replaces one that is there."""
        no_draws = {"probability": 0, "suspended": 0}
        fields = {"mode": "live", "model": "colours/1", "rules": self.rules.digest, "audit": no_draws, **changes}
        document = SiteDocument.model_validate({name: value for name, value in fields.items() if value is not None})
        control = Control(LocalDocuments(self.folder / "control"), Catalog(self.folder))
        control.poll()
        there = {(each.project, each.name): each.etag for each in control.sites}
        control.put(project, site, document, there.get((project, site)))
        return document


def make_data(folder: Path, sites: tuple[str, ...] = ("default",)) -> Data:
    """A data folder whose sites are live and certified."""
    bundle = bundles.make(folder)
    rules = bundles.signed(folder, bundles.rules(bundle, sites))
    data = Data(folder, bundle, rules)
    for site in sites:
        data.declare(site)
    return data


@contextmanager
def running_valkey(folder: Path) -> Iterator[Valkey]:
    """A Valkey that ends with the block, also when the block killed and started it again."""
    valkey = Valkey(folder)
    try:
        yield valkey
    finally:
        valkey.process.kill()


@contextmanager
def running_gateway(data: Path, redis_url: str, **settings: str) -> Iterator[Gateway]:
    """A gateway process over a data folder; the model runs inside it, and answers are told at once, unless the settings say
    otherwise.

    What the gateway logged is part of the failure when the block raises.
    """
    gateway = Gateway(
        data, redis_url, {"classifier": "inprocess", "threads": "1", "node": "test", "hold_s": "0", **settings}
    )
    try:
        yield gateway
    except BaseException as error:
        error.add_note(f"the end of {gateway.process.log}:\n{gateway.process.tail(60)}")
        raise
    finally:
        gateway.process.stop()


def client(gateway: Gateway, key: str | None = None) -> Client:
    return Client(gateway.url, key)


def raw(gateway: Gateway) -> httpx.Client:
    """A plain HTTP client, for what the client library would never send."""
    return httpx.Client(base_url=gateway.url, trust_env=False, timeout=DEADLINE_S)


def blob_files(data: Path) -> set[str]:
    """Every file in the blob folder, also partial ones, relative to it."""
    folder = data / "blobs"
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
