"""The recipe: every knob of training and certification in one frozen value, TOML in and out.

A mistake is one line that names file, key, value and the mend. Paths in a recipe are relative to its own folder.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
import tomllib
from dataclasses import field
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from model_store.conditions import Condition
from model_store.errors import DocumentError, document_error
from model_store.labels import Group, Label
from model_store.manifest import ImageSpec

SAMPLE = "sample"
Share = Annotated[float, Field(gt=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, config=_STRICT)
class Shares:
    """Share of the cases in each split, where the data does not say which split an image is in."""

    train: Share = 0.5
    tune: Share = 0.15
    certify: Share = 0.2
    test: Share = 0.15

    @model_validator(mode="after")
    def _make_a_whole(self) -> Self:
        total = self.train + self.tune + self.certify + self.test
        if abs(total - 1) > 1e-6:
            raise ValueError(f"train, tune, certify and test make {total:g}; let them make 1")
        return self


@dataclass(frozen=True, config=_STRICT)
class Data:
    """Where the labelled images are. Without `labels`, every label met in the data becomes one of an exclusive group."""

    source: str = SAMPLE
    """`sample`, a folder of `label/*.png`, or a CSV file with the columns path, label and, if wanted, case and split."""
    shares: Shares = field(default_factory=Shares)
    labels: tuple[Label, ...] = ()
    groups: tuple[Group, ...] = ()
    min_images: Count = 50
    """Training images that a label needs before it gets a head; below, it is for people alone."""
    near_duplicates: Annotated[int, Field(ge=0, le=32)] = 20
    """Bits of 256 in which the perceptual hashes of images that look the same may differ; 0 looks for none."""


@dataclass(frozen=True, config=_STRICT)
class Model:
    """The network."""

    backbone: str = "test_resnet"
    """A name that timm knows."""
    options: dict[str, Any] = field(default_factory=dict)
    """Passed on to timm.create_model."""
    pretrained: str = ""
    """A local file with weights of this backbone (.safetensors, .pt, .pth); empty: start from random weights."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0


@dataclass(frozen=True, config=_STRICT)
class Training:
    """How the weights are found: BCE per head, AdamW, one cycle."""

    epochs: Count = 10
    batch_size: Annotated[int, Field(ge=4)] = 64
    """Effective: images per step of the optimiser, however many fit into memory at once."""
    micro_batch: Annotated[int, Field(ge=4)] = 256
    """Images per forward pass; smaller steps are accumulated."""
    learning_rate: Annotated[float, Field(gt=0)] = 0.01
    """The peak of the cycle."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    warmup: Share = 0.25
    """Share of the steps in which the rate rises."""
    flip: bool = True
    """Mirror left and right at random."""
    shift: Annotated[float, Field(ge=0, lt=0.5)] = 0.07
    """Move by up to this share of each side at random; the edge is repeated."""
    device: Literal["cpu", "cuda"] = "cpu"
    threads: Annotated[int, Field(ge=0)] = 2
    """CPU threads; 0 takes as many as torch likes. The result depends on it in the last digits."""


@dataclass(frozen=True, config=_STRICT)
class Typicality:
    """The gate against images unlike the training set."""

    prototypes: Annotated[int, Field(ge=0)] = 200
    """Over all classes, shared out by their training images; 0: no gate, every image is typical."""
    reject: Share = 0.05
    """Share of normal images that may be sent to people for being unusual."""


@dataclass(frozen=True, config=_STRICT)
class Certification:
    """What is promised, and for whom."""

    target: Share = 0.95
    """Precision of each class's automatic answers."""
    delta: Share = 0.1
    """Probability, over all classes and both kinds of claim together, that a certificate claims too much."""
    targets: dict[str, Share] = field(default_factory=dict)
    """By label, where it is not `target`."""
    absence_target: Share = 0.05
    """Where every label has to be present or absent: at most this share of the images that show one is called absent."""
    absence_delta: Share | None = None
    """The part of `delta` that claims of absence have among them; without it all claims have equal shares of `delta`."""
    sampling: Annotated[float, Field(ge=0, le=1)] = 0.2
    """Share of the images on which a class that lacks evidence would fire that people read blind; 0 reads none."""
    project: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")] = "default"
    """Project of those sites."""
    sites: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)] = ("default",)
    provider: Literal["cpu", "cuda"] = "cpu"
    candidates: Annotated[int, Field(ge=2)] = 100
    """Thresholds taken from the tuning images, strict to lenient."""
    vetoes: Annotated[tuple[Share, ...], Field(min_length=1)] = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
    """Scores from which a class may stop the others of its exclusive group; tuning picks one for each class."""
    min_threshold: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """No class answers below this score, whatever could be proven: nobody believes an answer that its score calls unlikely."""
    valid_days: Annotated[int, Field(ge=1, le=3650)] = 365
    """After so many days a certificate ends, and its class suggests instead of answering."""
    min_chance: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """A class whose best chance to pass, judged on tuning images, is below is not attempted and costs the others nothing."""
    conditions: tuple[Condition, ...] = ()
    """What has to be known of an image, from its metadata, for a class to answer for it."""

    @model_validator(mode="after")
    def _leaves_something_for_presence(self) -> Self:
        if self.absence_delta is not None and self.absence_delta >= self.delta:
            raise ValueError(
                f"absence_delta = {self.absence_delta:g} leaves nothing of delta = {self.delta:g} for answers; lower it"
            )
        return self

    def target_of(self, label: str) -> float:
        """The precision promised for a label."""
        return self.targets.get(label, self.target)


@dataclass(frozen=True, config=_STRICT)
class Export:
    """What goes into the bundle beside the weights."""

    opset: Annotated[int, Field(ge=18, le=21)] = 18
    golden: Count = 8
    """Tuning images kept as golden samples."""


@dataclass(frozen=True, config=_STRICT)
class Recipe:
    """From labelled images to a bundle and its rules."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
    image: ImageSpec
    version: Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)*$")] = "1"
    seed: Annotated[int, Field(ge=0)] = 0
    data: Data = field(default_factory=Data)
    model: Model = field(default_factory=Model)
    training: Training = field(default_factory=Training)
    typicality: Typicality = field(default_factory=Typicality)
    certification: Certification = field(default_factory=Certification)
    export: Export = field(default_factory=Export)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; `from_dict` makes the same recipe of them."""
        plain: dict[str, Any] = _ADAPTER.dump_python(self, mode="json")
        return plain


_ADAPTER: TypeAdapter[Recipe] = TypeAdapter(Recipe)


def from_dict(values: dict[str, Any], source: Path | str = "recipe") -> Recipe:
    """The recipe in plain values. Raises DocumentError, which calls the values by the name of their `source`."""
    try:
        return _ADAPTER.validate_python(values)
    except ValidationError as error:
        raise _sentence(source, error) from None


def read(path: Path) -> Recipe:
    """The recipe in a TOML file, its paths made absolute. Raises DocumentError."""
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise DocumentError(f"{path}: {error.strerror}; name a recipe, or `sample` for the shipped one") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DocumentError(f"{path}: no TOML ({error}); mend that line") from None
    recipe = from_dict(values, path)
    data, model = recipe.data, recipe.model
    if data.source != SAMPLE:
        data = dataclasses.replace(data, source=_absolute(path, "data.source", data.source))
    if model.pretrained:
        model = dataclasses.replace(model, pretrained=_absolute(path, "model.pretrained", model.pretrained))
    return dataclasses.replace(recipe, data=data, model=model)


def sample() -> Recipe:
    """The shipped recipe: the sample data, trained in about a minute on two cores."""
    shipped = files("training") / "recipes" / "sample.toml"
    return from_dict(tomllib.loads(shipped.read_text("utf-8")), "sample.toml")


def dumps(recipe: Recipe) -> str:
    """The recipe as TOML, every knob in it; `read` gives the same recipe back."""
    return _table("", recipe.to_dict()).lstrip("\n")


def _absolute(recipe: Path, key: str, value: str) -> str:
    found = (recipe.parent / value).resolve()
    if not found.exists():
        raise DocumentError(
            f"{recipe}: {key} = {value!r}: {found} does not exist; mend the path (relative to the recipe)"
        )
    return str(found)


def _sentence(source: Path | str, error: ValidationError) -> DocumentError:
    """As model_store says it, and for a misspelt key the nearest one that exists."""
    unknown = {"unexpected_keyword_argument", "extra_forbidden"}
    first = next((mistake for mistake in error.errors(include_url=False) if mistake["type"] in unknown), None)
    if first is None:  # a key misspelt explains the one missing, and so comes before it
        return document_error(source, error)
    *section, wrong = (str(part) for part in first["loc"])
    kind: Any = Recipe
    for name in section:
        if not name.isdigit():  # the number of an entry leads to no other kind
            hint = get_type_hints(kind).get(name) if isinstance(kind, type) else None
            kind = next(iter(get_args(hint)), hint)
    known = list(kind.model_fields if isinstance(kind, type) and issubclass(kind, BaseModel) else _keys(kind))
    near = difflib.get_close_matches(wrong, known, n=1)
    mend = f"did you mean {near[0]}?" if near else "remove it"
    mend += f"; known here: {', '.join(known)}" if known and not near else ""
    return DocumentError(f"{source}: {'.'.join([*section, wrong])} = {first.get('input')!r}: no such key; {mend}")


def _keys(kind: Any) -> list[str]:
    return [knob.name for knob in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else []


def _table(name: str, values: dict[str, Any]) -> str:
    """One TOML table: its plain values first, then its sub-tables."""
    lines = [f"\n[{name}]"] if name else []
    tables = []
    for key, value in values.items():
        key = key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _value(key)
        inner = f"{name}.{key}" if name else key
        if isinstance(value, dict):
            tables.append(_table(inner, value))
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            tables += [_table(inner, item).replace(f"\n[{inner}]", f"\n[[{inner}]]", 1) for item in value]
        elif value is not None:  # TOML has no null; a key that is missing takes its default
            lines.append(f"{key} = {_value(value)}")
    return "\n".join(lines) + "\n" + "".join(tables)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return '"' + "".join(c if c >= " " and c != "\x7f" else f"\\u{ord(c):04x}" for c in escaped) + '"'
    if isinstance(value, list):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    return repr(value)
