"""An issuer of tokens on this machine: it serves its discovery document and keys, and signs whatever a test asks."""

import base64
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import get_default_algorithms

AUDIENCE = "images"
ALGORITHMS = {"rsa": "RS256", "pss": "PS256", "ec": "ES256", "ed": "EdDSA"}
"""The keys that an issuer begins with."""

Json = dict[str, Any]
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


def encode(data: bytes | Json | str) -> str:
    """Encode as base64url, without padding."""
    if isinstance(data, dict):
        data = json.dumps(data)
    raw = data.encode() if isinstance(data, str) else data
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@dataclass
class Issuer:
    url: str
    private: dict[str, tuple[str, PrivateKey]] = field(default_factory=dict)
    """Key ID → algorithm and key."""
    answers: dict[str, tuple[int, dict[str, str], bytes]] = field(default_factory=dict)
    """Path → status, headers and body, in place of the true ones."""
    requested: list[str] = field(default_factory=list)

    def add_key(self, key_id: str, algorithm: str) -> None:
        made: PrivateKey
        if algorithm == "ES256":
            made = ec.generate_private_key(ec.SECP256R1())
        elif algorithm == "EdDSA":
            made = ed25519.Ed25519PrivateKey.generate()
        else:
            made = rsa.generate_private_key(65537, 2048)
        self.private[key_id] = algorithm, made

    def public_key(self, key_id: str) -> Json:
        algorithm, key = self.private[key_id]
        described: Json = json.loads(get_default_algorithms()[algorithm].to_jwk(key.public_key()))
        return described | {"kid": key_id, "alg": algorithm, "use": "sig"}

    @property
    def museum_url(self) -> str:
        """A second issuer with the same keys. The guarded service trusts it with the tenant `museum`."""
        return f"{self.url}/museum"

    @property
    def documents(self) -> dict[str, Json]:
        return {
            "/.well-known/openid-configuration": {"issuer": self.url, "jwks_uri": f"{self.url}/keys"},
            "/museum/.well-known/openid-configuration": {"issuer": self.museum_url, "jwks_uri": f"{self.url}/keys"},
            "/keys": {"keys": [self.public_key(each) for each in self.private]},
        }

    def claims(self, **changes: object) -> Json:
        """Return good claims with changes. A None leaves the claim out."""
        now = int(time.time())
        good = {"iss": self.url, "aud": AUDIENCE, "sub": "alice", "iat": now, "exp": now + 300, "roles": ["editor"]}
        return {name: value for name, value in (good | changes).items() if value is not None}

    def sign(self, key_id: str = "rsa", headers: Json | None = None, **changes: object) -> str:
        """Return a token. Headers that are None are left out."""
        algorithm, _ = self.private[key_id]
        given = {"alg": algorithm, "kid": key_id, "typ": "at+jwt"} | (headers or {})
        return self.sign_text(
            key_id,
            json.dumps({name: value for name, value in given.items() if value is not None}),
            json.dumps(self.claims(**changes)),
        )

    def sign_text(self, key_id: str, header: bytes | str, claims: bytes | str) -> str:
        algorithm, key = self.private[key_id]
        signed = f"{encode(header)}.{encode(claims)}"
        return f"{signed}.{encode(get_default_algorithms()[algorithm].sign(signed.encode(), key))}"


@contextmanager
def run_issuer() -> Iterator[Issuer]:
    """Serve an issuer with one key for each algorithm."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            issuer.requested.append(self.path)
            body = json.dumps(issuer.documents.get(self.path, {})).encode()
            status, headers, data = issuer.answers.get(
                self.path, (200 if self.path in issuer.documents else 404, {}, body)
            )
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", f"{len(data)}")
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_arguments: object) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        issuer = Issuer(f"http://127.0.0.1:{server.server_port}")
        for key_id, algorithm in ALGORITHMS.items():
            issuer.add_key(key_id, algorithm)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield issuer
        server.shutdown()
