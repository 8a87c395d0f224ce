"""Records to journal, made by hand or by hypothesis."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from model_store.record import EventRecord, PolicySnapshot, PredictionRecord, Record, TruthRecord, VerdictRecord

MOMENT = 1_767_225_600_000_000
text = st.text(st.characters(blacklist_categories=["Cs"]), max_size=12)
names = st.lists(st.sampled_from(["red", "green", "blue"]), unique=True).map(tuple)
moments = st.integers(MOMENT, MOMENT + 3 * 86_400_000_000)
answers = st.dictionaries(
    st.sampled_from(["red", "green", "blue"]), st.sampled_from(["present", "absent", "unsure", "not_assessed"])
)
scores = st.lists(st.floats(0, 1, width=32), max_size=4).map(lambda each: np.array(each, "<f4").tobytes())
vectors = st.lists(st.floats(-9, 9, width=16), max_size=4).map(lambda each: np.array(each, "<f2").tobytes())
snapshots = st.builds(PolicySnapshot, mode=st.sampled_from(["capture", "assist", "live"]), suspended=names)
predictions = st.builds(
    PredictionRecord, id=text, project=text, site=text, case=st.none() | text, received_at=moments, sha256=text,
    size=st.integers(0, 2**40), format=st.sampled_from(["PNG", "JPEG"]), width=st.integers(1, 65_535),
    height=st.integers(1, 65_535), source=st.dictionaries(text, text, max_size=2), heads=names, probability=scores,
    typicality=st.none() | st.floats(0, 1, width=32), embedding=vectors, fires=names,
    route=st.sampled_from(["automatic", "review", "captured"]), policy=snapshots,
    timings_ms=st.dictionaries(text, st.floats(0, 1e6), max_size=2), revision=st.integers(1, 3),
)  # fmt: skip
verdicts = st.builds(
    VerdictRecord, id=text, prediction=text, project=text, site=text, queue=text, sha256=text, reviewer=text,
    answers=answers, leased_at=moments, shown_at=st.none() | moments, at=moments, note=text,
)  # fmt: skip
truths = st.builds(TruthRecord, id=text, prediction=text, project=text, answers=answers, source=text, at=moments)
events = st.builds(
    EventRecord, id=text, name=text, project=text, site=st.none() | text, detail=st.dictionaries(text, text), at=moments
)
records: st.SearchStrategy[Record] = predictions | verdicts | truths | events


def event(number: int, size: int = 0) -> EventRecord:
    """A small record that is known by its number; `size` bytes more make it long."""
    return EventRecord(id=f"{number:06d}", name="x" * size, project="default", at=MOMENT + number)
