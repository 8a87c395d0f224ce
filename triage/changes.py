"""Changes of control documents, in the order that leaves none without its author.

    checked     what cannot be is refused, and nothing is journaled
    intended    `<kind>_changing`: who wants which document in the place of which
    in force    compare-and-swap in the store, announced to the other gateways, which look each second besides
    journaled   `<kind>_changed` (`_removed`), which names its intention

A gateway that dies after the second line leaves an intention and the former document; one that dies after the third leaves an
intention and the new document, which has the digest that the intention names. So whatever is in force was journaled before,
with whoever asked for it, and nothing is called changed that is not. Who loses a race is journaled as `<kind>_unchanged`.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from pydantic import BaseModel

from model_store.errors import ModelStoreError
from model_store.record import EventRecord
from triage.control.kinds import text_of
from triage.control.opened_site import Site
from triage.control.site_document import SiteDocument
from triage.control.sites import Control
from triage.errors import PreconditionFailed
from triage.ids import new_id, now_us
from triage.recorder import Recorder

T = TypeVar("T")


class Changes:
    """One object for the life of the gateway. Methods raise PreconditionFailed, Unavailable, ModelStoreError."""

    def __init__(self, control: Control, recorder: Recorder) -> None:
        self._control = control
        self._recorder = recorder

    async def site(self, project: str, name: str, document: SiteDocument, if_match: str | None, actor: str) -> Site:
        """Puts a site's document; the site as it is then. `if_match`: the etag that was read, None to declare the site."""
        change = await asyncio.to_thread(self._control.prepare, project, name, document, if_match)
        said = _Said("site", project, name, actor, change.content.decode(), if_match)
        return await self._in_order(said, lambda: self._control.commit(change), lambda site: site.etag)

    async def keep(
        self, kind: str, project: str | None, name: str, model: BaseModel, if_match: str | None, actor: str
    ) -> str:
        """Puts a document of a kind; its etag."""
        await asyncio.to_thread(self._control.check, kind, project, name, if_match, model)
        said = _Said(kind, project, name, actor, text_of(model).decode(), if_match)
        return await self._in_order(
            said, lambda: self._control.keep(kind, project, name, model, if_match), lambda etag: etag
        )

    async def drop(self, kind: str, project: str | None, name: str, if_match: str, actor: str) -> None:
        """Removes a document of a kind."""
        await asyncio.to_thread(self._control.check, kind, project, name, if_match)
        said = _Said(kind, project, name, actor, "", if_match)
        await self._in_order(said, lambda: self._control.drop(kind, project, name, if_match), lambda _: "")

    async def _in_order(self, said: _Said, do: Callable[[], T], etag_of: Callable[[T], str]) -> T:
        # What was begun is finished also when whoever asked goes away: half of it would be an intention without an end.
        return await asyncio.shield(asyncio.ensure_future(self._steps(said, do, etag_of)))

    async def _steps(self, said: _Said, do: Callable[[], T], etag_of: Callable[[T], str]) -> T:
        intention = said.event("changing")
        await self._recorder.record(intention)
        try:
            done = await asyncio.to_thread(do)
        except (PreconditionFailed, ModelStoreError) as error:
            await self._recorder.record(said.event("unchanged", why=str(error), intention=intention.id))
            raise
        verb = "changed" if said.document else "removed"
        await self._recorder.record(said.event(verb, subject=etag_of(done), intention=intention.id))
        return done


@dataclass(frozen=True)
class _Said:
    """What its events say of a change. `document` is its text, empty for a removal."""

    kind: str
    project: str | None
    name: str
    actor: str
    document: str
    before: str | None

    def event(self, verb: str, subject: str = "", **detail: str) -> EventRecord:
        if self.document:
            digest = hashlib.sha256(self.document.encode()).hexdigest()
            detail |= {"document": self.document, "digest": f"sha256:{digest}"}
        return EventRecord(
            id=new_id(), name=f"{self.kind}_{verb}", project=self.project or "",
            site=self.name if self.kind == "site" else None, subject=subject, actor=self.actor,
            detail={"name": self.name, "before": self.before or "", **detail}, at=now_us(),
        )  # fmt: skip
