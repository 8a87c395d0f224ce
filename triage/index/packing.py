"""What the index holds much of, made small: a million waiting images are a million views. Pure.

Deflate with a dictionary of the words that all of them share; about a quarter of the JSON is left, most of it digests. The
first byte names the dictionary, so that another can come and the old be read.
"""

from __future__ import annotations

import zlib

_FORMAT = b"1"
_WORDS = (
    b'prediction"project"site"case"sha256"received_at"reasons"suggestions"revision"purpose"blind"reading"drawn"doubts"not_by'
    b'"answered"earlier"kind"prediction"role"current"prior"size"format"JPEG"PNG"width"height"source"code"provider"cpu"cuda'
    b'"precision"route"policy"mode"available"certified_here"control_stale"out_of_scope"audit"always_review"suspended'
    b'"timings_ms"receive"classify"caller"trace"person"origin"http"backfill"release"champion"'
    b'"control_stale","site_capturing","site_assisting","case_open","case_undecided","undecided_label","atypical","conflict",'
    b'"class_suspended","model_unavailable","always_review","out_of_scope","none_fired"],"state":"assist"},"state":"human"},'
    b'"route":"automatic","reasons":[],"labels":[{"id":","name":","probability":0.99,"threshold":0.9'
    b'"route":"captured","absent":["default/default/\n{"id":"0","project":"default","site":"default","case":null,'
    b'"route":"review","reasons":["none_fired"],"labels":[],"absent":[],"suggestions":[{"id":"","name":"","probability":0.0'
    b',"state":"automatic"},{"id":"","name":"","probability":1e-05,"state":"automatic"}],"typicality":0.5,'
    b'"review":{"queue":"default.review","item":"","status":"waiting","url":"/v1/predictions/"},'
    b'"model":{"name":"","version":"1","graph":"sha256:0","rules":"sha256:0"},"received_at":"2026-01-01T00:00:00.000000Z"}'
)
"""What comes at the end is the cheapest to refer to."""


def pack(content: bytes) -> bytes:
    """Fewer bytes, from which `unpack` makes the same again."""
    deflate = zlib.compressobj(3, zlib.DEFLATED, -15, 8, zlib.Z_DEFAULT_STRATEGY, _WORDS)
    return _FORMAT + deflate.compress(content) + deflate.flush()


def unpack(packed: bytes) -> bytes:
    """Raises ValueError for what `pack` did not make."""
    if packed[:1] != _FORMAT:
        raise ValueError(f"an entry of the index has format {packed[:1]!r}, which this version does not know")
    try:
        return zlib.decompressobj(-15, _WORDS).decompress(packed[1:])
    except zlib.error as error:
        raise ValueError(f"an entry of the index is broken: {error}") from None
