"""Everything that calls need beside the intake, as one part of the gateway."""

from __future__ import annotations

from dataclasses import dataclass

from triage.calling.evidence import Evidence
from triage.calling.finals import Finals
from triage.calling.keyed import Keyed
from triage.calling.references import References
from triage.calling.refusals import Refusals
from triage.calling.room import Room
from triage.index.reviews import RedisReviews
from triage.metrics import Metrics
from triage.ports import Blobs, Classifier
from triage.recorder import Recorder
from triage.settings import Settings
from triage.store.person_key import person_key


@dataclass(frozen=True)
class Calls:
    room: Room
    refusals: Refusals
    references: References
    keyed: Keyed
    finals: Finals
    evidence: Evidence
    person_key: bytes

    @classmethod
    def open(
        cls, settings: Settings, metrics: Metrics, reviews: RedisReviews, recorder: Recorder, classifier: Classifier,
        blobs: Blobs,
    ) -> Calls:  # fmt: skip
        """Raises SettingsError."""
        room = Room(settings.max_in_flight, settings.max_bytes_in_flight, settings.share_per_key)
        few = max(1, settings.max_in_flight // 8)
        return cls(
            room=room,
            refusals=Refusals(recorder, metrics),
            references=References(settings.references),
            keyed=Keyed(reviews, settings.idempotency_s),
            finals=Finals(settings.redis_url, settings.redis_timeout_s, reviews),
            evidence=Evidence(classifier, blobs, lambda: room.requests > few),
            person_key=person_key(settings.control_place),
        )
