"""Makes golds: of a prediction that the service knows, or of an image that somebody sends with the right answer."""

from __future__ import annotations

from typing import Any

import msgspec
from pydantic import ValidationError

from model_store.errors import document_error
from triage.control.sites import Control
from triage.errors import Invalid, NotFound
from triage.index.fold import Index
from triage.index.reviews import RedisReviews
from triage.intake import Intake
from triage.reviewing.gold_document import GoldDocument, Suggested

_REASON = "none_fired"
"""Of an image that the model would have answered: people read nothing without a reason."""


class Golding:
    """The documents of golds; who stores them is their caller."""

    def __init__(self, control: Control, reviews: RedisReviews, index: Index, intake: Intake) -> None:
        self._control = control
        self._reviews = reviews
        self._verdicts = index.people.verdicts
        self._intake = intake

    async def of_prediction(self, project: str, prediction: str, queue: str, **known: Any) -> GoldDocument:
        """Of an image that was predicted. Raises NotFound, Invalid, IndexAway."""
        view, _, blob = await self._reviews.view(prediction)
        told = msgspec.json.decode(view)
        if told["project"] != project:
            raise NotFound(f"there is no prediction {prediction} in project {project}; name the project that it is of")
        return self._document(
            project, site=told["site"], case=told["case"], sha256=blob.rpartition("/")[2], prediction=prediction,
            queue=queue, reasons=tuple(told["reasons"]) or (_REASON,), suggestions=_suggested(told),
            readers=await self._readers(told), **known,
        )  # fmt: skip

    async def of_image(self, project: str, site: str, image: bytes, queue: str, **known: Any) -> GoldDocument:
        """Of an image, stored and read by the model as any other, but recorded nowhere.

        Raises ImageError, NotFound, Invalid, Unavailable.
        """
        glanced = await self._intake.glance(image, project, site)
        return self._document(
            project, site=site, case=None, sha256=glanced.record.sha256, queue=queue,
            reasons=glanced.record.reasons or (_REASON,), suggestions=_suggested(msgspec.json.decode(glanced.told.view)),
            **known,
        )  # fmt: skip

    async def _readers(self, told: dict[str, Any]) -> tuple[str, ...]:
        """Whoever answered the prediction knows the image."""
        review = told["review"]
        verdict = await self._verdicts.find(review["queue"], review["item"]) if review else None
        return () if verdict is None else (*(each.reviewer for each in verdict.earlier), verdict.reviewer)

    def _document(self, project: str, **fields: Any) -> GoldDocument:
        try:
            gold = GoldDocument(**fields)
        except ValidationError as error:
            raise Invalid(str(document_error("gold", error))) from None
        gold.check(self._control.labels(project))
        return gold


def _suggested(view: dict[str, Any]) -> tuple[Suggested, ...]:
    """What the model said, as a reviewer sees it: of an answer that needed nobody the labels that it gave come first."""
    answered = ({**each, "state": "automatic"} for each in view["labels"])
    return tuple(
        Suggested(id=each["id"], name=each["name"], probability=each["probability"], state=each["state"])
        for each in (*answered, *view["suggestions"])
    )
