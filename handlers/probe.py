"""Is this server right? One golden image through HTTP, its probabilities compared with the stored ones.

TorchServe's own `/ping` says healthy while a model loads and while its workers crash in a loop; only an answer is
proof.
"""

from __future__ import annotations

import http.client
import json
from typing import Literal

import numpy as np

from handlers.errors import ServerError
from model_store.bundle import Bundle
from model_store.engine import GOLDEN_TOLERANCE
from model_store.errors import ReplyError
from model_store.prediction import Prediction, decode

Readiness = Literal["ready", "loading"]


def path(bundle: Bundle) -> str:
    """The URL path of a bundle's predictions."""
    return f"/predictions/{bundle.manifest.name}/{bundle.manifest.version}"


def ask(host: str, port: int, bundle: Bundle, image: bytes, timeout_s: float) -> Prediction | None:
    """One prediction; None while nothing answers or no worker is there yet.

    Raises ServerError for any other reply.
    """
    connection = http.client.HTTPConnection(host, port, timeout=timeout_s)
    try:
        connection.request("POST", path(bundle), image, {"Content-Type": "application/octet-stream"})
        reply = connection.getresponse()
        status, body = reply.status, reply.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    if status in (404, 503):  # not registered yet; registered and without a worker
        return None
    if status != 200:
        raise ServerError(f"a golden image is answered with {status}: {body[:300]!r}; read the model log")
    try:
        return decode(body)
    except ReplyError as error:
        raise ServerError(str(error)) from None


def check(host: str, port: int, bundle: Bundle, timeout_s: float = 5.0) -> Readiness:
    """`ready` when every golden image comes back right, `loading` while one is not answered.

    Raises ServerError when the server answers with another graph or with other probabilities.
    """
    golden = bundle.golden()
    wanted, tolerance = bundle.manifest.graph_digest, GOLDEN_TOLERANCE[bundle.manifest.precision]
    for index, image in enumerate(golden.encoded):
        prediction = ask(host, port, bundle, image, timeout_s)
        if prediction is None:
            return "loading"
        if prediction.graph != wanted:
            raise ServerError(f"the server runs {prediction.graph} and should run {wanted}; restart it")
        difference = np.abs(prediction.probability - golden.probability[index]).max()
        if not difference <= tolerance:
            raise ServerError(f"golden image {index} is off by {difference:.4f}; deploy the certified model again")
    return "ready"


def ready_workers(port: int, bundle: Bundle, timeout_s: float = 5.0) -> int:
    """How many workers the management API of this machine says are READY; 0 while it does not answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        connection.request("GET", f"/models/{bundle.manifest.name}/{bundle.manifest.version}")
        models = json.loads(connection.getresponse().read())
        return sum(worker["status"] == "READY" for worker in models[0]["workers"])
    except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError):
        return 0
    finally:
        connection.close()
