"""Talks to a gateway through KServe's own client, in an environment of its own (make kserve). Prints what came back as JSON.

python ask.py URL KEY IMAGE...
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig  # type: ignore[import-not-found]
from kserve.protocol.infer_type import RequestedOutput  # type: ignore[import-not-found]


async def ask(url: str, key: str, images: list[bytes]) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {key}"}
    async with InferenceRESTClient(RESTConfig(protocol="v2")) as client:
        told: dict[str, Any] = {
            "live": await client.is_server_live(url),
            "ready": await client.is_server_ready(url),
            "model": await client.is_model_ready(url, "default", headers),
            "no model": await client.is_model_ready(url, "nowhere", headers),
        }
        for binary in (True, False):
            tensor = InferInput("image", [len(images)], "BYTES")
            tensor.set_data_from_numpy(np.array(images, dtype=np.object_), binary_data=True)
            outputs = [
                RequestedOutput(name, {"binary_data": binary}) for name in ("id", "route", "labels", "probability")
            ]
            request = InferRequest("default", [tensor], request_id="mine", request_outputs=outputs)
            reply = await client.infer(url, request, model_name="default", headers=dict(headers))
            said = {output.name: output.as_numpy().tolist() for output in reply.outputs}
            told[f"binary {binary}"] = {
                "request": reply.id,
                **{name: [_text(each) for each in said[name]] for name in said},
            }
        try:
            await client.infer(url, {"inputs": []}, model_name="default", headers=headers)
        except Exception as error:
            told["refused"] = str(error)
    return told


def _text(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


if __name__ == "__main__":
    asked = ask(sys.argv[1], sys.argv[2], [Path(name).read_bytes() for name in sys.argv[3:]])
    sys.stdout.write(json.dumps(asyncio.run(asked)))
