"""A receiver of webhooks: verifies, acknowledges at once, takes each outcome once, and asks for what never came.

    python examples/webhook_receiver.py --port 9000 --secret records.secret --database outcomes.db

Whoever sends images writes down what it waits for (`INSERT INTO waiting(prediction, since) VALUES (?, ?)`, seconds since
the epoch). Table `outcomes` then holds, for each prediction, the newest answer. Webhooks come at least once and may come
late, or not at all while this machine is off for days: what is still waited for after `--ask-after` seconds is asked for.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx

from triage.client import Client, ServiceError, SignatureError, verify_webhook

_TABLES = """
CREATE TABLE IF NOT EXISTS inbox (id TEXT PRIMARY KEY, body TEXT NOT NULL, taken INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS waiting (prediction TEXT PRIMARY KEY, since REAL NOT NULL);
CREATE TABLE IF NOT EXISTS outcomes
    (prediction TEXT PRIMARY KEY, revision INTEGER NOT NULL, type TEXT NOT NULL, labels TEXT NOT NULL);
"""
_LARGEST = 1 << 20


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """One transaction."""
    connection = sqlite3.connect(path, timeout=30)
    try:
        with connection:
            yield connection
    finally:
        connection.close()


class Receiver(BaseHTTPRequestHandler):
    """Only what must be done before the reply: is it genuine, and is it kept?"""

    protocol_version = "HTTP/1.1"
    timeout = 30
    database: Path
    secret: Path
    came: threading.Event

    def do_POST(self) -> None:
        size = int(self.headers.get("Content-Length", "0") or 0)
        if size > _LARGEST:
            self._reply(413)
            return
        body = self.rfile.read(size)
        try:
            message = verify_webhook(self.secret.read_text().split(), dict(self.headers.items()), body)
        except (SignatureError, ValueError):
            self._reply(401)
            return
        with opened(self.database) as connection:  # on the disk before the reply: it is not sent again
            connection.execute("INSERT OR IGNORE INTO inbox(id, body) VALUES (?, ?)", (message.id, body.decode()))
        self._reply(204)
        self.came.set()

    def _reply(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()
        self.close_connection = status != 204

    def log_message(self, format: str, *args: Any) -> None:
        pass


def take(connection: sqlite3.Connection, prediction: str, kind: str, final: dict[str, Any]) -> None:
    """What an outcome is for: here, the newest answer of each prediction. A recall doubts an answer and replaces none."""
    if kind == "recall":
        connection.execute("UPDATE outcomes SET type = 'recall' WHERE prediction = ?", (prediction,))
        return
    connection.execute(
        "INSERT INTO outcomes VALUES (?, ?, ?, ?) ON CONFLICT(prediction) DO UPDATE SET revision = excluded.revision, "
        "type = excluded.type, labels = excluded.labels WHERE excluded.revision > revision",
        (prediction, final["revision"], kind, json.dumps(final["labels"])),
    )
    connection.execute("DELETE FROM waiting WHERE prediction = ?", (prediction,))


def work(database: Path) -> None:
    """Takes what the inbox holds, each message in a transaction with the note that it is taken."""
    with opened(database) as connection:
        for message, body in connection.execute("SELECT id, body FROM inbox WHERE NOT taken ORDER BY rowid").fetchall():
            outcome = json.loads(body)
            if outcome.get("final"):
                take(connection, outcome["prediction"], outcome["type"], outcome["final"])
            connection.execute("UPDATE inbox SET taken = 1 WHERE id = ?", (message,))


def reconcile(database: Path, client: Client, ask_after_s: float) -> None:
    """Asks for what should have come."""
    with opened(database) as connection:
        late = connection.execute(
            "SELECT prediction FROM waiting WHERE since < ?", (time.time() - ask_after_s,)
        ).fetchall()
    for (prediction,) in late:
        try:
            final = client.prediction(prediction)["final"]
        except ServiceError as error:
            if error.status != 404:
                raise
            final = {"labels": [], "revision": 0}  # nobody knows it any more: it is waited for in vain
        if final is not None:
            with opened(database) as connection:
                take(connection, prediction, "final", final)


def main() -> None:
    parser = argparse.ArgumentParser(description="Receives webhooks.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9000)
    parser.add_argument("--secret", type=Path, required=True, help="file of one or more secrets, whsec_...")
    parser.add_argument("--database", type=Path, default=Path("outcomes.db"))
    parser.add_argument("--url", default=os.environ.get("SECONDREADER_URL", "http://127.0.0.1:8080"))
    parser.add_argument("--ask-after", type=float, default=3600, help="seconds after which an outcome is asked for")
    asked = parser.parse_args()
    with opened(asked.database) as connection:
        connection.executescript(_TABLES)
    Receiver.database, Receiver.secret, Receiver.came = asked.database, asked.secret, threading.Event()
    server = ThreadingHTTPServer((asked.host, asked.port), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"listens on {asked.host}:{server.server_address[1]}", flush=True)
    with Client(asked.url, os.environ.get("TRIAGE_API_KEY")) as client:
        while True:
            Receiver.came.clear()
            work(asked.database)
            try:
                reconcile(asked.database, client, asked.ask_after)
            except (httpx.TransportError, ServiceError) as error:
                print(error, flush=True)
            Receiver.came.wait(min(asked.ask_after, 60))


if __name__ == "__main__":
    main()
