"""Python client for callers and for queue consumers.

with Client("http://127.0.0.1:8080") as client:
    prediction = client.predict(Path("leaf.jpg").read_bytes())
    for item in client.lease("default.review", reviewer="ada"):
        client.answer(item, present=[item.suggestions[0]["id"]])
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx

IDLE_S = 5.0
"""A connection idle for longer is not used again; the service keeps it for much longer, and so never closes it first."""


class ServiceError(Exception):
    """The service said no. `status` is the HTTP status; the message is its detail."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


class LeaseLost(ServiceError):
    """409: the lease expired, or the item is answered. Lease the next one."""


@dataclass(frozen=True)
class LeasedItem:
    """An item in this reviewer's hands until `expires_at`."""

    token: str
    item: str
    expires_at: str
    reasons: tuple[str, ...]
    suggestions: tuple[dict[str, Any], ...]
    labels: tuple[dict[str, Any], ...]
    """Every label that can be answered, `{id, name, group, ...}`."""
    groups: tuple[dict[str, Any], ...] = ()
    """Which of them exclude one another, `{id, kind, ...}`."""
    blind: bool = False
    """Nothing is told of what the model said, and the answer says something of every label."""
    prediction: str | None = None
    """None in a blind item."""


class Client:
    """Speaks to one gateway. Safe to share between threads."""

    def __init__(self, url: str, key: str | None = None, timeout_s: float = 30.0, connections: int = 32) -> None:
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        limits = httpx.Limits(
            max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=IDLE_S
        )
        self._http = httpx.Client(base_url=url, headers=headers, timeout=timeout_s, limits=limits, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def predict(
        self, image: bytes, *, key: str | None = None, wait_s: float | None = None, **about: str
    ) -> dict[str, Any]:
        """Reads one image; `about` is project, site, case, view, role, person, and metadata such as `scanner="x1"`.

        With `key` the same request may be sent again after a broken connection; `wait_s` is how long the model may take before a
        person is asked.
        """
        headers = {} if key is None else {"Idempotency-Key": key}
        if wait_s is not None:
            headers["Prefer"] = f"wait={wait_s:g}"
        if "person" in about:  # a name is no matter for a URL, which proxies log
            files = {"image": image, "metadata": json.dumps(about).encode()}
            return self._call("POST", "/v1/predictions", files=files, headers=headers)
        return self._call("POST", "/v1/predictions", params=about, content=image, headers=headers)

    def refer(self, uri: str, sha256: str, *, key: str | None = None, **about: str) -> dict[str, Any]:
        """Reads one image from a store that the service was told to read, like `scans:2026/a.png`."""
        headers = {} if key is None else {"Idempotency-Key": key}
        body = {"uri": uri, "sha256": sha256, "metadata": about}
        return self._call("POST", "/v1/predictions", json=body, headers=headers)

    def prediction(self, prediction_id: str, wait_s: float = 0) -> dict[str, Any]:
        """The prediction as it stands, or as soon as it is final within `wait_s` seconds."""
        return self._call("GET", f"/v1/predictions/{prediction_id}", params={"wait": wait_s}, timeout=wait_s + 30)

    def image(self, prediction_id: str) -> bytes:
        """The image as a safe PNG."""
        return self._send("GET", f"/v1/predictions/{prediction_id}/image").content

    def evidence(self, prediction_id: str, label: str | None = None) -> bytes:
        """PNG of where a label's probability comes from; the model is asked again for it, which takes seconds."""
        params = {} if label is None else {"label": label}
        return self._send("GET", f"/v1/predictions/{prediction_id}/evidence", params=params, timeout=120).content

    def tell_truth(self, prediction_id: str, answers: dict[str, str], source: str = "") -> dict[str, Any]:
        """What turned out to be right: of labels `present`, `absent`, `unsure` or `not_assessed`. Safe to repeat."""
        body = {"answers": answers, "source": source}
        return self._call("POST", f"/v1/predictions/{prediction_id}/truth", json=body)

    def leased_image(self, item: LeasedItem) -> bytes:
        """The image of a leased item as a safe PNG. Raises LeaseLost when somebody else has it."""
        return self._send("GET", f"/v1/leases/{item.token}/image").content

    def queue(self, queue: str) -> dict[str, Any]:
        """Depth, leased, age of the oldest item, labels."""
        return self._call("GET", f"/v1/queues/{queue}")

    def lease(
        self, queue: str, reviewer: str, count: int = 1, seconds: int | None = None, wait_s: float = 0
    ) -> list[LeasedItem]:
        """Up to `count` items, waiting up to `wait_s` seconds (at most 30) for the first."""
        body = {"reviewer": reviewer, "count": count, "seconds": seconds, "wait": wait_s}
        reply = self._call("POST", f"/v1/queues/{queue}/leases", json=body, timeout=wait_s + 30)
        return [
            LeasedItem(
                each["token"], each["item"], each["expires_at"], tuple(each["reasons"]), tuple(each["suggestions"]),
                tuple(reply["labels"]), tuple(reply["groups"]), each["blind"], each["prediction"],
            )
            for each in reply["items"]
        ]  # fmt: skip

    def extend(self, item: LeasedItem) -> str:
        """Keeps the lease; the new expiry."""
        return str(self._call("PATCH", f"/v1/leases/{item.token}")["expires_at"])

    def shown(self, item: LeasedItem) -> None:
        """Starts the clock: the reviewer sees the image."""
        self._call("POST", f"/v1/leases/{item.token}/shown")

    def give_back(self, item: LeasedItem) -> None:
        self._send("DELETE", f"/v1/leases/{item.token}")

    def skip(self, item: LeasedItem) -> None:
        self._send("POST", f"/v1/leases/{item.token}/skip")

    def answer(
        self,
        item: LeasedItem,
        present: Sequence[str] = (),
        absent: Sequence[str] = (),
        outcome: str = "labels",
        note: str = "",
    ) -> dict[str, Any]:
        """Answers an item; one that is blind with something of every label, where a label that is present answers for those
        that it excludes. Safe to repeat. Raises LeaseLost when somebody else has it."""
        answers = {**dict.fromkeys(absent, "absent"), **dict.fromkeys(present, "present")}
        return self._call(
            "POST", f"/v1/leases/{item.token}/verdict", json={"outcome": outcome, "answers": answers, "note": note}
        )

    def outcomes(self, queue: str = "default.review", after: str = "0") -> Iterator[tuple[str, dict[str, Any]]]:
        """Finals and corrections (`type` says which) as they come, each with the id to resume after. At least once each:
        deduplicate by prediction and revision."""
        with self._http.stream("GET", "/v1/outcomes", params={"queue": queue, "after": after}, timeout=None) as reply:
            if reply.status_code != 200:
                reply.read()
                raise _error(reply)
            event_id = after
            for line in reply.iter_lines():
                if line.startswith("id: "):
                    event_id = line[4:]
                elif line.startswith("data: "):
                    yield event_id, json.loads(line[6:])

    def _call(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        body: dict[str, Any] = self._send(method, path, **options).json()
        return body

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        reply = self._http.request(method, path, **options)
        if reply.is_success:
            return reply
        raise _error(reply)


def _error(reply: httpx.Response) -> ServiceError:
    try:
        detail = str(reply.json()["detail"])
    except (ValueError, KeyError, TypeError):
        detail = reply.text[:200]
    return (LeaseLost if reply.status_code == 409 else ServiceError)(reply.status_code, detail)
