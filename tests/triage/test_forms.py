"""Multipart forms: what a client sends comes out, however it is cut; garbage is one named error."""

from __future__ import annotations

from collections.abc import Iterable

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triage.calling.forms import FRAME_BYTES, METADATA_BYTES, Form
from triage.errors import BadRequest, Invalid, TooLarge

KIND = "multipart/form-data; boundary=x"


def sent(**parts: bytes) -> tuple[str, bytes]:
    """As a real client writes it."""
    request = httpx.Request("POST", "http://h/", files={name: (name, content) for name, content in parts.items()})
    return request.headers["content-type"], request.read()


def read(kind: str, chunks: Iterable[bytes], limit: int = 10**6) -> tuple[bytes, bytes | None]:
    form = Form(kind, limit)
    for chunk in chunks:
        form.feed(chunk)
    return form.done()


@given(st.binary(max_size=500), st.none() | st.binary(max_size=200), st.integers(1, 400))
def test_what_a_client_sends_comes_out_however_it_is_cut(image: bytes, metadata: bytes | None, step: int) -> None:
    kind, body = sent(image=image, **({} if metadata is None else {"metadata": metadata}))
    assert read(kind, (body[at : at + step] for at in range(0, len(body), step))) == (image, metadata)


@settings(max_examples=300)
@given(
    st.lists(
        st.binary(max_size=100)
        | st.sampled_from([b"--x\r\n", b"\r\n--x--\r\n", b'Content-Disposition: form-data; name="image"\r\n\r\n'])
    )
)
def test_garbage_is_a_form_or_one_named_error(chunks: list[bytes]) -> None:
    assert "; " in told(chunks)


def told(chunks: list[bytes]) -> str:
    """What is said against a form; of one that is none the worse, how long its image is."""
    try:
        return f"taken; {len(read(KIND, chunks)[0])} bytes"
    except (BadRequest, Invalid, TooLarge) as error:
        return str(error)


def test_what_is_wrong_is_said() -> None:
    kind, whole = sent(image=b"abc")
    with pytest.raises(BadRequest, match="ended before its last boundary; send it again"):
        read(kind, [whole[:-10]])
    with pytest.raises(BadRequest, match="names no boundary"):
        read("multipart/form-data", [whole])
    with pytest.raises(Invalid, match="has no part 'image'; send one"):
        read(*_one("metadata"))
    with pytest.raises(Invalid, match="has a part 'file'; send 'image' and, if you like, 'metadata'"):
        read(*_one("file"))
    twice = b'--x\r\nContent-Disposition: form-data; name="image"\r\n\r\na\r\n' * 2 + b"--x--\r\n"
    with pytest.raises(Invalid, match="two parts 'image'; send one image a request"):
        read(KIND, [twice])
    encoded = (
        b'--x\r\nContent-Disposition: form-data; name="image"\r\nContent-Transfer-Encoding: base64\r\n\r\nYQ==\r\n--x--'
    )
    with pytest.raises(Invalid, match="is encoded; send its bytes as they are"):
        read(KIND, [encoded])


def test_nothing_grows_without_end() -> None:
    kind, body = sent(image=bytes(2000))
    with pytest.raises(TooLarge, match="the part 'image' has more than 1,999 bytes; send a smaller one"):
        read(kind, [body], 1999)
    kind, body = sent(image=b"a", metadata=bytes(METADATA_BYTES + 1))
    with pytest.raises(TooLarge, match="'metadata'"):
        read(kind, [body])
    with pytest.raises((TooLarge, BadRequest)):
        read(KIND, [b"--x\r\n" + b"A" * 100 + b": " + b"b" * FRAME_BYTES] * 10)
    with pytest.raises((TooLarge, BadRequest)):
        read(KIND, [b"before the first boundary " * 100] * FRAME_BYTES)


def _one(name: str) -> tuple[str, list[bytes]]:
    kind, body = sent(**{name: b"{}"})
    return kind, [body]
