"""Every error the service raises on purpose, and the HTTP status each becomes at the shell.

TriageError                       detail says what is wrong and what to do
├── BadRequest            400     a parameter or body that cannot be read
├── NotAuthorized         401     no key, or a wrong one
├── Forbidden             403     known, but may not
├── NotFound              404     no such prediction, queue, site
├── TooSlow               408     the body did not come in time
├── Conflict              409     the lease was lost, the item is answered, the class is so already
├── PreconditionFailed    412     the document changed since it was read (If-Match)
├── TooLarge              413     more bytes than the service takes
├── NotAnImage            415     a body kind that is not taken
├── Invalid               422     a well-formed request that contradicts labels, rules or limits
├── Busy                  429     more work in flight than is allowed; Retry-After
│   └── TooOften                  one key, or one stranger, asks more often than it may
└── Unavailable           503     a part the answer needs is away; Retry-After
    ├── Stopping                  this gateway drains: another one takes it
    ├── JournalBroken             the journal could not be written: nothing is acknowledged any more
    ├── IndexAway                 Redis does not answer
    ├── IssuerAway                the OpenID provider does not answer, and this token is new
    └── ClassifierUnavailable     the model does not answer (never leaves the service: the image goes to a person)
        └── ImageFailed           the model answers, but fails on this image
SettingsError                     a setting names something impossible; ends the process with one line
"""

from __future__ import annotations

import math
from typing import Literal


class TriageError(Exception):
    status = 500
    title = "Internal error"
    retry_after: int | None = None


class BadRequest(TriageError):
    status, title = 400, "The request cannot be read"


class NotAuthorized(TriageError):
    status, title = 401, "A valid API key is needed"


class Forbidden(TriageError):
    status, title = 403, "This is not allowed"


class NotFound(TriageError):
    status, title = 404, "There is no such thing here"


class TooSlow(TriageError):
    status, title = 408, "The request came too slowly"


class Conflict(TriageError):
    status, title = 409, "It is otherwise by now"


class PreconditionFailed(TriageError):
    status, title = 412, "The document has changed"


class TooLarge(TriageError):
    status, title = 413, "The body is too large"


class NotAnImage(TriageError):
    status, title = 415, "This kind of body is not taken"


class Invalid(TriageError):
    status, title = 422, "The request contradicts what is declared"


class Busy(TriageError):
    status, title = 429, "Too many requests in flight"
    retry_after = 1


class TooOften(Busy):
    title = "Too many requests"

    def __init__(self, detail: str, seconds: float, limit: Literal["rate", "failures"]) -> None:
        """`seconds` until the next one may pass."""
        super().__init__(detail)
        self.limit: Literal["rate", "failures"] = limit
        self.retry_after = max(1, math.ceil(seconds))


class Unavailable(TriageError):
    status, title = 503, "A part of the service is away"
    retry_after = 2


class Stopping(Unavailable):
    title = "This gateway stops"
    retry_after = 1


class JournalBroken(Unavailable):
    title = "Nothing can be recorded"


class IndexAway(Unavailable):
    title = "The index is away"


class IssuerAway(Unavailable):
    title = "The OpenID provider is away"


class ClassifierUnavailable(Unavailable):
    title = "The model does not answer"


class ImageFailed(ClassifierUnavailable):
    title = "The model fails on this image"


class SettingsError(Exception):
    """One line: which setting, which value, what to do."""
