"""`python -m ingest_gateway`: serve until SIGTERM or SIGINT, then finish what is under way."""

import os
import shutil
import sys
import tempfile
from pathlib import Path

import uvicorn

from catalog import kafka_client
from catalog.errors import SluiceError
from catalog.settings import lake_settings
from ingest_gateway import logs, scrape, tls, tracing
from ingest_gateway.api_keys import read_keys
from ingest_gateway.connections import Connection, allow_connections
from ingest_gateway.settings import GatewaySettings, gateway_settings
from ingest_gateway.spool import folders

PATIENCE = 60  # seconds that a worker may need to start, on a busy machine, before it counts as dead


def main() -> int:
    """Exit code 1 with one line where a setting can't work."""
    try:
        settings = gateway_settings()
        lake = lake_settings()
        if not lake.contracts.is_dir():
            raise SluiceError(
                f"{lake.contracts} is not a folder: SLUICE_CONTRACTS must name the folder of the contracts"
            )
        kafka_client.options(lake)
        if settings.keys is not None:
            read_keys(settings.keys)
        if settings.spool is not None:
            folders.prepare(settings.spool)
        tracing.wanted()
        tls.certificate_of(settings)
    except SluiceError as failure:
        sys.stderr.write(f"{failure}\n")
        return 1
    logs.configure(settings.log_level)
    if settings.workers == 1:
        return _serve(settings)
    # Several processes count in files that the scrape adds up; the library reads this when it is imported.
    folder = tempfile.mkdtemp(prefix="sluice-gateway-")
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
    try:
        if settings.has_rate_limits:
            from ingest_gateway.rate_table import TABLE, make_table  # a library that most gateways do without

            make_table(Path(folder) / TABLE)
        return _serve(settings)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _serve(settings: GatewaySettings) -> int:
    allow_connections(settings)
    if settings.metrics_port:
        try:
            scrape.serve(settings)
        except SluiceError as failure:
            sys.stderr.write(f"{failure}\n")
            return 1
    uvicorn.run(
        "ingest_gateway.tracing:create_app" if tracing.wanted() else "ingest_gateway.app:create_app",
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        loop="uvloop" if settings.tls_certificate is None else f"{tls.__name__}:{tls.Loop.__name__}",
        http=Connection,
        ws="none",
        ssl_context_factory=tls.context if settings.tls_certificate is not None else None,
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=settings.shutdown_timeout,
        timeout_worker_healthcheck=PATIENCE,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
