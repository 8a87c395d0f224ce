"""`multipart/form-data` (RFC 7578) as it comes: an image and perhaps its metadata, in memory and within bounds.

The framework's own form parser keeps what it is sent in files; here nothing touches a disk before it is known to be an image.
"""

from __future__ import annotations

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from triage.errors import BadRequest, Invalid, TooLarge

METADATA_BYTES = 64 * 1024
FRAME_BYTES = 16 * 1024
"""Boundaries and the headers of the parts."""
_PARTS = ("image", "metadata")
_PLAIN = (b"", b"binary", b"8bit", b"7bit")


class Form:
    """Fed chunk by chunk. Raises BadRequest, Invalid and TooLarge as soon as the form is seen to be wrong."""

    def __init__(self, content_type: str, limit: int) -> None:
        """`limit` bytes is the largest image."""
        _, options = parse_options_header(content_type)
        boundary = options.get(b"boundary", b"")
        if not 1 <= len(boundary) <= 70:
            raise BadRequest(
                "the form names no boundary; send it with 'Content-Type: multipart/form-data; boundary=...'"
            )
        self._limits = {"image": limit, "metadata": METADATA_BYTES}
        self._found: dict[str, bytearray] = {}
        self._name = ""
        self._header = [b"", b""]
        self._headers: dict[bytes, bytes] = {}
        self._framed = 0
        self._ended = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin, "on_header_field": self._field, "on_header_value": self._value,
                "on_header_end": self._header_ended, "on_headers_finished": self._named, "on_part_data": self._data,
                "on_end": self._end,
            },
        )  # fmt: skip

    def feed(self, chunk: bytes) -> None:
        content = sum(map(len, self._found.values()))
        try:
            self._parser.write(chunk)
        except MultipartParseError as error:
            raise BadRequest(
                f"the form cannot be read ({error}); send multipart/form-data as RFC 7578 has it"
            ) from None
        self._framed += len(chunk) - (sum(map(len, self._found.values())) - content)
        if self._framed > FRAME_BYTES:
            raise TooLarge(f"the form has more than {FRAME_BYTES:,} bytes beside its parts; send one image")

    @property
    def held(self) -> int:
        """Bytes in memory."""
        return sum(map(len, self._found.values()))

    def done(self) -> tuple[bytes, bytes | None]:
        """Image and metadata, after the last chunk. Raises BadRequest, Invalid."""
        if not self._ended:
            raise BadRequest("the form ended before its last boundary; send it again")
        if "image" not in self._found:
            raise Invalid("the form has no part 'image'; send one (curl -F image=@FILE)")
        found = self._found.get("metadata")
        return bytes(self._found["image"]), None if found is None else bytes(found)

    def _begin(self) -> None:
        self._headers, self._header = {}, [b"", b""]

    def _field(self, data: bytes, start: int, end: int) -> None:
        self._header[0] += data[start:end]

    def _value(self, data: bytes, start: int, end: int) -> None:
        self._header[1] += data[start:end]

    def _header_ended(self) -> None:
        name, value = self._header
        self._headers[name.lower()] = value
        self._header = [b"", b""]

    def _named(self) -> None:
        kind, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        name = options.get(b"name", b"").decode(errors="replace")
        if kind != b"form-data" or name not in _PARTS:
            raise Invalid(f"the form has a part {name[:80]!r}; send 'image' and, if you like, 'metadata'")
        if name in self._found:
            raise Invalid(f"the form has two parts {name!r}; send one image a request")
        if self._headers.get(b"content-transfer-encoding", b"").strip().lower() not in _PLAIN:
            raise Invalid(f"the part {name!r} is encoded; send its bytes as they are")
        self._name = name
        self._found[name] = bytearray()

    def _data(self, data: bytes, start: int, end: int) -> None:
        found, limit = self._found[self._name], self._limits[self._name]
        if len(found) + end - start > limit:
            raise TooLarge(f"the part {self._name!r} has more than {limit:,} bytes; send a smaller one")
        found += data[start:end]

    def _end(self) -> None:
        self._ended = True
