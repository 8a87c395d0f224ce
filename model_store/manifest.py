"""The manifest: what a bundle's graph takes and gives, and where it came from."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from model_store.errors import DocumentError, document_error
from model_store.labels import LabelSchema

SCHEMA_VERSION: Literal[1] = 1


class ImageSpec(BaseModel):
    """How bytes become the graph's input `image`, `[N, height, width, 3]`.

    `fit` says what happens to another aspect ratio: `squish` stretches, `pad` adds black, `crop` cuts the
    middle out. `reduce` lets the JPEG decoder skip detail that the resize would throw away; it changes pixels
    slightly, and so belongs to the model and not to the server.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    height: Annotated[int, Field(ge=1, le=4096)]
    width: Annotated[int, Field(ge=1, le=4096)]
    dtype: Literal["uint8", "uint16"] = "uint8"
    fit: Literal["squish", "pad", "crop"] = "squish"
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    reduce: bool = True
    formats: Annotated[tuple[Literal["JPEG", "PNG", "WEBP"], ...], Field(min_length=1)] = ("JPEG", "PNG", "WEBP")
    max_pixels: Annotated[int, Field(ge=1, le=150_000_000)] = 50_000_000
    """Width times height; an image of more is refused from its header."""


class Provenance(BaseModel):
    """Where the weights came from, enough to make them again."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    created_at: datetime.datetime
    code_version: str
    data_fingerprint: str
    """SHA-256 over the sorted image hashes and labels the weights saw."""
    recipe: dict[str, Any] = {}
    seed: int = 0


GateKind = Literal["mahalanobis_all_stages", "mahalanobis_embedding"]
"""Typicality ranks the Mahalanobis distance to the nearest prototype: in the features of every stage of the backbone and the
embedding, or in the embedding alone where the backbone's stages cannot be had (docs/adr/0008-typicality.md)."""


class GateCheck(BaseModel):
    """What the gate does to one kind of image unlike the training set."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(min_length=1)]
    images: Annotated[int, Field(ge=1)]
    rejected: Annotated[float, Field(ge=0, le=1)]
    """Share of them below the gate's `reject`."""
    auroc: Annotated[float, Field(ge=0, le=1)]
    """P(one of them is less typical than a normal tuning image), ties counted half."""


class Gate(BaseModel):
    """The graph's typicality: what it was made of, and what it was seen to stop."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: GateKind
    prototypes: Annotated[int, Field(ge=1)]
    """How many the graph holds; an image that is like none of them is atypical."""
    images: Annotated[int, Field(ge=1)]
    """Normal tuning images among which typicality is a rank."""
    reject: Annotated[float, Field(gt=0, lt=1)]
    """Typicality below which nothing answers: the share of normal images that this costs."""
    validated: bool
    """Whether the checks met the rule of docs/training.md; one that did not still rejects, but is no protection. Without a
    check named `held_out`, classes that the network did not learn were not asked about."""
    checks: tuple[GateCheck, ...] = ()


class Manifest(BaseModel):
    """Names the graph, its heads and its input; immutable once written."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = SCHEMA_VERSION
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
    version: Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)*$")]
    """Digits and dots: TorchServe sorts versions as numbers."""
    labels: LabelSchema
    heads: Annotated[tuple[str, ...], Field(min_length=1)]
    """Label ids in the order of the graph's `probability` columns; a label without a head is a person's."""
    image: ImageSpec
    embedding: Annotated[int, Field(ge=1)]
    graph_digest: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
    opset: int
    precision: Literal["fp32", "fp16", "int8"] = "fp32"
    provenance: Provenance
    gate: Gate | None = None
    """None: typicality is 1 for every image, and nothing is known to be stopped."""

    @model_validator(mode="after")
    def _heads_are_labels(self) -> Self:
        unknown = [head for head in self.heads if head not in self.labels.ids]
        if unknown:
            raise ValueError(f"the head {unknown[0]!r} is no label of the schema; declare it under labels")
        if len(set(self.heads)) != len(self.heads):
            raise ValueError("a head stands twice; each label has one column")
        return self


def read(path: Path) -> Manifest:
    """The manifest in a file. Raises DocumentError with file, key, value and mend."""
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise document_error(path, error) from None
    except OSError as error:
        raise DocumentError(f"{path}: {error.strerror}; name the folder of a bundle") from None
