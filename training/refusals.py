"""What nothing can be concluded from is refused here, one clear sentence each, before anything is certified."""

from __future__ import annotations

import numpy as np

from model_store.errors import DocumentError
from model_store.labels import LabelSchema
from model_store.manifest import Manifest
from training.errors import DataError
from training.points import chunks
from training.recipe import Recipe
from training.score import Scores


def targets(recipe: Recipe, schema: LabelSchema, whose: str, where: str = "") -> None:
    """Raises DocumentError for a target of a label that does not exist. whose: labels; where: its spelling is mended."""
    for label in recipe.certification.targets:
        if label not in schema.ids:
            raise DocumentError(
                f"recipe {recipe.name}: certification.targets.{label}: {label!r} is no label of {whose}; mend its spelling "
                f"{where}(labels: {', '.join(schema.ids[:20])})"
            )


def refuse(manifest: Manifest, recipe: Recipe, tune: Scores, evidence: Scores) -> None:
    """Raises DocumentError for a target of a label that does not exist, DataError for scores that are no probabilities,
    for empty parts, and for a certification image (or its case) that tuning images hold too."""
    targets(recipe, manifest.labels, f"{manifest.name}/{manifest.version}", "in a file and give that as --recipe FILE ")
    for what, scores in (("tune", tune), ("certify", evidence)):
        if not len(scores):
            raise DataError(f"the split {what} has no image that the model can score; add images")
        if scores.probability.shape[1] != len(manifest.heads):
            raise DataError(
                f"the split {what} has scores of {scores.probability.shape[1]} heads and the bundle has "
                f"{len(manifest.heads)}; score with this bundle"
            )
        for part in chunks(scores):
            probability, typicality = scores.probability[part], scores.typicality[part]
            # Written so that NaN fails it too.
            if not (probability.min() >= 0 and probability.max() <= 1 and not np.isnan(typicality).any()):
                raise DataError(
                    f"the split {what} has a score that is no probability (NaN, or outside 0 to 1); the model is broken, "
                    "train it again"
                )
    for what in ("name", "case"):
        both = {getattr(image, what) for image in tune.images} & {getattr(image, what) for image in evidence.images}
        if both:
            raise DataError(
                f"the {'image' if what == 'name' else 'case'} {min(both)[:64]!r} is in tune and in certify; evidence has "
                "to be of images that chose nothing; give it one split"
            )
