"""The manifest: round trip, and every mistake as one line with file, key, value and mend."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from model_store import manifest
from model_store.errors import DocumentError
from model_store.manifest import Manifest
from tests import bundles
from tests.model_store.documents import changed, mistake


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return (bundles.make(tmp_path_factory.mktemp("m")).folder / "manifest.json").read_bytes()


def test_what_is_written_is_read(document: bytes, tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    path.write_bytes(document)
    assert manifest.read(path) == Manifest.model_validate_json(document)
    assert manifest.read(path).model_dump_json(indent=2).encode() == document


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"name": "Has Spaces"}, ["name = 'Has Spaces'", "match pattern"]),
        ({"name": "../up"}, ["name = '../up'"]),
        ({"version": "1.0-beta"}, ["version = '1.0-beta'", "match pattern"]),
        ({"version": ...}, ["version is missing; add it"]),
        ({"image__height": 0}, ["image.height = 0", "greater than or equal to 1"]),
        ({"image__fit": "stretch"}, ["image.fit = 'stretch'", "'squish', 'pad' or 'crop'"]),
        ({"image__fitt": "pad"}, ["image.fitt is not a known key; remove it or mend its spelling"]),
        ({"image__formats": ["JPEG", "GIF"]}, ["image.formats.1 = 'GIF'", "'JPEG', 'PNG' or 'WEBP'"]),
        ({"image__formats": []}, ["image.formats", "at least 1 item"]),
        ({"image__max_pixels": 10**9}, ["image.max_pixels = 1000000000", "less than or equal to"]),
        ({"graph_digest": "sha256:12"}, ["graph_digest = 'sha256:12'", "match pattern"]),
        ({"precision": "bf16"}, ["precision = 'bf16'", "'fp32', 'fp16' or 'int8'"]),
        ({"schema_version": 2}, ["schema_version = 2", "should be 1"]),
        ({"embedding": 0}, ["embedding = 0"]),
        ({"heads": []}, ["heads", "at least 1 item"]),
        ({"heads__0": "purple"}, ["the head 'purple' is no label of the schema; declare it under labels"]),
        ({"heads__0": "green"}, ["a head stands twice"]),
        ({"labels__labels__1__id": "red"}, ["labels:", "'red' stands twice; give each its own"]),
        ({"labels__labels__1__group": "x"}, ["labels:", "declare it under groups"]),
        ({"provenance__created_at": "yesterday"}, ["provenance.created_at = 'yesterday'", "datetime"]),
    ],
    ids=str,
)
def test_each_mistake_is_one_line(document: bytes, tmp_path: Path, changes: dict[str, Any], says: list[str]) -> None:
    mistake(manifest.read, tmp_path / "manifest.json", changed(document, **changes), *says)


@pytest.mark.parametrize("content", [b"", b"not json", b"{", b"[1]", b'"x"', b"\xff\xfe{}", b"null"], ids=repr)
def test_what_is_no_object_at_all_is_named_as_such(tmp_path: Path, content: bytes) -> None:
    message = mistake(manifest.read, tmp_path / "manifest.json", content)
    assert "SON" in message or "object" in message


def test_a_message_about_the_whole_document_does_not_repeat_it(document: bytes, tmp_path: Path) -> None:
    message = mistake(manifest.read, tmp_path / "manifest.json", changed(document, heads__0="purple"))
    assert "graph_digest" not in message
    assert "{" not in message


def test_a_file_that_is_not_there_says_what_to_name(tmp_path: Path) -> None:
    for path in (tmp_path / "manifest.json", tmp_path):
        with pytest.raises(DocumentError, match="; name the folder of a bundle"):
            manifest.read(path)
