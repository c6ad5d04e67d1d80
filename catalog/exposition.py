"""What a part without a web server of its own tells: /healthz and /metrics, from a thread."""

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from catalog.errors import SluiceError


def serve(
    host: str, port: int, setting: str, registry: CollectorRegistry, health: Callable[[], tuple[bool, dict[str, Any]]]
) -> ThreadingHTTPServer:
    """Answer in a thread of its own. `health`: whether all is well (200, else 503), and what /healthz tells.

    `setting` is the one that chose the port. Raises SluiceError where nothing can listen there.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/metrics":
                self._answer(200, CONTENT_TYPE_LATEST, generate_latest(registry))
            elif self.path == "/healthz":
                well, told = health()
                self._answer(200 if well else 503, "application/json", json.dumps(told).encode())
            else:
                self._answer(404, "text/plain", b"/healthz and /metrics are here\n")

        def _answer(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    try:
        server = ThreadingHTTPServer((host, port), Handler)
    except OSError as failure:
        raise SluiceError(
            f"Metrics can't be told at {host}:{port}: {failure.strerror}. Choose another port by {setting}."
        ) from failure
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    return server
