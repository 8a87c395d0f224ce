"""One image on its way in, whichever protocol it came by: identified, read once, answered."""

from __future__ import annotations

import asyncio
import hashlib
import time
from dataclasses import dataclass
from typing import Literal

from triage import tracing
from triage.access.principal import Principal
from triage.calling import keyed
from triage.calling.about import About
from triage.errors import Forbidden
from triage.ids import new_id
from triage.intake import Read, Request
from triage.parts import Parts
from triage.store.person_key import keyed_person


@dataclass(frozen=True)
class Answered:
    """A reply, and what was read for it; `read` is None where the reply had been given before."""

    reply: bytes
    read: Read | None = None

    @property
    def again(self) -> bool:
        return self.read is None


def check_place(parts: Parts, who: Principal, project: str, site: str) -> None:
    """Raises Forbidden for who may not send images there, NotFound for a site that was never declared."""
    if not who.may("predict", project, site):
        raise Forbidden(
            f"{who.subject} may not send images to {project}/{site} (predict); ask an admin for a key that may "
            "(docs/access.md)"
        )
    parts.control.site(project, site)


async def answered(
    parts: Parts, who: Principal, image: bytes, about: About, *,
    key: str | None = None, wait_s: float | None = None, origin: Literal["http", "v2", "backfill"] = "http",
) -> Answered:  # fmt: skip
    """What becomes of one image. `key` makes it idempotent; the model is waited for `wait_s` at most.

    Raises ImageError, Invalid, Unavailable.
    """
    trace = tracing.current.get()
    deadline = None if wait_s is None else time.monotonic() + wait_s
    person = keyed_person(parts.calls.person_key, about.project, about.person) if about.person else ""

    async def read(prediction_id: str) -> Read:
        return await parts.intake.read(
            image,
            Request(
                about.project, about.site, about.case, about.view, about.role, about.source, who.subject,
                trace.id if trace else "", person, prediction_id, deadline, origin,
            ),
        )  # fmt: skip

    if key is None:
        prediction_id = new_id()
        tracing.about(prediction_id)
        made = await read(prediction_id)
        return Answered(made.told.reply(), made)

    keyed.check(key)
    digest = await asyncio.to_thread(lambda: hashlib.sha256(image).hexdigest())
    fingerprint = keyed.fingerprint(digest, about)
    tracing.about(keyed.keyed_id(who.subject, key, fingerprint))
    kept: list[Read] = []

    async def first(prediction_id: str) -> bytes:
        kept.append(await read(prediction_id))
        return kept[0].told.reply()

    reply, again = await parts.calls.keyed.answer(who.subject, key, fingerprint, first)
    return Answered(reply, None if again or not kept else kept[0])
