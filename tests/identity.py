"""An identity provider for tests: a real HTTP server that publishes keys, and tokens that are really signed."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

AUDIENCE = "https://gateway.example"
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
ED_KEY = ed25519.Ed25519PrivateKey.generate()


def published(kid: str, private: Any, algorithm: str, **more: Any) -> dict[str, Any]:
    """A public key as a provider shows it."""
    kind = {"R": jwt.algorithms.RSAAlgorithm, "P": jwt.algorithms.RSAAlgorithm, "E": jwt.algorithms.ECAlgorithm}
    form: Any = jwt.algorithms.OKPAlgorithm if algorithm == "EdDSA" else kind[algorithm[0]]
    return {**form.to_jwk(private.public_key(), as_dict=True), "kid": kid, "alg": algorithm, "use": "sig", **more}


class Provider:
    """An identity provider on loopback. `keys` and `issuer` are what it says; it counts how often it was asked."""

    def __init__(self) -> None:
        provider = self

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.asked.append(self.path)
                body = json.dumps(provider.documents().get(self.path)).encode()
                self.send_response(200 if self.path in provider.documents() and not provider.failing else 500)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.issuer = self.url
        self.keys: list[Any] = [published("one", RSA_KEY, "RS256")]
        self.asked: list[str] = []
        self.failing = False
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def documents(self) -> dict[str, Any]:
        return {
            "/.well-known/openid-configuration": {"issuer": self.issuer, "jwks_uri": f"{self.url}/keys"},
            "/keys": {"keys": self.keys},
        }

    def times(self) -> int:
        return self.asked.count("/keys")

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def token(
    provider: Provider, key: Any = RSA_KEY, algorithm: str = "RS256", kid: str | None = "one", **claims: Any
) -> str:
    """A token that is good, but for what the test says. A claim of None is left out."""
    now = int(time.time())
    good = {
        "iss": provider.issuer, "aud": AUDIENCE, "sub": "service-7", "iat": now, "exp": now + 300,
        "scope": "openid submit:orders read:*",
    }  # fmt: skip
    chosen = {name: value for name, value in {**good, **claims}.items() if value is not None}
    return jwt.encode(chosen, key, algorithm, headers={"kid": kid} if kid else {})
