"""How typical an image is of what the network was trained on, inside the graph.

Score: minus the squared Mahalanobis distance to the nearest of a few hundred prototypes, in the pooled features of *every*
stage of the backbone (Lee, Lee, Lee and Shin, 2018, with several centres a class). Early stages see texture and contrast,
late ones see shape; a network trained from scratch folds foreign images onto familiar ones in its last layer alone.

Output: the share of normal tuning images that are less typical, so that a floor of .05 costs one normal image in twenty,
whatever the score is.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.cluster.vq import kmeans2
from torch import Tensor, nn

from model_store.manifest import GateKind
from training.errors import DataError, ExportError
from training.images import LabelledImage
from training.model import Network
from training.recipe import Typicality

Images = npt.NDArray[Any]
Features = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
DIMENSIONS = 256
"""Features beyond so many are projected at random: the whitening matrix stays small, and distances hardly change."""
IMAGES_A_DIMENSION = 10
"""Fewer training images than this for each dimension and the covariance would be noise."""
SHRINK = 0.05
"""Share of the covariance that is the same in all directions: no direction is trusted to be without spread."""
NOISE = 1e-3
"""Standard deviation that every direction is given beside its own, of features of length 1: far above what rounding makes
of them, on whatever machine."""
IMAGES = 20_000
"""Training images looked at, at most, drawn by the seed."""
IMAGES_A_PROTOTYPE = 5
"""A prototype of a single image would be that image."""
STEPS = 1000
"""Points of the stored distribution, at most; the share is exact to one of them."""
RARE = 10
"""Combinations of labels with fewer training images are one kind together."""


class Gate(nn.Module):
    """Features `[N, D]` -> typicality `[N]` float32 in [0, 1]; features that are no numbers are atypical, 0."""

    centre: Tensor
    whiten: Tensor
    prototypes: Tensor
    grid: Tensor

    def __init__(
        self,
        centre: Doubles,
        whiten: Doubles,
        prototypes: Doubles,
        kinds: Integers,
        over: GateKind = "mahalanobis_all_stages",
    ) -> None:
        super().__init__()
        self.register_buffer("centre", torch.from_numpy(centre.astype(np.float32)))
        self.register_buffer("whiten", torch.from_numpy(whiten.astype(np.float32)))
        self.register_buffer("prototypes", torch.from_numpy(prototypes.astype(np.float32)))
        self.register_buffer("grid", torch.zeros(1))
        self.kinds = kinds
        """Which kind each prototype is of, `[p]`."""
        self.over = over

    def score(self, features: Tensor) -> Tensor:
        """`[N]`: minus the squared distance to the nearest prototype, in standard deviations, mean over directions."""
        place = (features - self.centre) @ self.whiten
        apart = (place**2).sum(1, keepdim=True) - 2 * place @ self.prototypes.T + (self.prototypes**2).sum(1)
        return -apart.min(dim=1).values / self.whiten.shape[1]

    def forward(self, features: Tensor) -> Tensor:
        share = (self.grid < self.score(features)[:, None]).to(torch.float32).mean(dim=1)
        total = features.sum(dim=1)  # no number if one of them is none: runtimes disagree about minima with NaN in them
        return torch.where(total - total == 0, share, torch.zeros_like(share))

    def rank_among(self, normal: Features) -> Gate:
        """Takes the scores of normal tuning images `[n, D]` as the distribution that typicality is a share of."""
        self.grid = _between(self.scores(normal))
        return self

    def without(self, kind: int, normal: Features) -> Gate:
        """This gate with one kind's prototypes removed; all else has learned that kind and stays. Raises ValueError when no
        other is left."""
        keep = self.kinds != kind
        if not keep.any():
            raise ValueError("no prototype is left")
        centre, whiten, prototypes = (part.double().numpy() for part in (self.centre, self.whiten, self.prototypes))
        left = Gate(centre, whiten, prototypes[keep], self.kinds[keep], self.over)
        return left.rank_among(normal)

    @torch.inference_mode()
    def scores(self, features: Features) -> Features:
        """`score`, for arrays."""
        found: Features = self.score(torch.from_numpy(features)).numpy()
        return found

    @torch.inference_mode()
    def shares(self, features: Features) -> Features:
        """Typicality, for arrays."""
        found: Features = self(torch.from_numpy(features)).numpy()
        return found


def _between(scores: Features) -> Tensor:
    """Sorted points between neighbouring scores, as many below a score as images are less typical.

    Between, because on a point the last digit of a float would decide, and machines differ in it.
    """
    ordered = np.sort(scores.astype(np.float64))
    higher = np.searchsorted(ordered, ordered, "right")
    widest = max(float(np.ptp(ordered)), 1.0)
    following = np.append(ordered, ordered[-1] + widest / len(ordered))[higher]
    points = (ordered + following) / 2
    rows = np.linspace(0, len(points) - 1, min(STEPS, len(points))).round().astype(np.intp)
    return torch.from_numpy(points[rows].astype(np.float32))


def describe(stages: Sequence[Tensor], embedding: Tensor) -> Tensor:
    """Each stage averaged over the image, and the embedding, each of length 1, side by side: `[N, D]`."""
    pooled = [stage.flatten(2).mean(dim=2) for stage in stages]
    return torch.cat([part / part.norm(dim=1, keepdim=True).clamp(min=1e-12) for part in [*pooled, embedding]], dim=1)


@torch.inference_mode()
def features(network: Network, image: Images, batch: int) -> Features:
    """Images `[N, H, W, 3]` -> features `[N, D]`. Raises ExportError for a backbone whose stages cannot be had."""
    network.eval()
    device = network.mean.device
    found = []
    for start in range(0, len(image), batch):
        part = torch.from_numpy(image[start : start + batch]).to(device)
        logits, embedding, stages = network.stages(part)
        if start == 0 and not torch.allclose(logits, network(part)[0], rtol=1e-3, atol=1e-3):
            raise ExportError("this backbone's stages do not lead to its embedding; write typicality.prototypes = 0")
        found.append(describe(stages, embedding).cpu())
    made: Features = torch.cat(found).numpy()
    return made


def normal(images: Sequence[LabelledImage], heads: Collection[str]) -> npt.NDArray[np.bool_]:
    """`[N]`: images without a label that lacks a head, which is what the network can know."""
    return np.array([image.present <= set(heads) for image in images], bool)


def combinations(truth: npt.NDArray[np.int8]) -> tuple[bytes, ...]:
    """The combinations of present labels that are common in truth `[N, C]`; one in which nothing is present is one too."""
    counted = Counter(row.tobytes() for row in truth == 1)
    return tuple(sorted(combination for combination, count in counted.items() if count >= RARE))


def kinds(truth: npt.NDArray[np.int8], common: Sequence[bytes]) -> Integers:
    """`[N]`: which of the common combinations each row of truth `[N, C]` is; -1 for all others together."""
    number = {combination: kind for kind, combination in enumerate(common)}
    return np.array([number.get(row.tobytes(), -1) for row in truth == 1], np.int64)


def fit(
    network: Network, image: Images, kind: Integers, tuning: Features, knobs: Typicality, seed: int, batch: int
) -> Gate:
    """The gate of a trained network.

    Images `[N, H, W, 3]` that it was trained on, without those that have a label without a head, and their kinds `[N]`;
    tuning: features `[n, D]` of the tuning images of which the same is true. Prototypes are shared out over the kinds by
    their images. Raises DataError where there are too few images, ExportError.
    """
    if len(tuning) * knobs.reject < 1:
        raise DataError(
            f"{len(tuning)} normal tuning images cannot tell the least typical {knobs.reject:g}; add images to tune, or "
            "write typicality.prototypes = 0 for a model without a gate"
        )
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.permutation(len(image))[:IMAGES])
    seen, kind = features(network, image[chosen], batch).astype(np.float64), kind[chosen]
    centre = seen.mean(axis=0)
    whiten = _whitening(seen - centre, kind, rng)
    place = (seen - centre) @ whiten
    means, owners = [], []
    for one in np.unique(kind):
        rows = place[kind == one]
        count = min(round(knobs.prototypes * len(rows) / len(place)), len(rows) // IMAGES_A_PROTOTYPE)
        means.append(_means(rows, max(1, count), rng))
        owners += [int(one)] * len(means[-1])
    made = Gate(centre, whiten, np.concatenate(means), np.array(owners, np.int64), _over(network))
    return made.rank_among(tuning)


def _over(network: Network) -> GateKind:
    """Whose features `features` gives; see Network.stages."""
    return "mahalanobis_all_stages" if hasattr(network.backbone, "forward_intermediates") else "mahalanobis_embedding"


def _whitening(centred: Doubles, kind: Integers, rng: np.random.Generator) -> Doubles:
    """`[D, d]`: afterwards the spread within kinds is about 1 in every direction."""
    count, wide = centred.shape
    narrow = min(wide, DIMENSIONS, max(1, count // IMAGES_A_DIMENSION))
    project = np.linalg.qr(rng.normal(size=(wide, narrow)))[0] if narrow < wide else np.eye(wide)
    reduced = centred @ project
    for one in np.unique(kind):
        reduced[kind == one] -= reduced[kind == one].mean(axis=0)
    covariance = reduced.T @ reduced / count
    even = SHRINK * float(np.trace(covariance)) / narrow + NOISE**2
    spread, directions = np.linalg.eigh((1 - SHRINK) * covariance + even * np.eye(narrow))
    whiten: Doubles = project @ (directions / np.sqrt(spread))
    return whiten


def _means(rows: Doubles, count: int, rng: np.random.Generator) -> Doubles:
    """k-means of `[n, d]`, never more means than different rows."""
    different = np.unique(rows, axis=0)
    if len(different) <= count:
        return different
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "One of the clusters is empty", UserWarning)  # it keeps its old place
        means: Doubles = kmeans2(rows, count, minit="++", rng=rng)[0]
    return means
