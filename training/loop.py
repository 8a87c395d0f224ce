"""The optimisation: BCE per head over known labels, AdamW, one cycle, random mirror and shift. Seeded."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from training.errors import DataError
from training.images import UNKNOWN
from training.model import Network
from training.progress import bar
from training.recipe import Training
from training.tensors import Tensors


@dataclass(frozen=True)
class Epoch:
    """Mean training loss per known label, as the weights stood while it was gathered."""

    loss: float


def fit(network: Network, data: Tensors, knobs: Training, seed: int) -> list[Epoch]:
    """Trains in place. Raises DataError when the loss leaves the numbers."""
    rng = np.random.default_rng(seed)
    # Equal steps: an epoch has ceil(N / batch) of them, sizes differing by one at most, so no small last step is over-weighted.
    steps = -(-len(data) // knobs.batch_size)
    image, truth = torch.from_numpy(data.image), torch.from_numpy(data.truth)
    decayed = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    optimiser = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": knobs.weight_decay}, {"params": others, "weight_decay": 0.0}],
        lr=knobs.learning_rate,
    )
    total = steps * knobs.epochs
    network.train()
    history: list[Epoch] = []
    done = 0
    with bar("training", total) as advance:
        for _ in range(knobs.epochs):
            losses = []
            for rows in np.array_split(rng.permutation(len(data)), steps):
                for group in optimiser.param_groups:
                    group["lr"] = knobs.learning_rate * one_cycle(done / total, knobs.warmup)
                losses.append(_step(network, image, truth, rows, knobs, rng))
                optimiser.step()
                optimiser.zero_grad()
                done += 1
                advance(1, f"loss {losses[-1]:.3f}")
            history.append(Epoch(float(np.mean(losses))))
            if not np.isfinite(history[-1].loss):
                raise DataError("the loss is no number any more; lower training.learning_rate in the recipe")
    return history


def one_cycle(progress: float, warmup: float) -> float:
    """Share of the peak rate at a share of all steps: a cosine from 1/25 up, then down to nothing (Smith 2018)."""
    if progress < warmup:
        return 0.04 + 0.96 * (1 - math.cos(math.pi * progress / warmup)) / 2
    return (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup))) / 2


def _step(
    network: Network, image: Tensor, truth: Tensor, rows: np.ndarray, knobs: Training, rng: np.random.Generator
) -> float:
    """Gradients of one step, gathered over as many passes as memory needs; returns the step's mean loss."""
    device = network.mean.device
    known = int((truth[rows] != UNKNOWN).sum())
    sum_of_losses = 0.0
    for part in np.array_split(rows, -(-len(rows) // knobs.micro_batch)):
        wanted = truth[part].to(device)
        logits, _ = network(augment(image[part], knobs, rng).to(device))
        loss = binary_cross_entropy_with_logits(
            logits, wanted.clamp(min=0).float(), weight=(wanted != UNKNOWN).float(), reduction="sum"
        ) / max(known, 1)
        loss.backward()  # type: ignore[no-untyped-call]
        sum_of_losses += float(loss.detach())
    return sum_of_losses


def augment(image: Tensor, knobs: Training, rng: np.random.Generator) -> Tensor:
    """`[n, H, W, 3]` -> the same shape, each image mirrored and moved by its own draw, edges repeated."""
    n, height, width, _ = image.shape

    def places(size: int, mirror: bool) -> Tensor:
        reach = int(knobs.shift * size)
        moved = np.arange(size) + rng.integers(-reach, reach, endpoint=True, size=(n, 1))
        inside = moved.clip(0, size - 1)
        turned = rng.random((n, 1)) < 0.5 if mirror else np.zeros((n, 1), bool)
        return torch.from_numpy(np.where(turned, size - 1 - inside, inside))

    down, across = places(height, mirror=False), places(width, mirror=knobs.flip)
    return image[torch.arange(n)[:, None, None], down[:, :, None], across[:, None, :]]


@torch.inference_mode()
def logits(network: Network, data: Tensors, batch: int) -> np.ndarray:
    """`[N, C]` float32, without augmentation."""
    network.eval()
    device = network.mean.device
    parts = [
        network(torch.from_numpy(part).to(device))[0].cpu()
        for part in np.split(data.image, range(batch, len(data), batch))
    ]
    return torch.cat(parts).numpy()
