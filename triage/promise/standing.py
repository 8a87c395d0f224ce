"""Where each class of a site stands: watched, suspended, or resumed by an operator for a time.

    <data>/control/projects/<project>/standing/<site>.json

It lies apart from the site's own document, so that whoever keeps that one in files and the monitor never overwrite each
other. Nothing is here of a class before its first draw, or its first suspension.

    watching   the class answers, its audits are evidence
    suspended  it does not answer; would-be answers are read blind, and `reads` of them decide whether it answers again
    resumed    an operator lets it answer until `until`; its audits are evidence, and afterwards it is suspended again

Every change begins an `epoch`: evidence is of one epoch and one `rule` (a certificate's), and only of what came from `since`
on. A certificate all of whose images came after a suspension ends it: that is newer evidence than what spoke against the class.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from model_store.errors import document_error
from triage.promise.claims import Proof

MONITOR = "monitor"
_RECALLS = 8
State = Literal["watching", "suspended", "resumed"]
Moment = Annotated[int, Field(ge=0)]
"""Microseconds since the epoch, UTC."""


class Recall(BaseModel):
    """The answers in doubt because of one suspension."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    at: Moment
    """When the class was suspended."""
    rule: str
    """The rule that answered."""
    after: Moment
    """Answers received later than this are in doubt."""
    swept: dict[str, Literal["once", "whole"]] = {}
    """By node, since a gateway may see no journal but its own. once: what was there at the suspension is listed. whole: also
    what the gateway answered before it knew of it."""


class ClassStanding(BaseModel):
    """One class at one site."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    state: State
    epoch: Annotated[int, Field(ge=0)] = 0
    rule: str
    since: Moment = 0
    by: str = MONITOR
    """`monitor`, or who did it."""
    why: str = ""
    until: Moment | None = None
    """Of `resumed`."""
    suspended_at: Moment | None = None
    """When the suspension began that has not been overcome yet; an operator's override does not overcome it."""
    attempt: Annotated[int, Field(ge=0)] = 0
    """Tests for resumption begun since then; each spends half the risk of the one before."""
    reads: Annotated[int, Field(ge=1)] | None = None
    """Fixed before the first read of the test, and never moved by what the reads say. None: nobody would read so much as a test
    of this promise takes."""
    errors_allowed: Annotated[int, Field(ge=0)] | None = None
    last_good: Moment | None = None
    recalls: tuple[Recall, ...] = ()
    """The newest last. The older ones stay for gateways that were down meanwhile."""
    evidence: dict[str, str] = {}
    """What the change rests on, in words and numbers; goes into the journal."""
    event: str = ""
    """Name of the journal's event that this change is to leave."""
    journaled: bool = True
    """False until that event is in the journal."""

    def silences(self, certificate: Proof, now: int) -> bool:
        """Whether the class may not answer under this certificate."""
        if self.state == "watching" or self.overcome(certificate):
            return False
        return self.state == "suspended" or self.over(now)

    def overcome(self, certificate: Proof) -> bool:
        """Whether all of the certificate's images came after what spoke against the class. When it was made says nothing, since
        images from before the suspension can be certified again."""
        came = certificate.images_from
        return self.suspended_at is not None and came is not None and came.timestamp() * 1e6 > self.suspended_at

    def unmoved(self, certificate: Proof) -> str:
        """Why a certificate that was made after the suspension does not end it; empty when there is none such."""
        if self.suspended_at is None or certificate.certified_at.timestamp() * 1e6 <= self.suspended_at:
            return ""
        if self.overcome(certificate):
            return ""
        why = "does not say when its images came" if certificate.images_from is None else (
            "is no newer evidence, since its earliest image came before the suspension"
        )  # fmt: skip
        return f"its certificate of {certificate.certified_at:%Y-%m-%d} {why}"

    @property
    def recall(self) -> Recall | None:
        """That of the suspension which has not been overcome yet."""
        return self.recalls[-1] if self.recalls and self.recalls[-1].at == self.suspended_at else None

    @property
    def returns(self) -> str:
        """How a suspended class comes back, in words."""
        if self.reads is None:
            return (
                "it promises more than any blind test would prove; only a new certificate, from images that came after the "
                "suspension, or an operator brings it back"
            )
        return (
            f"{self.reads} blind readings with at most {self.errors_allowed} errors, a new certificate from images that came "
            "after the suspension, or an operator brings it back"
        )

    def over(self, now: int) -> bool:
        """Whether an operator's override has ended."""
        return self.until is not None and now >= self.until

    def then(self, state: State, now: int, **changes: Any) -> ClassStanding:
        """The next epoch, which begins now. What a state does not have is gone unless the changes say otherwise."""
        kept: dict[str, Any] = {"rule": self.rule, "recalls": self.recalls[-_RECALLS:]}
        if state != "watching":
            kept |= {"suspended_at": self.suspended_at, "attempt": self.attempt, "last_good": self.last_good}
        return ClassStanding(**{**kept, **changes, "state": state, "epoch": self.epoch + 1, "since": now})


class Standing(BaseModel):
    """The document of a site."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    classes: dict[str, ClassStanding] = {}

    def suspended(self, proofs: Mapping[str, Proof], now: int) -> frozenset[str]:
        """The claims that may not be made at a moment, `proofs` as `claims.certified` gives them: the others have nothing to
        lose."""
        return frozenset(
            label for label, entry in self.classes.items() if label in proofs and entry.silences(proofs[label], now)
        )

    def with_class(self, label: str, entry: ClassStanding) -> Standing:
        return Standing(classes={**self.classes, label: entry})

    def content(self) -> bytes:
        return self.model_dump_json(indent=1, exclude_defaults=True).encode()


def parse(content: bytes, name: str) -> Standing:
    """Raises DocumentError naming the site and what is wrong."""
    try:
        return Standing.model_validate_json(content)
    except ValidationError as error:
        raise document_error(f"standing of {name}", error) from None
