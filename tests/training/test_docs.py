"""docs/training.md names every knob, with the default that the code has."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from training import recipe as recipes
from training.recipe import Recipe

PAGE = (Path(__file__).parents[2] / "docs" / "training.md").read_text("utf-8")


def _knobs() -> dict[str, Any]:
    """Key as written in a recipe -> default."""
    plain = recipes.from_dict({"name": "x", "image": {"height": 1, "width": 1}})
    found: dict[str, Any] = {}
    for outer in dataclasses.fields(Recipe):
        value = getattr(plain, outer.name)
        if isinstance(value, BaseModel):
            found |= {f"{outer.name}.{key}": getattr(value, key) for key in type(value).model_fields}
        elif dataclasses.is_dataclass(value):
            found |= {f"{outer.name}.{inner.name}": getattr(value, inner.name) for inner in dataclasses.fields(value)}
        else:
            found[outer.name] = value
    return found


def test_every_knob_is_documented_and_no_other() -> None:
    rows = re.findall(
        r"^\| ((?:`[a-z_.]+`(?:, )?)+) \| [^|]* \| [^|]*\|$", PAGE.split("## The recipe")[1], re.MULTILINE
    )
    assert {key for row in rows for key in re.findall(r"`([a-z_.]+)`", row)} == set(_knobs())


def test_documented_defaults_are_the_codes() -> None:
    rows = re.findall(r"^\| `([a-z_.]+)` \| `([^`]+)` \|", PAGE.split("## The recipe")[1], re.MULTILINE)
    knobs = _knobs()
    written = {
        key: recipes._value(list(knobs[key]) if isinstance(knobs[key], tuple) else knobs[key]) for key, _ in rows
    }
    assert dict(rows) == written
    assert len(rows) > 20
