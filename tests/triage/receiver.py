"""A receiver of webhooks as a process: verifies, writes down what came, and misbehaves as its script says.

python -m tests.triage.receiver PORT FOLDER     reads FOLDER/script.json for each request, appends to FOLDER/came.jsonl
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from embedded.ports import free_ports
from embedded.process import Process
from triage import webhook_signature as signature

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class Receiver:
    """The test's side: starts, scripts and reads it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.port = free_ports(1)[0]
        self.url = f"http://127.0.0.1:{self.port}/hook"
        self.script()
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "tests.triage.receiver", str(self.port), str(self.folder)]
        self.process = Process("receiver", command, self.folder / "receiver.log")
        self.process.wait_until(lambda: "listens" in (self.folder / "receiver.log").read_text(), 20)

    def script(self, **script: Any) -> None:
        """status: of every reply. poison: {prediction: status}. header: sent along. hang_s: waits first. die_after: so many."""
        new = self.folder / "script.new"
        new.write_text(json.dumps({"status": 200, **script}))
        new.replace(self.folder / "script.json")

    @property
    def came(self) -> list[dict[str, Any]]:
        path = self.folder / "came.jsonl"
        whole = path.read_text().rpartition("\n")[0] if path.exists() else ""  # what follows is being written
        return [json.loads(line) for line in whole.splitlines()]

    def taken(self) -> list[str]:
        """Predictions in the order in which they were first taken."""
        return list(dict.fromkeys(each["body"]["prediction"] for each in self.came if 200 <= each["status"] < 300))


@contextmanager
def receiving(folder: Path) -> Iterator[Receiver]:
    receiver = Receiver(folder)
    try:
        yield receiver
    finally:
        receiver.process.kill()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    folder: Path
    lock = threading.Lock()
    count = 0

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        message = signature.check([signature.secret_bytes(SECRET)], dict(self.headers.items()), body, time.time())
        script = json.loads((self.folder / "script.json").read_text())
        parsed = json.loads(body)
        status = script.get("poison", {}).get(parsed["prediction"], script["status"])
        time.sleep(script.get("hang_s", 0))
        with self.lock:
            _Handler.count += 1
            line = {"id": message, "body": parsed, "status": status, "path": self.path, "at": time.time(),
                    "signatures": len(self.headers["webhook-signature"].split())}  # fmt: skip
            with (self.folder / "came.jsonl").open("a") as stream:
                stream.write(json.dumps(line) + "\n")
            if script.get("die_after") == _Handler.count:
                os._exit(9)
        self.send_response(status)
        for name, value in script.get("header", {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST

    def log_message(self, format: str, *args: Any) -> None:
        pass


def main(port: int, folder: Path) -> None:
    _Handler.folder = folder
    server = ThreadingHTTPServer(("127.0.0.1", port), _Handler)
    sys.stderr.write("listens\n")
    sys.stderr.flush()
    server.serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
