"""Metrics at a port of their own: for a Prometheus that has no API key, and that callers without number don't keep out."""

import ssl
import urllib.request
from http.server import ThreadingHTTPServer
from typing import Any

from catalog import exposition
from ingest_gateway import metrics
from ingest_gateway.settings import GatewaySettings

PATIENCE = 5.0  # seconds for the gateway to answer itself, before it counts as away
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}


def serve(settings: GatewaySettings) -> ThreadingHTTPServer:
    """Answer in a thread of the first process, whatever the number of workers.

    While the gateway itself does not answer, neither do its metrics: a scrape that fails is what the alert goes by.
    Raises SluiceError where nothing can listen there, or its certificate can't be used.
    """
    scheme = "http" if settings.tls_certificate is None else "https"
    health = f"{scheme}://{_EVERYWHERE.get(settings.host, settings.host)}:{settings.port}/healthz"
    # It asks itself, under an address that its certificate need not name.
    unseen = urllib.request.HTTPSHandler(context=ssl._create_unverified_context())
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}), unseen)

    def answers() -> tuple[bool, dict[str, Any]]:
        try:
            direct.open(health, timeout=PATIENCE).close()
        except OSError as failure:
            return False, {"state": "failing", "reason": f"{health}: {failure}"}
        return True, {"state": "running"}

    return exposition.serve(
        settings.metrics_host, settings.metrics_port, "SLUICE_GATEWAY_METRICS_PORT", metrics.registry(), answers,
        metrics_if_well=True,
    )  # fmt: skip
