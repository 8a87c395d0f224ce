"""Which score should typicality be a share of? Candidates on one network, the shipped sample's (docs/adr/0008-typicality.md).

Each is fitted on the training images and puts its floor where 5% of the normal tuning images are below. Printed per score:
the share of each kind of image that the floor rejects, and the mean AUROC over all kinds. Choices are made by these figures,
and so they come from the splits train and tune and from images of other fields: never from certify or test. The network is
trained once and kept in build/bench-certify/.

    python -m tests.benchmarks.certify.gates
"""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from scipy.cluster.vq import kmeans2
from sklearn.datasets import load_digits

from model_store.preprocess import preprocess
from tests.benchmarks.certify import fashion
from training import loop, model, recipe, sample, tensors, typicality, unlike
from training.images import LabelledImage
from training.model import Network
from training.typicality import Features

RECIPE = recipe.sample()
KEPT = fashion.KEPT / "gates.pt"
Score = Callable[[Features, Features], npt.NDArray[np.floating]]
"""features `[N, D]` of all stages, logits `[N, C]` -> `[N]`, higher is more typical."""


def network(images: tensors.Tensors) -> Network:
    prior = (images.truth == 1).mean(axis=0).astype(np.float32)
    torch.set_num_threads(2)
    torch.manual_seed(RECIPE.seed)
    made = model.create(RECIPE, prior, *images.moments())
    if KEPT.exists():
        made.load_state_dict(torch.load(KEPT, weights_only=True))
    else:
        loop.fit(made, images, RECIPE.training, RECIPE.seed)
        KEPT.parent.mkdir(parents=True, exist_ok=True)
        torch.save(made.state_dict(), KEPT)
    return made.eval()


def scores(seen: Features, truth: npt.NDArray[np.int8], last: int, gate: typicality.Gate) -> dict[str, Score]:
    """The candidates; seen `[n, D]` of training images, of which the last so many columns are the embedding."""
    kind = truth.argmax(axis=1)

    def prototypes(rows: Features, count: int = 200) -> Features:
        means = [
            kmeans2(rows[kind == k].astype(float), round(count * (kind == k).mean()), minit="++", rng=0)[0]
            for k in np.unique(kind)
        ]
        return _unit(np.concatenate(means).astype(np.float32))

    def mahalanobis(rows: Features) -> tuple[Callable[[Features], Features], Callable[[Features], Features]]:
        """Distances to the nearest class mean and to the mean of all, under the spread within classes and overall."""
        means = np.stack([rows[kind == k].mean(axis=0) for k in np.unique(kind)])
        inner, outer = (
            np.linalg.inv(np.cov(part.T) + 1e-6 * np.eye(rows.shape[1])) for part in (rows - means[kind], rows)
        )

        def near(x: Features) -> Features:
            return np.asarray(np.stack([np.einsum("ni,ij,nj->n", x - m, inner, x - m) for m in means]).min(axis=0))

        def plain(x: Features) -> Features:
            centred = x - rows.mean(axis=0)
            return np.asarray(np.einsum("ni,ij,nj->n", centred, outer, centred))

        return near, plain

    emb = _unit(seen[:, -last:])
    centre = emb.mean(axis=0)
    whole, late = _unit(seen), prototypes(emb)
    centred, all_stages = prototypes(_unit(emb - centre)), prototypes(whole)
    near_late, plain_late = mahalanobis(emb)
    near_all, _ = mahalanobis(whole)
    return {
        "max logit": lambda x, z: z.max(axis=1),
        "cosine to prototypes, last layer": lambda x, z: (_unit(x[:, -last:]) @ late.T).max(axis=1),
        "the same, mean-centred": lambda x, z: (_unit(_unit(x[:, -last:]) - centre) @ centred.T).max(axis=1),
        "Mahalanobis to class means, last layer": lambda x, z: -near_late(_unit(x[:, -last:])),
        "relative Mahalanobis, last layer": lambda x, z: (
            plain_late(_unit(x[:, -last:])) - near_late(_unit(x[:, -last:]))
        ),
        "cosine to prototypes, all stages": lambda x, z: (_unit(x) @ all_stages.T).max(axis=1),
        "fifth nearest neighbour, all stages": lambda x, z: np.partition(_unit(x) @ whole.T, -5, axis=1)[:, -5],
        "Mahalanobis to class means, all stages": lambda x, z: -near_all(_unit(x)),
        "Mahalanobis to prototypes, all stages (the gate)": lambda x, z: gate.scores(x),
    }


def _unit(rows: Features) -> Features:
    made: Features = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return made


def run() -> dict[str, dict[str, float]]:
    """By score: by kind the share rejected, and `mean AUROC`."""
    counts: dict[str, int] = {}
    for image in sample.images("train"):
        for label in image.present:
            counts[label] = counts.get(label, 0) + 1
    heads = [label for label in sample.schema().ids if counts.get(label, 0) >= RECIPE.data.min_images]

    def read(images: list[LabelledImage], known: bool) -> tensors.Tensors:
        rows = typicality.normal(images, heads) == known
        return tensors.read([one for one, row in zip(images, rows, strict=True) if row], heads, RECIPE.image, "reading")

    trained = network(tensors.read(sample.images("train"), heads, RECIPE.image, "reading"))
    tuning = sample.images("tune")
    learned, tune = read(sample.images("train"), True), read(tuning, True)
    digits = (load_digits().images * (255 / 16)).round().astype(np.uint8)
    spec, rng = RECIPE.image, np.random.default_rng(RECIPE.seed)
    kinds = {
        "held out": read(tuning, False).image,
        "digits": np.stack([preprocess(np.repeat(one[:, :, None], 3, axis=2), spec) for one in digits]),
        **unlike.spoil(rng.permutation(tune.image)[:1000], spec, rng),
    }

    def seen(image: typicality.Images) -> tuple[Features, Features]:
        labels = np.zeros((len(image), len(heads)), np.int8)
        return typicality.features(trained, image, 256), loop.logits(trained, tensors.Tensors(image, labels), 256)

    taught, tuned, found = (
        seen(learned.image)[0],
        seen(tune.image),
        {name: seen(image) for name, image in kinds.items()},
    )
    kind = typicality.kinds(learned.truth, typicality.combinations(learned.truth))
    gate = typicality.fit(trained, learned.image, kind, tuned[0], RECIPE.typicality, RECIPE.seed, 256)
    last = trained.head.in_features
    result = {}
    for name, score in scores(taught, learned.truth, last, gate).items():
        normal, strange = score(*tuned), {what: score(*given) for what, given in found.items()}
        floor = np.quantile(normal, RECIPE.typicality.reject)
        aurocs = [unlike.auroc(values, normal) for values in strange.values()]
        rejected = {what: round(float(np.mean(values < floor)), 3) for what, values in strange.items()}
        result[name] = {**rejected, "mean AUROC": round(float(np.mean(aurocs)), 4)}
    return result


if __name__ == "__main__":
    print(json.dumps(run()))
