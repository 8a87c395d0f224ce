"""From a Kafka topic to predictions.

    pip install aiokafka
    python examples/kafka_consumer.py --servers kafka:9092 --topic images --group secondreader --dead images.refused

A message is an image, or JSON `{"uri": "scans:2026/a.png", "sha256": "...", "metadata": {...}}` that names one in a store
of the service's setting `references`; its headers are metadata (`case`, `view`, `site`, ...). An offset is committed when
the image is on the service's disk. So after a crash some messages come again; their key, of topic, partition and offset,
makes the service read them once. A message that the service refuses goes to the topic of `--dead` with the reason in its
headers, and the rest goes on; while the service is busy or away, everything waits, and Kafka keeps it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from triage.client import Client, ServiceError

_PAUSE_S = 5.0
_BUSY = frozenset({401, 429, 500, 502, 503, 504})
"""Not the message's fault: the key may be renewed, the service may be back."""


@dataclass(frozen=True)
class Message:
    """What is used of a Kafka record."""

    topic: str
    partition: int
    offset: int
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()


class Refused(Exception):
    """For good. One sentence."""


def handle(client: Client, message: Message) -> dict[str, Any]:
    """The prediction. Raises Refused, and ServiceError or Unreachable when it is to be tried again."""
    about: dict[str, Any] = {name: value.decode("utf-8", "replace") for name, value in message.headers}
    key = f"kafka-{message.topic}-{message.partition}-{message.offset}"
    if not message.value:
        raise Refused("the message is empty")
    try:
        if message.value[:1] != b"{":
            return client.predict(message.value, key=key, **_allowed(about))
        named = json.loads(message.value)
        return client.refer(named["uri"], named["sha256"], key=key, **_allowed(about | named.get("metadata", {})))
    except (ValueError, KeyError, TypeError) as error:
        raise Refused(f"the message is neither an image nor a reference ({error})") from None
    except ServiceError as error:
        if error.status in _BUSY:
            raise
        raise Refused(str(error)) from None


def _allowed(about: dict[str, Any]) -> dict[str, Any]:
    """Metadata that is no argument of the client's, and no header that tools add for themselves."""
    return {
        name: str(value) for name, value in about.items()
        if name not in ("image", "uri", "sha256", "key", "wait_s", "backfill") and name.isidentifier()
    }  # fmt: skip


async def consume(consumer: Any, producer: Any, client: Client, dead: str) -> None:
    """One message after the other, in the order of its partition."""
    from aiokafka import TopicPartition

    async for record in consumer:
        message = Message(record.topic, record.partition, record.offset, record.value, record.headers)
        while True:
            try:
                made = await asyncio.to_thread(handle, client, message)
                print(
                    json.dumps({"offset": message.offset, "prediction": made["id"], "route": made["route"]}), flush=True
                )
            except Refused as error:
                headers = [*message.headers, ("refused", str(error).encode())]
                await producer.send_and_wait(dead, message.value, headers=headers)
                print(json.dumps({"offset": message.offset, "refused": str(error)}), flush=True)
            except (httpx.TransportError, ServiceError) as error:
                print(json.dumps({"offset": message.offset, "waits": str(error)}), flush=True)
                await asyncio.sleep(_PAUSE_S)
                continue
            break
        await consumer.commit({TopicPartition(record.topic, record.partition): record.offset + 1})


async def run(asked: argparse.Namespace) -> None:
    from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

    consumer = AIOKafkaConsumer(
        asked.topic, bootstrap_servers=asked.servers, group_id=asked.group, enable_auto_commit=False,
        auto_offset_reset="earliest", max_poll_interval_ms=30 * 60 * 1000,
    )  # fmt: skip
    producer = AIOKafkaProducer(bootstrap_servers=asked.servers, acks="all", enable_idempotence=True)
    await consumer.start()
    await producer.start()
    try:
        with Client(asked.url, os.environ.get("TRIAGE_API_KEY")) as client:
            await consume(consumer, producer, client, asked.dead)
    finally:
        await consumer.stop()
        await producer.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description="Sends the images of a Kafka topic.")
    parser.add_argument("--servers", default="127.0.0.1:9092")
    parser.add_argument("--topic", required=True)
    parser.add_argument("--dead", required=True, help="topic for what is refused")
    parser.add_argument("--group", default="secondreader")
    parser.add_argument("--url", default=os.environ.get("SECONDREADER_URL", "http://127.0.0.1:8080"))
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
