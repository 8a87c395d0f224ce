"""Every error this package raises, and what each means to a caller.

ModelStoreError                 a user's mistake or a broken file; the message is one sentence that ends with the mend
├── ImageError                  one image is refused; its neighbours are not
│   ├── EmptyImage       400    no bytes at all
│   ├── ImageTooLarge    413    too many bytes, or more pixels than the ceiling
│   ├── FormatNotAllowed 415    not an image, or a format that this model does not take
│   └── UnusableImage    422    the right format, but the pixels cannot be read
├── DocumentError               a manifest, rules, recipe or settings file says something impossible
├── BundleError                 a bundle's files do not fit together (digest, golden samples, unsafe graph)
├── ProviderUnavailable         the execution provider asked for did not start
└── ReplyError                  bytes that should be a prediction are not one
"""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError


class ModelStoreError(Exception):
    """A mistake that its maker can mend; the message says how."""


class ImageError(ModelStoreError):
    """One image is refused. `status` is the HTTP status, `code` a stable word for logs and metrics."""

    status = 422
    code = "image_refused"


class EmptyImage(ImageError):
    status = 400
    code = "empty"


class ImageTooLarge(ImageError):
    status = 413
    code = "too_large"


class FormatNotAllowed(ImageError):
    status = 415
    code = "format"


class UnusableImage(ImageError):
    status = 422
    code = "unusable"


class DocumentError(ModelStoreError):
    """A document names something that cannot be: `file: key = value: what is wrong; mend`."""


class BundleError(ModelStoreError):
    """The files of a bundle do not fit together."""


class ProviderUnavailable(ModelStoreError):
    """The execution provider that was asked for is not the one that would run."""


class ReplyError(ModelStoreError):
    """The bytes are not a prediction of this format."""


def document_error(source: Path | str, error: ValidationError) -> DocumentError:
    """The first mistake pydantic found, as one line: file, key, value and the mend."""
    first = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in first["loc"]) or "(whole document)"
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "missing":
        return DocumentError(f"{source}: {key} is missing; add it")
    if first["type"] == "extra_forbidden":
        return DocumentError(f"{source}: {key} is not a known key; remove it or mend its spelling")
    said = message[:1].lower() + message[1:] if message[1:2].islower() else message
    given = first.get("input")
    across_keys = first["type"] == "value_error" and isinstance(given, dict | list)
    if not first["loc"] or across_keys:  # the message names what it is about; the whole document would drown it
        return DocumentError(f"{source}: {key}: {said}")
    value = repr(given)
    shown = value if len(value) <= 80 else value[:77] + "..."
    return DocumentError(f"{source}: {key} = {shown}: {said}")
