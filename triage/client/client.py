"""One object for everything that a program asks of the service."""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import httpx

from triage.client.items import Hold, LeasedItem
from triage.client.listening import listen
from triage.client.transport import ServiceError, Transport


class Client:
    """Speaks to one gateway. Safe to share between threads."""

    def __init__(
        self, url: str, key: str | None = None, timeout_s: float = 30.0, connections: int = 32, patience_s: float = 10.0
    ) -> None:
        """`patience_s`: for how long what may be repeated is repeated while the service is busy, away or cut off."""
        self._transport = Transport(url, key, timeout_s, connections, patience_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._transport.http.close()

    def predict(
        self, image: bytes, *, key: str | None = None, wait_s: float | None = None, backfill: bool = False, **about: str
    ) -> dict[str, Any]:
        """Reads one image; `about` is project, site, case, view, role, person, and metadata such as `scanner="x1"`.

        Sent again after a broken connection it is read once: by `key`, or one that is made up for the call. A key of the
        caller's own, kept, makes it so also after a restart. `wait_s` is how long the model may take before a person is asked;
        `backfill` says that the image is of before, and can wait.
        """
        headers = _headers(key, wait_s, backfill)
        if "person" in about:  # a name is no matter for a URL, which proxies log
            files = {"image": image, "metadata": json.dumps(about).encode()}
            return self._call("POST", "/v1/predictions", files=files, headers=headers)
        return self._call("POST", "/v1/predictions", params=about, content=image, headers=headers)

    def refer(
        self, uri: str, sha256: str, *, key: str | None = None, wait_s: float | None = None, backfill: bool = False,
        **about: str,
    ) -> dict[str, Any]:  # fmt: skip
        """Reads one image from a store that the service was told to read, like `scans:2026/a.png`."""
        body = {"uri": uri, "sha256": sha256, "metadata": about}
        return self._call("POST", "/v1/predictions", json=body, headers=_headers(key, wait_s, backfill))

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

    def me(self) -> dict[str, Any]:
        """Whose key this is, and what it may do."""
        return self._call("GET", "/v1/me")

    def queue(self, queue: str) -> dict[str, Any]:
        """Depth, leased, age of the oldest item, labels."""
        return self._call("GET", f"/v1/queues/{queue}")

    def queues(self) -> list[dict[str, Any]]:
        """Every queue that this key may see."""
        found: list[dict[str, Any]] = self._send("GET", "/v1/queues").json()
        return found

    def metrics(self) -> str:
        """The gateway's metrics, in Prometheus' own words."""
        return self._send("GET", "/metrics").text

    def lease(
        self, queue: str, reviewer: str | None = None, count: int = 1, seconds: int | None = None, wait_s: float = 0,
        case: bool = False,
    ) -> list[LeasedItem]:  # fmt: skip
        """Up to `count` items, waiting up to `wait_s` seconds (at most 30) for the first; with `case` the best one and what
        waits of its case. `reviewer` is for keys that answer for people whom they name."""
        body = {"reviewer": reviewer, "count": count, "seconds": seconds, "wait": wait_s, "case": case}
        path = f"/v1/queues/{queue}/leases"
        reply = self._call("POST", path, repeat=False, json=body, timeout=wait_s + 30)
        return [
            LeasedItem(
                each["token"], each["item"], each["expires_at"], tuple(each["reasons"]), tuple(each["suggestions"]),
                tuple(reply["labels"]), tuple(reply["groups"]), each["blind"], each["prediction"], each["site"],
                each["case"], tuple(each.get("earlier") or ()),
            )
            for each in reply["items"]
        ]  # fmt: skip

    @contextmanager
    def holding(self, item: LeasedItem, every_s: float = 30.0) -> Iterator[Hold]:
        """Keeps the lease while the block lasts; gives the item back when the block fails."""
        hold = Hold(lambda: self.extend(item), every_s)
        hold.start()
        try:
            yield hold
        except BaseException:
            with contextlib.suppress(ServiceError, httpx.TransportError):  # then it comes back when the lease ends
                self.give_back(item)
            raise
        finally:
            hold.end()

    def extend(self, item: LeasedItem) -> str:
        """Keeps the lease; the new expiry."""
        return str(self._call("PATCH", f"/v1/leases/{item.token}")["expires_at"])

    def shown(self, item: LeasedItem) -> None:
        """Starts the clock: the reviewer sees the image."""
        self._call("POST", f"/v1/leases/{item.token}/shown")

    def give_back(self, item: LeasedItem) -> None:
        """To its old place, for anybody."""
        self._send("DELETE", f"/v1/leases/{item.token}", repeat=False)

    def skip(self, item: LeasedItem) -> None:
        """To somebody else; this reviewer is not asked again."""
        self._send("POST", f"/v1/leases/{item.token}/skip", repeat=False)

    def escalate(self, item: LeasedItem, note: str = "") -> dict[str, Any]:
        """To the adjudicators of the queue."""
        return self._call("POST", f"/v1/leases/{item.token}/escalate", json={"note": note})

    def answer(
        self, item: LeasedItem, present: Sequence[str] = (), absent: Sequence[str] = (), outcome: str = "labels",
        note: str = "", *, new_label: str | None = None, unsure: Sequence[str] = (), not_assessed: Sequence[str] = (),
    ) -> dict[str, Any]:  # fmt: skip
        """Answers an item; one that is blind with something of every label, where a label that is present answers for those
        that it excludes. Safe to repeat. Raises LeaseLost when somebody else has it."""
        said = _verdict(present, absent, unsure, not_assessed, outcome, new_label, note)
        return self._call("POST", f"/v1/leases/{item.token}/verdict", json=said)

    def amend(
        self, verdict: Mapping[str, Any], present: Sequence[str] = (), absent: Sequence[str] = (),
        outcome: str = "labels", note: str = "", *, new_label: str | None = None, unsure: Sequence[str] = (),
        not_assessed: Sequence[str] = (), reviewer: str | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        """Another answer in the place of one that was given: `verdict` is what `answer` returned. Safe to repeat."""
        said = _verdict(present, absent, unsure, not_assessed, outcome, new_label, note)
        said |= {"revision": verdict["revision"], "reviewer": reviewer}
        return self._call("POST", f"/v1/verdicts/{verdict['id']}/amend", json=said)

    def outcomes(
        self, queue: str | None = None, after: str = "0", *, project: str | None = None, sites: Sequence[str] = (),
        types: Sequence[str] = (), automatic: bool = False, patience_s: float = 60.0,
    ) -> Iterator[tuple[str, dict[str, Any]]]:  # fmt: skip
        """Finals, corrections, recalls as they come, each once and with the id to go on after, which a program keeps. Of a
        queue, or of a project: the key's own unless named. `after`: `0` for the oldest kept, `now` for what comes.

        Connects again by itself. Raises Unreachable, or ServiceError, when nothing was heard for `patience_s`. An outcome of
        type `gap` says that some before it are no longer kept: ask for the predictions that are waited for.
        """
        params: dict[str, Any] = {"site": list(sites), "type": list(types), "automatic": automatic}
        params |= {name: value for name, value in (("queue", queue), ("project", project)) if value is not None}
        return listen(self._transport, params, after, patience_s)

    def _call(self, method: str, path: str, *, repeat: bool = True, **options: Any) -> dict[str, Any]:
        body: dict[str, Any] = self._send(method, path, repeat=repeat, **options).json()
        return body

    def _send(self, method: str, path: str, *, repeat: bool = True, **options: Any) -> httpx.Response:
        return self._transport.send(method, path, repeat=repeat, **options)


def _headers(key: str | None, wait_s: float | None, backfill: bool) -> dict[str, str]:
    headers = {"Idempotency-Key": key or str(uuid.uuid4())}
    if wait_s is not None:
        headers["Prefer"] = f"wait={wait_s:g}"
    if backfill:
        headers["Secondreader-Origin"] = "backfill"
    return headers


def _verdict(
    present: Sequence[str], absent: Sequence[str], unsure: Sequence[str], not_assessed: Sequence[str], outcome: str,
    new_label: str | None, note: str,
) -> dict[str, Any]:  # fmt: skip
    groups = {"not_assessed": not_assessed, "unsure": unsure, "absent": absent, "present": present}
    answers = {label: said for said, labels in groups.items() for label in labels}
    return {"outcome": outcome, "answers": answers, "new_label": new_label, "note": note}
