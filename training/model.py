"""The network: a timm backbone and one sigmoid head per label, on the very tensors that serving feeds."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import timm
import torch
from torch import Tensor, nn

from model_store.errors import DocumentError
from training.recipe import Recipe


class Network(nn.Module):
    """`image` `[N, H, W, 3]` (integers) -> logits `[N, C]` and embedding `[N, D]`.

    The normalisation is inside, so that it travels with the weights.
    """

    mean: Tensor
    spread: Tensor

    def __init__(
        self, backbone: nn.Module, heads: int, mean: npt.NDArray[np.float32], spread: npt.NDArray[np.float32]
    ) -> None:
        super().__init__()
        self.register_buffer("mean", torch.from_numpy(mean))
        self.register_buffer("spread", torch.from_numpy(spread))
        self.backbone = backbone
        self.dropout = nn.Dropout(0.0)
        wide = (
            getattr(backbone, "head_hidden_size", None) or backbone.num_features
        )  # MobileNets widen after their stages
        self.head = nn.Linear(int(wide), heads)  # type: ignore[arg-type]  # timm's models have it

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        embedding = self.backbone(self._pixels(image))
        return self.head(self.dropout(embedding)), embedding

    def stages(self, image: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        """As `forward`, and what each stage of the backbone says on the way, `[N, D, h, w]` each.

        A backbone that timm cannot look into has no stages.
        """
        if not hasattr(self.backbone, "forward_intermediates"):
            return *self(image), []
        last, stages = self.backbone.forward_intermediates(self._pixels(image))  # type: ignore[operator]
        embedding = self.backbone.forward_head(last)  # type: ignore[operator]
        return self.head(self.dropout(embedding)), embedding, stages

    def _pixels(self, image: Tensor) -> Tensor:
        """`[N, 3, H, W]`, normalised."""
        # A permuted NHWC tensor is what torch calls channels_last: no copy, and the fast convolutions on a CPU. Permuted
        # first, because ONNX Runtime takes planes far faster than pixels of three numbers.
        planes = image.permute(0, 3, 1, 2).to(torch.float32)
        return (planes - self.mean.view(-1, 1, 1)) / self.spread.view(-1, 1, 1)


def create(
    recipe: Recipe, prior: npt.NDArray[np.float32], mean: npt.NDArray[np.float32], spread: npt.NDArray[np.float32]
) -> Network:
    """The untrained network of a recipe.

    `prior` `[C]` is each label's share of the training images: heads start there, so that the first steps are not spent
    on learning that most labels are absent. Raises DocumentError for a backbone, option or weights file that is none.
    """
    wanted = recipe.model
    if not timm.is_model(wanted.backbone):
        near = difflib.get_close_matches(wanted.backbone, timm.list_models(), n=3)
        hint = f"did you mean {', '.join(near)}?" if near else "timm.list_models() shows the names"
        raise DocumentError(f"recipe: model.backbone = {wanted.backbone!r}: timm knows no such model; {hint}")
    try:
        backbone = timm.create_model(wanted.backbone, pretrained=False, num_classes=0, **wanted.options)
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DocumentError(f"recipe: model.options: {wanted.backbone} refuses them ({reason}); mend them") from None
    if wanted.pretrained:
        _load(backbone, Path(wanted.pretrained), wanted.backbone)
    network = Network(backbone, len(prior), mean, spread)
    network.dropout.p = wanted.dropout
    with torch.no_grad():
        share = torch.from_numpy(prior).clamp(1e-3, 1 - 1e-3)
        network.head.weight.mul_(0.1)
        network.head.bias.copy_(torch.log(share / (1 - share)))
    return network.to(memory_format=torch.channels_last)


def _load(backbone: nn.Module, path: Path, name: str) -> None:
    """Weights from a local file; every tensor of the backbone has to be in it, a classifier may be left over."""
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            stored: dict[str, Any] = load_file(path)
        else:
            stored = torch.load(path, map_location="cpu", weights_only=True)
            stored = stored.get("state_dict", stored)
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise DocumentError(f"recipe: model.pretrained = '{path}': no weights file ({reason}); name another") from None
    own = backbone.state_dict()
    fitting = {key: value for key, value in stored.items() if key in own and value.shape == own[key].shape}
    if len(fitting) < len(own):
        raise DocumentError(
            f"recipe: model.pretrained = '{path}': {len(own) - len(fitting)} of {len(own)} tensors of {name} are not in it; "
            "name weights of this backbone"
        )
    backbone.load_state_dict(fitting)
