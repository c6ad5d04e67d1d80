"""Metrics at a port of their own: without a key, of all workers, and only while the gateway itself answers."""

import os
import signal
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.certificates import write_pair
from tests.stack import eventually, free_port

MADE = "sluice_gateway_connections"


def scraped(port: int, trust: ssl.SSLContext | bool = True) -> httpx.Response | None:
    scheme = "http" if trust is True else "https"
    try:
        return httpx.get(f"{scheme}://127.0.0.1:{port}/metrics", verify=trust, timeout=20, trust_env=False)
    except httpx.HTTPError:
        return None


@pytest.mark.parametrize(("workers", "encrypted"), [(1, False), (2, True)])
def test_who_has_no_key_reads_metrics_where_they_are_told_alone(tmp_path: Path, workers: int, encrypted: bool) -> None:
    port, beside = free_port(), free_port()
    told = {
        "SLUICE_GATEWAY_PORT": str(port),
        "SLUICE_GATEWAY_METRICS_PORT": str(beside),
        "SLUICE_GATEWAY_WORKERS": str(workers),
        "SLUICE_GATEWAY_AUTHENTICATION": "required",
        "SLUICE_GATEWAY_KEYS": str(tmp_path / "keys.json"),
        "SLUICE_KAFKA_BOOTSTRAP": "127.0.0.1:1",
    }
    (tmp_path / "keys.json").write_text('{"keys": []}')
    trust: ssl.SSLContext | bool = True
    if encrypted:
        write_pair(tmp_path / "tls.crt", tmp_path / "tls.key")
        trust = ssl.create_default_context(cafile=tmp_path / "tls.crt")
        for part in ("GATEWAY", "METRICS"):
            told |= {f"SLUICE_{part}_TLS_CERTIFICATE": str(tmp_path / "tls.crt")}
            told |= {f"SLUICE_{part}_TLS_KEY": str(tmp_path / "tls.key")}
    with subprocess.Popen([sys.executable, "-m", "ingest_gateway"], env={**os.environ, **told}) as process:
        try:

            def answer() -> httpx.Response | None:
                return found if (found := scraped(beside, trust)) and found.is_success else None

            eventually(lambda: answer() or process.poll() is not None, 60, "metrics")
            assert process.poll() is None
            found = answer()
            assert found
            assert f"\n{MADE} " in found.text
            locked = scraped(port, trust)
            assert locked is not None
            assert locked.status_code == 401
        finally:
            process.terminate()


def test_while_the_gateway_does_not_answer_its_metrics_do_not(tmp_path: Path) -> None:
    """Workers that hang are no sign of health, though the process that tells metrics is another."""
    port, beside = free_port(), free_port()
    told = {
        "SLUICE_GATEWAY_PORT": str(port),
        "SLUICE_GATEWAY_METRICS_PORT": str(beside),
        "SLUICE_GATEWAY_WORKERS": "2",
        "SLUICE_KAFKA_BOOTSTRAP": "127.0.0.1:1",
    }
    with subprocess.Popen([sys.executable, "-m", "ingest_gateway"], env={**os.environ, **told}) as process:
        workers: list[int] = []
        try:
            eventually(lambda: (found := scraped(beside)) and found.is_success, 60, "metrics")
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            workers = [pid for pid in map(int, children) if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
            assert len(workers) >= 2
            for pid in workers:
                os.kill(pid, signal.SIGSTOP)
            hung = scraped(beside)
            assert hung is not None
            assert hung.status_code == 503
            assert "healthz" in hung.json()["reason"]
        finally:
            for pid in workers:
                os.kill(pid, signal.SIGCONT)
            process.terminate()


def test_a_port_that_is_taken_is_named_with_its_setting(tmp_path: Path) -> None:
    port = free_port()
    told = {"SLUICE_GATEWAY_PORT": str(free_port()), "SLUICE_GATEWAY_METRICS_PORT": str(port)}
    with socket.create_server(("127.0.0.1", port)):
        done = subprocess.run(
            [sys.executable, "-m", "ingest_gateway"],
            env={**os.environ, **told}, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.strip().endswith("Choose another port by SLUICE_GATEWAY_METRICS_PORT.")
