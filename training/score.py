"""What a bundle says of labelled images: the ONNX graph through the engine that serves, from the original bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model_store.bundle import Bundle
from model_store.engine import Engine, ProviderName
from model_store.errors import ImageError
from training.images import LabelledImage, truth
from training.progress import bar

_AT_ONCE = 32


@dataclass(frozen=True)
class Scores:
    """N images: `probability` `[N, C]` and `typicality` `[N]` float32, `truth` `[N, C]` int8 (1, 0, UNKNOWN)."""

    images: tuple[LabelledImage, ...]
    probability: npt.NDArray[np.float32]
    typicality: npt.NDArray[np.float32]
    truth: npt.NDArray[np.int8]
    refused: int
    """Images left out because serving refuses them, so that nothing can fire on them."""

    def __len__(self) -> int:
        return len(self.probability)


def score(
    bundle: Bundle, images: Sequence[LabelledImage], provider: ProviderName, what: str, threads: int = 2
) -> Scores:
    """Scores every image. Raises BundleError or ProviderUnavailable when the bundle does not run here."""
    engine = Engine.open(bundle, provider, threads)
    kept, probability, typicality = [], [], []
    with bar(what, len(images)) as advance:
        for start in range(0, len(images), _AT_ONCE):
            part = images[start : start + _AT_ONCE]
            for image, result in zip(part, engine.predict([image.encoded() for image in part]), strict=True):
                if isinstance(result, ImageError):
                    continue
                kept.append(image)
                probability.append(result.probability)
                typicality.append(result.typicality)
            advance(len(part), "")
    heads = bundle.manifest.heads
    return Scores(
        images=tuple(kept),
        probability=np.array(probability, np.float32).reshape(len(kept), len(heads)),
        typicality=np.array(typicality, np.float32),
        truth=truth(kept, heads),
        refused=len(images) - len(kept),
    )
