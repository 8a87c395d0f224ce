"""From S3 event notifications to predictions, by reference: the service reads the image from the bucket, nothing passes
through here.

    aws sqs receive-message --queue-url URL --output json | python examples/s3_events.py
    python examples/s3_events.py notification.json

Takes what S3 sends, as it is or wrapped by SNS or SQS: one JSON document, or one a line. Prints a line of JSON for each
image. Ends with 1, having done the rest, when an image could not be sent now: then the message is not to be deleted from
its queue, so that it comes again. Events come at least once and in no order: the same version of an object is read once,
however often it is announced.

The service's setting `references` has to name the bucket, and both it and this program need to be allowed to read it: a
reference says what the image's SHA-256 is, so that nothing else is read in its place. Credentials come from the
environment.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote_plus

import httpx
import obstore
from obstore.store import from_url

from triage.client import Client, ServiceError


class Created(NamedTuple):
    """An object that is new, or new in this version."""

    bucket: str
    key: str
    version: str

    @property
    def uri(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


def created(document: Any) -> Iterator[Created]:
    """Every object that a notification announces, whatever it is wrapped in; none in S3's own test message."""
    match document:
        case [*items]:
            for each in items:
                yield from created(each)
        case {"Messages": messages}:  # of `aws sqs receive-message`
            yield from created(messages)
        case {"Records": records}:
            for record in records:
                if "s3" in record and record["eventName"].removeprefix("s3:").startswith("ObjectCreated:"):
                    found = record["s3"]["object"]
                    version = found.get("versionId") or found.get("eTag") or found.get("sequencer", "")
                    yield Created(record["s3"]["bucket"]["name"], unquote_plus(found["key"]), version)
                elif "body" in record:  # SQS, as Lambda gives it
                    yield from created(json.loads(record["body"]))
                elif "Sns" in record:
                    yield from created(json.loads(record["Sns"]["Message"]))
        case {"Body": str(body)} | {"Message": str(body)}:  # SQS and SNS, as their own tools give it
            yield from created(json.loads(body))


def sha256_of(found: Created) -> str:
    """Of what lies in the bucket now."""
    digest = hashlib.sha256()
    for chunk in obstore.get(from_url(f"s3://{found.bucket}", client_options={"allow_http": True}), found.key):
        digest.update(chunk)
    return digest.hexdigest()


def send(
    client: Client, found: Created, about: dict[str, Any], digest: Callable[[Created], str] = sha256_of
) -> dict[str, Any]:
    """What became of one object: a prediction, `refused` for good, or `not_sent`, to be tried again."""
    told: dict[str, Any] = {"uri": found.uri}
    try:
        sha256 = digest(found)
        key = hashlib.sha256("\0".join((*found, sha256)).encode()).hexdigest()
        reply = client.refer(found.uri, sha256, key=f"s3-{key}", **about)
    except FileNotFoundError:
        return told | {"refused": "it is gone from the bucket by now"}
    except ServiceError as error:
        return told | {"not_sent" if error.status in (401, 429) or error.status >= 500 else "refused": str(error)}
    except (httpx.TransportError, OSError, obstore.exceptions.BaseError) as error:
        return told | {"not_sent": str(error)}
    return told | {"prediction": reply["id"], "route": reply["route"]}


def documents(text: str) -> Iterator[Any]:
    """One JSON document, or one a line."""
    try:
        yield json.loads(text)
    except ValueError:
        yield from (json.loads(line) for line in text.splitlines() if line.strip())


def main() -> int:
    parser = argparse.ArgumentParser(description="Sends images that S3 events announce, by reference.")
    parser.add_argument("file", nargs="?", type=Path, help="of notifications; left out: standard input")
    parser.add_argument("--url", default=os.environ.get("SECONDREADER_URL", "http://127.0.0.1:8080"))
    parser.add_argument("--project")
    parser.add_argument("--site")
    asked = parser.parse_args()
    text = asked.file.read_text() if asked.file else sys.stdin.read()
    about = {name: value for name in ("project", "site") if (value := getattr(asked, name))}
    failed = False
    with Client(asked.url, os.environ.get("TRIAGE_API_KEY"), patience_s=60) as client:
        for document in documents(text):
            for found in created(document):
                told = send(client, found, about)
                failed = failed or "not_sent" in told
                print(json.dumps(told), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
