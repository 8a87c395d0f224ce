"""Requests that are sent again where that can do no harm, for as long as the caller has patience."""

from __future__ import annotations

import random
import time
from typing import Any

import httpx

IDLE_S = 5.0
"""A connection idle for longer is not used again; the service keeps it for much longer, and so never closes it first."""
_FIRST_S, _LONGEST_S = 0.2, 15.0


class ServiceError(Exception):
    """The service said no. `status` is the HTTP status; the message is its detail."""

    def __init__(self, status: int, detail: str, retry_after_s: float | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.retry_after_s = retry_after_s


class LeaseLost(ServiceError):
    """409: the lease expired, or the item is answered. Lease the next one."""


class Unreachable(httpx.TransportError):
    """Nothing answered, or the connection broke, also when tried again. One sentence."""


class Transport:
    """One pool of connections to one gateway, or to what stands before several. Safe to share between threads."""

    def __init__(self, url: str, key: str | None, timeout_s: float, connections: int, patience_s: float) -> None:
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        limits = httpx.Limits(
            max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=IDLE_S
        )
        self.http = httpx.Client(base_url=url, headers=headers, timeout=timeout_s, limits=limits, trust_env=False)
        self.url = url
        self.patience_s = patience_s

    def send(self, method: str, path: str, *, repeat: bool, **options: Any) -> httpx.Response:
        """`repeat`: a second time changes nothing, so that also a broken connection is tried again. Raises ServiceError,
        Unreachable."""
        patience = Patience(self.patience_s)
        while True:
            try:
                reply = self.http.request(method, path, **options)
            except httpx.TransportError as error:
                harmless = repeat or isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
                if not (harmless and patience.wait()):
                    raise unreachable(self.url, error) from error
                continue
            if reply.is_success:
                return reply
            refused = refusal(reply)
            if not (refused.status in (429, 503) and (repeat or refused.status == 429)):
                raise refused
            if not patience.wait(refused.retry_after_s or 0.0):
                raise refused


class Patience:
    """Waits longer each time, a little unevenly, and not beyond its end."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.renew()

    def renew(self) -> None:
        """Something went well: it begins anew."""
        self._until = time.monotonic() + self._seconds
        self._next = _FIRST_S

    def wait(self, least_s: float = 0.0) -> bool:
        """False, at once, when the wait would last beyond the end."""
        pause = max(least_s, self._next * random.uniform(0.5, 1.0))
        if time.monotonic() + pause > self._until:
            return False
        time.sleep(pause)
        self._next = min(2 * self._next, _LONGEST_S)
        return True


def refusal(reply: httpx.Response) -> ServiceError:
    try:
        detail = str(reply.json()["detail"])
    except (ValueError, KeyError, TypeError):
        detail = reply.text[:200]
    said = reply.headers.get("retry-after", "")
    kind = LeaseLost if reply.status_code == 409 else ServiceError
    return kind(reply.status_code, detail, float(said) if said.isdigit() else None)


def unreachable(url: str, error: httpx.TransportError) -> Unreachable:
    match error:
        case httpx.ConnectError():
            said = f"nothing answers at {url}; start it with 'secondreader up', or name another --url"
        case httpx.TimeoutException():
            said = f"{url} did not answer in time; see how it fares with {url}/readyz, and try again"
        case _:
            said = f"the connection to {url} broke ({type(error).__name__}); try again"
    return Unreachable(said)
