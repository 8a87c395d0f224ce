"""An OpenID provider for tests: a real HTTP server with real keys, which can be told to rotate them, lie, or be away."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

AUDIENCE = "secondreader"
_FORMS: dict[str, Any] = {"RSA": RSAAlgorithm, "EC": ECAlgorithm, "OKP": OKPAlgorithm}


class Provider:
    """`asked` counts what was asked of it; `status` other than 200 is what it answers everything with."""

    def __init__(self) -> None:
        self.keys: dict[str, Any] = {}
        self.said: dict[str, dict[str, Any]] = {}
        self.asked = 0
        self.status = 200
        self.calls_itself: str | None = None
        self.jwks_uri: str | None = None
        self.url = ""

    def add(self, kid: str, kind: str = "RSA", **said: Any) -> None:
        """A new key, told as a JWK with what `said` adds."""
        if kind == "RSA":
            self.keys[kid] = rsa.generate_private_key(65537, 2048)
        elif kind == "EC":
            self.keys[kid] = ec.generate_private_key(ec.SECP256R1())
        else:
            self.keys[kid] = ed25519.Ed25519PrivateKey.generate()
        self.said[kid] = {
            **json.loads(_FORMS[kind].to_jwk(self.keys[kid].public_key())),
            "kid": kid,
            "use": "sig",
            **said,
        }

    def drop(self, kid: str) -> None:
        """No longer told; the private key stays, so that a test can go on signing with it."""
        del self.said[kid]

    def token(
        self, kid: str = "one", algorithm: str = "RS256", header: dict[str, Any] | None = None, **claims: Any
    ) -> str:
        now = int(time.time())
        said = {"iss": self.url, "aud": AUDIENCE, "sub": "ada", "iat": now, "exp": now + 300, **claims}
        kept = {name: value for name, value in said.items() if value is not None}
        return jwt.encode(kept, self.keys[kid], algorithm, {"kid": kid, **(header or {})})

    def answer(self, path: str) -> dict[str, Any] | None:
        if path == "/.well-known/openid-configuration":
            return {"issuer": self.calls_itself or self.url, "jwks_uri": self.jwks_uri or f"{self.url}/jwks"}
        return {"keys": list(self.said.values())} if path == "/jwks" else None


@contextmanager
def provider() -> Iterator[Provider]:
    """A provider on a free port, with one RSA key `one`; ends with the block."""
    it = Provider()
    it.add("one")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            it.asked += 1
            found = it.answer(self.path)
            self.send_response(it.status if found is not None else 404)
            self.end_headers()
            self.wfile.write(json.dumps(found).encode())

        def log_message(self, format: str, *args: Any) -> None:
            return None

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    it.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield it
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
