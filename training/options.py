"""What the commands of training take alike."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from model_store.bundle import Bundle
    from training.recipe import Recipe

DATA = click.option(
    "--data", "--out", "data", type=click.Path(path_type=Path, file_okay=False), envvar="TRIAGE_DATA",
    default=Path("data"), show_default=True, help="Data folder.",
)  # fmt: skip
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")

RECIPE = click.option(
    "--recipe", type=click.Path(path_type=Path), help="Instead of the recipe that the bundle carries."
)
SHARE = click.FloatRange(0, 1, min_open=True, max_open=True)


@contextlib.contextmanager
def plainly() -> Iterator[None]:
    """A user's mistake is one line and exit code 1; so is a part that is not installed."""
    from model_store.errors import ModelStoreError

    try:
        yield
    except ModelStoreError as error:
        raise click.ClickException(str(error)) from None
    except ModuleNotFoundError as error:
        raise click.ClickException(
            f"this needs {error.name}, which is not installed; pip install 'secondreader[train]'"
        ) from None


def read_recipe(path: Path) -> Recipe:
    """The recipe of a file, or the shipped one of the name `sample`."""
    from training import recipe

    return recipe.sample() if str(path) == recipe.SAMPLE and not path.exists() else recipe.read(path)


def open_bundle(name: str, data: Path) -> Bundle:
    """The bundle of a folder, or of `name/version` in the data folder."""
    from model_store import bundle

    return bundle.open(Path(name)) if (Path(name) / "manifest.json").is_file() else bundle.find(data, name)


def recipe_of(bundle: Bundle, instead: Path | None) -> Recipe:
    """The recipe that a bundle carries, or the one of a file."""
    from training.recipe import from_dict

    if instead:
        return read_recipe(instead)
    return from_dict(bundle.manifest.provenance.recipe, f"{bundle.folder}/manifest.json: provenance.recipe")
