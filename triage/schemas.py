"""HTTP bodies, as OpenAPI shows them.

Requests are checked by these; replies are built as plain dicts, for speed, and tested against them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from model_store.labels import Group, Label


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PredictionReference(_Body):
    """An image in a store that the service was told to read (setting `references`)."""

    uri: Annotated[str, Field(min_length=1, max_length=2048)]
    """`NAME:key`, or the store's URL and the key."""
    sha256: Annotated[str, Field(pattern=r"^(sha256:)?[0-9a-f]{64}$")]
    metadata: dict[str, Any] = {}
    """What else would be query parameters."""


class LabelAnswer(_Body):
    id: str
    name: str
    probability: float
    threshold: float


class Suggestion(_Body):
    id: str
    name: str
    probability: float
    state: Literal["automatic", "assist", "human"]


class ReviewState(_Body):
    queue: str
    item: str
    status: Literal["waiting", "final"]
    url: str


class ModelName(_Body):
    name: str
    version: str
    graph: str
    rules: str


class Final(_Body):
    labels: list[str]
    by: Literal["model", "people", "caller", "nobody"]
    """nobody: the queue's deadline passed first."""
    outcome: Literal["labels", "none_of_these", "unusable", "new_label", "undecided", "unresolved"] = "labels"
    new_label: str | None = None
    revision: int
    at: str


class PredictionBody(_Body):
    """One image, read. `final` is null until a person, or the model, has answered."""

    id: str
    project: str
    site: str
    case: str | None
    route: Literal["automatic", "review", "captured"]
    reasons: list[str]
    labels: list[LabelAnswer]
    absent: list[str]
    suggestions: list[Suggestion]
    typicality: float | None
    review: ReviewState | None
    model: ModelName | None
    received_at: str
    final: Final | None = None


class TruthRequest(_Body):
    answers: Annotated[dict[str, Literal["present", "absent", "unsure", "not_assessed"]], Field(min_length=1)]
    source: Annotated[str, Field(max_length=200)] = ""
    """Who or what says so, like `pathology`; the caller itself when left out."""


class TruthBody(_Body):
    id: str
    prediction: str
    answers: dict[str, Literal["present", "absent", "unsure", "not_assessed"]]
    source: str
    at: str


class TruthList(_Body):
    truths: list[TruthBody]


class Problem(BaseModel):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    prediction_id: str | None = None


OutcomeType = Literal["final", "revision", "correction", "recall", "unresolved"]
"""final: people, or the returning model, answered. revision: answered again before anybody relied on it. correction: people
decide otherwise than was told. recall: an automatic answer is in doubt. unresolved: nobody answered by the deadline."""


class OutcomeBody(BaseModel):
    """What was decided of one prediction, as listeners and webhooks are told. More fields may come."""

    type: OutcomeType
    prediction: str
    project: str
    site: str
    case: str | None
    final: Final | None


class Replay(_Body):
    """What a webhook is sent again."""

    after: Annotated[str, Field(min_length=1, max_length=20_000)] | None = None
    dead: bool = False

    @model_validator(mode="after")
    def _something(self) -> Replay:
        if self.after is None and not self.dead:
            raise ValueError("nothing is named; give after, or dead: true")
        return self


class Replayed(BaseModel):
    from_: dict[str, str] = Field(alias="from")
    """Stream -> the id after which it is sent again."""
    letters: int


class DeadLetter(_Body):
    message: str
    outcome: dict[str, Any]
    why: str
    tries: int


class LastTry(_Body):
    at: str
    says: str
    taken: bool


class Gone(_Body):
    """That the receiver answered 410."""

    because: str
    at: str


class Deliveries(_Body):
    """How a webhook fares."""

    enabled: bool
    """Its document says so, and its receiver did not say that it is gone."""
    gone: Gone | None = None
    problem: str | None
    """What keeps this gateway from sending anything: address or secret."""
    holder: str | None
    """The gateway that delivers; null for a moment when it changes."""
    cursor: dict[str, str]
    """Stream -> everything up to this id is delivered or a dead letter."""
    last: LastTry | None
    dead: int
    redo: int
    """Dead letters that are being sent again."""
    letters: list[DeadLetter]
    """The newest dead ones."""


class LeaseRequest(_Body):
    reviewer: Annotated[str, Field(min_length=1, max_length=120, pattern=r"^[^\x00-\x1f\x7f~]+$")] | None = None
    """Who reviews, where the caller may name others; left out: whoever asks."""
    count: Annotated[int, Field(ge=1, le=100)] = 1
    seconds: Annotated[int, Field(ge=1, le=86_400)] | None = None
    case: bool = False
    """The best item and what waits of its case, in place of `count` items."""
    wait: Annotated[float, Field(ge=0, le=30)] = 0
    """Seconds to wait for an item when there is none."""


class LeasedItem(_Body):
    """An item in a reviewer's hands. One that is read `blind` tells neither what the model said nor why it is asked about, and
    its verdict says something of every label."""

    token: str
    expires_at: str
    item: str
    prediction: str | None
    """Null in a blind item."""
    blind: bool
    project: str
    site: str
    case: str | None
    image: str
    reasons: list[str]
    suggestions: list[Suggestion]
    received_at: str
    earlier: list[EarlierSaid] = []
    """What others said of it before, told to adjudicators."""


class EarlierSaid(_Body):
    reviewer: str
    outcome: str
    answers: dict[str, str]
    note: str
    new_label: str | None


class Leases(_Body):
    items: list[LeasedItem]
    labels: list[Label]
    groups: list[Group]
    escalates: bool
    """What a reviewer leaves to others goes to adjudicators; else the queue has none."""


class LeaseExtended(_Body):
    expires_at: str


class VerdictRequest(_Body):
    outcome: Literal["labels", "none_of_these", "unusable", "new_label"] = "labels"
    answers: dict[str, Literal["present", "absent", "unsure", "not_assessed"]] = {}
    new_label: Annotated[str, Field(max_length=120)] | None = None
    note: Annotated[str, Field(max_length=2000)] = ""


class GoldRequest(_Body):
    """An image of which the right answer is known: one that was predicted, or one that is sent with it."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")] | None = None
    prediction: str | None = None
    site: Annotated[str, Field(max_length=64)] | None = None
    """That the image came to, or could have."""
    image: Annotated[str, Field(max_length=1_000_000)] | None = None
    """Base64. Of a larger one make a prediction first, and name that."""
    queue: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")] = "review"
    outcome: Literal["labels", "none_of_these", "unusable"] = "labels"
    answers: dict[str, Literal["present", "absent"]] = {}

    @model_validator(mode="after")
    def _one_image(self) -> GoldRequest:
        if (self.prediction is None) == (self.image is None):
            raise ValueError("a gold is made of a prediction or of an image; send one of the two")
        return self


class EscalateRequest(_Body):
    note: Annotated[str, Field(max_length=2000)] = ""
    """For the adjudicators."""


class AmendRequest(VerdictRequest):
    revision: Annotated[int, Field(ge=1)]
    """Of the verdict that this one takes the place of."""
    reviewer: Annotated[str, Field(min_length=1, max_length=120, pattern=r"^[^\x00-\x1f\x7f~]+$")] | None = None
    """Who amends, where the caller may name others."""


class VerdictBody(_Body):
    id: str
    prediction: str
    outcome: str
    answers: dict[str, str]
    at: str
    revision: int
    reviewer: str
    held_until: str | None
    """Until then it can be amended before anybody is told."""


class Share(_Body):
    of: int
    hits: int
    share: float | None
    interval: tuple[float, float] | None
    """Exact, at 95%."""


class PersonFigures(_Body):
    reviewer: str
    answered: int
    golds: Share
    golds_planted: Share
    """With a wrong suggestion shown first."""
    golds_plain: Share
    agrees: Share
    """Of the values that another reader gave of the same image, too."""
    accepts_right: Share
    """Of the first suggestions that were right, those called present."""
    accepts_wrong: Share
    median_seconds: float | None
    """From shown to answered."""


class AgreementFigures(_Body):
    of: str
    """`group ID` or `label ID`."""
    alpha: float | None
    """Krippendorff's, nominal; null where nobody could have differed."""
    images: int


class PeopleFigures(_Body):
    people: list[PersonFigures]
    agreement: list[AgreementFigures]


class QueueBody(_Body):
    queue: str
    waiting: int
    leased: int
    oldest_age_seconds: float
    """Of what is not answered."""
    overdue: int
    """Older than the queue's service level, of what callers wait for."""
    dead: int
    answered_last_hour: int
    reasons: dict[str, int]
    """Reason -> unanswered items that have it; blind readings have none."""
    labels: list[Label]
    groups: list[Group]
    escalates: bool


class CaseImage(_Body):
    prediction: str
    role: Literal["current", "prior"]
    view: str | None
    route: Literal["automatic", "review", "captured"]
    reasons: list[str]
    labels: list[str]
    received_at: str


class CaseBody(_Body):
    """Images that are decided together. `labels` is what the model answered for the whole case, empty while it is open and
    where people read it."""

    project: str
    site: str
    case: str
    status: Literal["open", "closed"]
    closes_at: str | None
    labels: list[str]
    images: list[CaseImage]


class NamedDocument(_Body):
    name: str
    etag: str
    document: dict[str, Any]
    """What is not the default."""


class DocumentList(_Body):
    documents: list[NamedDocument]


class GrantBody(_Body):
    role: str
    projects: list[str]
    sites: list[str]


class KeyBody(_Body):
    """What is known of a key: everything but the key."""

    prefix: str
    state: Literal["good", "expired", "revoked"]
    subject: str
    grants: list[GrantBody]
    project: str
    site: str
    names_reviewers: bool
    rate: float | None
    created_at: str
    created_by: str
    expires_at: str | None
    revoked_at: str | None
    revoked_by: str
    note: str


class KeyMade(KeyBody):
    key: str
    """Shown here and never again."""


class Me(_Body):
    subject: str
    names_reviewers: bool
    project: str
    site: str
    key: str | None
    """Prefix of the key that was sent."""
    grants: list[GrantBody]
    permissions: list[str]


class DeadItem(_Body):
    """An item whose lease expired too often without an answer."""

    item: str
    prediction: str | None
    """Null in a blind item."""
    site: str
    case: str | None
    purpose: Literal["review", "audit", "recall", "gold"]
    reasons: list[str]
    received_at: str
    died_at: str
    expiries: int
    died: int
    """How often it died, and was put back in between."""


class Returned(_Body):
    returned: int
    """Items that went back to the queue."""
