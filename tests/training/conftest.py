"""One tiny training for all tests that need a trained bundle."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings

from tests.training import colours
from training import train
from training.recipe import Recipe
from training.train import TrainResult

settings.register_profile("no-timing", deadline=None)  # a busy machine is no failure
settings.load_profile("no-timing")


@dataclass(frozen=True)
class Trained:
    recipe: Recipe
    result: TrainResult
    data: Path
    file: Path


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    root = tmp_path_factory.mktemp("colours")
    recipe = colours.make(root)
    return Trained(recipe, train.run(recipe, root / "data"), root / "data", root / "colours.toml")
