"""Overlays that show where a label's probability comes from, computed when somebody asks, from the stored image."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable

import numpy as np
from PIL import Image

from model_store.bundle import Bundle
from model_store.decode import decode
from model_store.manifest import ImageSpec
from model_store.prediction import Prediction
from triage.calling.occlusion import Pixels, heat, masked, overlay, png
from triage.errors import Busy, Conflict, Invalid
from triage.ports import Blobs, Classifier

LONGEST_SIDE = 512
"""Of an overlay, or twice the model's own side where that is more: the model sees no finer."""
_KEPT = 64
"""Overlays in memory, some 100 kB each."""
_MOST_WAITING = 4
_STEP_ASIDE_S, _ASIDES = 0.05, 40
"""While images are being answered the next question waits, a few seconds in all."""


class Evidence:
    """One at a time, one question to the model at a time, and only while few images are being answered."""

    def __init__(self, classifier: Classifier, blobs: Blobs, busy: Callable[[], bool]) -> None:
        self._classifier = classifier
        self._blobs = blobs
        self._busy = busy
        self._turn = asyncio.Semaphore(1)
        self._waiting = 0
        self._kept: OrderedDict[tuple[str, str, str], bytes] = OrderedDict()

    async def overlay(self, blob: str, bundle: Bundle, label: str, spec: ImageSpec) -> bytes:
        """PNG. Raises Invalid for a label without a head, Busy, Conflict when the model is served as another, NotFound,
        ClassifierUnavailable, ImageError."""
        heads = bundle.manifest.heads
        if label not in heads:
            raise Invalid(f"{label!r} is no label that this model gives; choose from {', '.join(heads[:20])}")
        key = (blob, bundle.digest, label)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        if self._waiting >= _MOST_WAITING:
            raise Busy("other evidence is being computed; ask for this again in a moment")
        self._waiting += 1
        try:
            async with self._turn:
                if key not in self._kept:
                    self._kept[key] = await self._computed(blob, bundle, heads.index(label), spec)
                    while len(self._kept) > _KEPT:
                        self._kept.popitem(last=False)
                return self._kept[key]
        finally:
            self._waiting -= 1

    async def _computed(self, blob: str, bundle: Bundle, column: int, spec: ImageSpec) -> bytes:
        pixels = await asyncio.to_thread(_small, await self._blobs.get(blob), spec)
        whole = await self._probability(pixels, bundle, column)
        copies, without = masked(pixels), []
        while (copy := next(copies, None)) is not None:
            for _ in range(_ASIDES):
                if not self._busy():
                    break
                await asyncio.sleep(_STEP_ASIDE_S)
            without.append(await self._probability(copy, bundle, column))
        found = heat(whole, without, *pixels.shape[:2])
        return await asyncio.to_thread(overlay, pixels, found)

    async def _probability(self, pixels: Pixels, bundle: Bundle, column: int) -> float:
        scores: Prediction = await self._classifier.classify(await asyncio.to_thread(png, pixels), bundle)
        if scores.graph != bundle.manifest.graph_digest:
            raise Conflict(f"{bundle.manifest.name} is served with another graph by now; ask for a newer prediction")
        return float(scores.probability[column])


def _small(data: bytes, spec: ImageSpec) -> Pixels:
    """`[H, W, 3]` uint8. Raises ImageError."""
    longest = max(LONGEST_SIDE, 2 * max(spec.height, spec.width))
    image = Image.fromarray(decode(data, spec.model_copy(update={"dtype": "uint8", "reduce": False})).pixels)
    image.thumbnail((longest, longest))
    return np.array(image, np.uint8)
