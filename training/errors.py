"""Every error this package raises.

ModelStoreError            (model_store) a user's mistake; one sentence that ends with the mend
├── DocumentError          (model_store) a recipe says something impossible: file, key, value, mend
├── DataError              the labelled images cannot be read or are too few
└── ExportError            the exported graph does not do what the trained network does
"""

from __future__ import annotations

from model_store.errors import ModelStoreError


class DataError(ModelStoreError):
    """The data set cannot be used as it is."""


class ExportError(ModelStoreError):
    """The exported graph and the trained network disagree."""
