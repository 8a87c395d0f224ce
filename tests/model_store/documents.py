"""Documents with one mistake each: the message is one line that names file, key, value and the mend."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from model_store.errors import DocumentError


def changed(document: bytes, **changes: Any) -> bytes:
    """JSON with values set by dotted path (`a__b__0` is `a.b[0]`); the value `...` removes the key."""
    root = json.loads(document)
    for path, value in changes.items():
        *parents, last = path.split("__")
        at = root
        for key in parents:
            at = at[int(key)] if isinstance(at, list) else at[key]
        if value is ...:
            del at[last]
        else:
            at[int(last) if isinstance(at, list) else last] = value
    return json.dumps(root).encode()


def mistake(read: Any, path: Path, content: bytes, *says: str) -> str:
    """Writes the content and reads it: a DocumentError of one line that holds the path and every phrase."""
    path.write_bytes(content)
    with pytest.raises(DocumentError) as caught:
        read(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert len(message) < len(str(path)) + 300
    for phrase in says:
        assert phrase in message, message
    return message
