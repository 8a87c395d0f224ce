"""Control documents at a running service, for commands: read and replaced on the version that was read."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

import click
import httpx


class Refused(click.ClickException):
    """The service said no, in its own words. `status` is the HTTP status."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(said)
        self.status = status


class Service:
    """Raises Refused, or ClickException when nothing answers."""

    def __init__(self, url: str, key: str | None) -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        try:
            self._http = httpx.Client(base_url=url, headers=headers, timeout=60, trust_env=False)
        except httpx.InvalidURL:
            raise click.UsageError(f"--url {url} is no URL; write it like http://127.0.0.1:8080") from None
        self._url = url

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def read(self, path: str) -> tuple[dict[str, Any] | None, str | None]:
        """A document and its etag; two Nones without one."""
        reply = self._send("GET", path)
        if reply.status_code == 404:
            return None, None
        return self._said(reply), reply.headers["etag"]

    def get(self, path: str, **params: Any) -> dict[str, Any]:
        """What the service tells."""
        return self._said(self._send("GET", path, params=params))

    def put(self, path: str, document: dict[str, Any], etag: str | None) -> str:
        """Puts a document in the place of the one that was read (None: of nothing); its etag."""
        condition = {"If-None-Match": "*"} if etag is None else {"If-Match": etag}
        reply = self._send("PUT", path, json=document, headers=condition)
        self._said(reply)
        return str(reply.headers["etag"])

    def _send(self, method: str, path: str, **request: Any) -> httpx.Response:
        try:
            return self._http.request(method, path, **request)
        except httpx.TransportError:
            raise click.ClickException(
                f"nothing answers at {self._url}; start it with 'secondreader up', or name another --url"
            ) from None

    def _said(self, reply: httpx.Response) -> dict[str, Any]:
        try:
            found: dict[str, Any] = reply.json()
        except ValueError:
            raise click.ClickException(
                f"{self._url} answers {reply.status_code} and no JSON; is it the service's URL?"
            ) from None
        if not reply.is_success:
            raise Refused(reply.status_code, str(found.get("detail", reply.status_code)))
        return found
