"""The errors' hierarchy as its docstring draws it, and the one-line form of pydantic's findings."""

from __future__ import annotations

import re
from typing import Annotated

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from model_store import errors
from model_store.errors import ImageError, ModelStoreError, document_error


def test_the_drawing_is_the_hierarchy() -> None:
    """Every error stands in the drawing with the status it has, and nothing is drawn that is not there."""
    drawn = {
        name: int(status) if status else None
        for name, status in re.findall(r"[├└]── (\w+)(?:\s+(\d{3}))?", errors.__doc__ or "")
    }
    there = {
        name: kind
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, ModelStoreError) and kind is not ModelStoreError
    }
    assert set(drawn) == set(there)
    for name, status in drawn.items():
        if status is not None:
            kind = there[name]
            assert issubclass(kind, ImageError)
            assert kind.status == status


def test_each_refusal_of_an_image_has_its_own_word() -> None:
    codes = [kind.code for kind in ImageError.__subclasses__()]
    assert len(set(codes)) == len(codes)
    assert ImageError.code not in codes


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")

    share: Annotated[float, Field(ge=0, le=1)] = 0.5
    word: str = ""

    @field_validator("word")
    @classmethod
    def _spoken(cls, value: str) -> str:
        if value == "bad":
            raise ValueError("JSON knows no such word; say good")
        return value


class Outer(BaseModel):
    inner: list[Inner]


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({}, "f.toml: inner is missing; add it"),
        ({"inner": [{"share": 2}]}, "f.toml: inner.0.share = 2: input should be less than or equal to 1"),
        ({"inner": [{}, {"shere": 1}]}, "f.toml: inner.1.shere is not a known key; remove it or mend its spelling"),
        ({"inner": [{"word": "bad"}]}, "f.toml: inner.0.word = 'bad': JSON knows no such word; say good"),
        ({"inner": [{"share": "x" * 200}]}, f"f.toml: inner.0.share = '{'x' * 76}...: input should be a valid number"),
        (
            {"inner": [{"word": ["two\nlines"]}]},
            "f.toml: inner.0.word = ['two\\nlines']: input should be a valid string",
        ),
    ],
)
def test_the_first_mistake_is_one_line_with_file_key_value_and_mend(document: object, says: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(document)
    message = str(document_error("f.toml", caught.value))
    assert message.startswith(says)
    assert "\n" not in message
