"""Records as the gateway journals them for the benchmarks' bundle: the scores of every class, and an embedding."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np

from model_store import VERSION
from model_store.bundle import Bundle
from model_store.record import PolicySnapshot, PredictionRecord
from triage.ids import new_id, now_us

EVERY_US = 50_000
"""Twenty images a second: a million in fourteen hours, up to now, so that every one of them is still to be shown."""


def predictions(bundle: Bundle, count: int, rules: str, review_every: int = 1) -> Iterator[PredictionRecord]:
    """One in `review_every` waits for a person; the model answered the others."""
    began = now_us() - count * EVERY_US
    rng = np.random.default_rng(0)
    heads = bundle.manifest.heads
    vectors = rng.normal(size=(64, bundle.manifest.embedding)).astype("<f2")
    for number in range(count):
        scores = rng.random(len(heads), np.float32)
        asked = number % review_every == 0
        received = began + number * EVERY_US
        yield PredictionRecord(
            id=new_id(received // 1000), project="default", site="default", received_at=received,
            sha256=hashlib.sha256(number.to_bytes(8)).hexdigest(), size=98_304, format="JPEG", width=640, height=480,
            model=f"{bundle.manifest.name}/{bundle.manifest.version}", graph=bundle.manifest.graph_digest,
            bundle=bundle.digest, rules=rules, code=VERSION, provider="cpu", precision="fp32", heads=heads,
            probability=scores.tobytes(), typicality=0.8, embedding=vectors[number % len(vectors)].tobytes(),
            fires=() if asked else (heads[int(scores.argmax())],), route="review" if asked else "automatic",
            reasons=("none_fired",) if asked else (), policy=PolicySnapshot(mode="live"),
            queue="default.review" if asked else None,
            timings_ms={"receive": 0.21, "classify": 9.87, "decide": 0.12, "decode": 1.72, "run": 5.01},
        )  # fmt: skip
