"""All webhooks: which of them this replica delivers, and what becomes known of their deliveries."""

from __future__ import annotations

import asyncio
import datetime
import logging
from typing import Any

from model_store.record import EventRecord
from triage.changes import Changes
from triage.control.gone_document import GoneDocument
from triage.control.sites import Control
from triage.control.webhook_document import WebhookDocument
from triage.errors import IndexAway, NotFound, TriageError
from triage.ids import derived_id, new_id, now_us
from triage.metrics import Metrics
from triage.outcomes.delivery import Delivery
from triage.outcomes.hub import Hub
from triage.outcomes.ledger import FenceLost, Ledger, Letter, Name
from triage.outcomes.position import Position
from triage.outcomes.sending import Sender
from triage.recorder import Recorder

log = logging.getLogger(__name__)
ACTOR = "webhooks"
GONE = "webhook_gone"
_AFTER_FAULT_S = 30.0


class Webhooks:
    """`step` is its background task. One object for the life of the gateway."""

    def __init__(
        self, control: Control, hub: Hub, ledger: Ledger, sender: Sender, recorder: Recorder, changes: Changes,
        metrics: Metrics, node: str, retention_s: int,
    ) -> None:  # fmt: skip
        self._control = control
        self._hub = hub
        self._ledger = ledger
        self._sender = sender
        self._recorder = recorder
        self._changes = changes
        self._metrics = metrics
        self._token = f"{node}~{new_id()}"
        self._retention_s = retention_s
        self._running: dict[Name, tuple[str, int, asyncio.Task[None]]] = {}
        """With the document's etag and the fence."""

    async def step(self) -> None:
        """Takes up what is free, lets go of what changed, renews the rest. Raises IndexAway."""
        wanted = self._wanted()
        for name, (etag, _, task) in list(self._running.items()):
            if task.done() or name not in wanted or wanted[name][1] != etag:
                await self._end(name)
                if name not in wanted:
                    await self._ledger.leave(name, self._token)
        names = list(wanted)
        for name, fence in zip(names, await self._ledger.acquire(names, self._token), strict=True):
            running = self._running.get(name)
            if running is not None and running[1] != fence:
                await self._end(name)
                running = None
            if fence and running is None:
                document, etag = wanted[name]
                delivery = Delivery(
                    name, document, fence, self._hub, self._ledger, self._sender, self, self._retention_s
                )
                self._running[name] = (etag, fence, asyncio.create_task(self._run(name, delivery)))

    async def close(self) -> None:
        """Lets go of everything, so that another replica goes on at once."""
        for name in list(self._running):
            await self._end(name)
            try:
                await self._ledger.leave(name, self._token)
            except IndexAway:
                return  # the holds end by themselves

    async def state(self, name: Name, letters: int) -> dict[str, Any]:
        """For people. Raises NotFound, IndexAway."""
        document = self._document(name)
        problem = None
        try:
            await self._sender.check(document)
        except (OSError, ValueError) as error:
            problem = str(error)
        gone = self._gone(name, document)
        return {
            **await self._ledger.state(name, letters), "enabled": document.enabled and gone is None, "problem": problem,
            "gone": {"because": gone.because, "at": gone.at.isoformat()} if gone else None,
        }  # fmt: skip

    async def rewind(self, name: Name, to: Position) -> dict[str, str]:
        """Everything after a position is sent again; where each stream begins. Raises NotFound, IndexAway."""
        document = self._document(name)
        feeds = await self._hub.feeds(name.project, document.automatic)
        at = {feed: to.of(feed) for feed in feeds}
        await self._ledger.rewind(name, at, now_us() // 1000)
        return {feed.name: str(begin) for feed, begin in at.items()}

    async def revive(self, name: Name) -> int:
        """The dead letters are sent again; how many. Raises NotFound, IndexAway."""
        self._document(name)
        return await self._ledger.revive(name)

    def counted(self, name: Name, result: str) -> None:
        self._metrics.webhook_deliveries.labels(*name, result).inc()

    def behind(self, name: Name, seconds: float) -> None:
        self._metrics.webhook_behind.labels(*name).set(seconds)

    async def buried(self, name: Name, letter: Letter, prediction: str) -> None:
        detail = {"webhook": name.webhook, "message_id": letter.message, "why": letter.why, "tries": str(letter.tries)}
        await self._recorder.record(
            EventRecord(
                id=derived_id("webhook_dead", *name, letter.message, str(letter.first_at)), name="webhook_dead",
                project=name.project, subject=prediction, actor=ACTOR, detail=detail, at=now_us(),
            )
        )  # fmt: skip
        log.warning(
            "an outcome could not be delivered", extra={"webhook": str(name), "prediction": prediction, **detail}
        )

    async def gap(self, name: Name, stream: str, after: str, oldest: str) -> None:
        detail = {"webhook": name.webhook, "stream": stream, "after": after, "oldest": oldest}
        await self._recorder.record(
            EventRecord(
                id=new_id(), name="webhook_gap", project=name.project, actor=ACTOR, detail=detail, at=now_us(),
            )
        )  # fmt: skip
        log.warning(
            "outcomes were no longer kept when a webhook came to them", extra={"project": name.project, **detail}
        )

    async def gone(self, name: Name, url: str, says: str) -> None:
        if self._control.entry("webhook", name.project, name.webhook) is None:
            return
        said = GoneDocument(url=url, because=says[:500], at=datetime.datetime.now(datetime.UTC))
        before = self._control.entry(GONE, name.project, name.webhook)
        try:
            await self._changes.keep(GONE, name.project, name.webhook, said, before and before.etag, ACTOR)
        except TriageError as error:  # another replica was faster, or somebody takes it back just now
            log.info("a webhook was not disabled", extra={"webhook": str(name), "why": str(error)})

    async def back(self, name: Name, actor: str) -> None:
        """Sends again to a receiver that had said it is gone. Raises NotFound, and what `Changes` does."""
        self._document(name)
        entry = self._control.entry(GONE, name.project, name.webhook)
        if entry is None:
            raise NotFound(f"the receiver of {name.webhook!r} did not say that it is gone; see its deliveries")
        await self._changes.drop(GONE, name.project, name.webhook, entry.etag, actor)

    def _gone(self, name: Name, document: WebhookDocument) -> GoneDocument | None:
        """What its receiver said, if the document still names it."""
        entry = self._control.entry(GONE, name.project, name.webhook)
        said = entry.model if entry else None
        return said if isinstance(said, GoneDocument) and said.url == document.url else None

    async def _run(self, name: Name, delivery: Delivery) -> None:
        try:
            await delivery.run()
        except FenceLost:
            log.info("another replica delivers, or a replay was asked for", extra={"webhook": str(name)})
        except TriageError as error:
            log.info("a webhook waits", extra={"webhook": str(name), "why": str(error)})
        except Exception:
            log.exception("a webhook's delivery failed", extra={"webhook": str(name)})
            await asyncio.sleep(_AFTER_FAULT_S)  # a fault of ours is no reason to send the same again and again

    async def _end(self, name: Name) -> None:
        *_, task = self._running.pop(name)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        self._metrics.webhook_behind.remove(*name)

    def _wanted(self) -> dict[Name, tuple[WebhookDocument, str]]:
        found = {}
        for project in {site.project for site in self._control.sites}:
            for webhook, document in self._control.of("webhook", project).items():
                entry = self._control.entry("webhook", project, webhook)
                name = Name(project, webhook)
                if entry is not None and document.enabled and self._gone(name, document) is None:
                    found[name] = (document, entry.etag)
        return found

    def _document(self, name: Name) -> WebhookDocument:
        document: WebhookDocument | None = self._control.of("webhook", name.project).get(name.webhook)
        if document is None:
            raise NotFound(
                f"there is no webhook {name.webhook!r} in project {name.project!r}; "
                f"PUT /v1/projects/{name.project}/webhooks/{name.webhook} makes it"
            )
        return document
