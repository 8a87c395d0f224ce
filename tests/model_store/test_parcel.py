"""Several byte strings as one: what was packed comes back; anything else is None."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from model_store.parcel import MAGIC, pack, unpack
from tests.model_store import images

parts = st.lists(st.binary(max_size=60), max_size=9)


@given(parts)
def test_what_was_packed_comes_back(packed: list[bytes]) -> None:
    assert unpack(pack(packed)) == packed


@given(parts, st.binary(min_size=1, max_size=5))
def test_less_and_more_are_none(packed: list[bytes], more: bytes) -> None:
    data = pack(packed)
    assert unpack(data + more) is None
    assert all(unpack(data[:end]) is None for end in range(len(data)))


@given(st.binary(max_size=80), st.booleans())
def test_garbage_is_none_or_whole(data: bytes, magic: bool) -> None:
    data = MAGIC + data if magic else data
    found = unpack(data)
    assert found is None or pack(found) == data


def test_no_image_is_taken_for_one() -> None:
    assert all(unpack(images.encoded(kind)) is None for kind in ("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP"))
