"""The gateway behind its own certificate, as a process. Kafka is away: what is sent is judged, and need not be kept."""

import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from catalog.errors import SluiceError
from ingest_gateway.client import Client, Event, Retry
from tests.certificates import serial_shown, write_pair
from tests.stack import eventually, free_port


@contextmanager
def gateway(folder: Path, **settings: object) -> Iterator[int]:
    """Yields its port, once it answers over TLS."""
    port = free_port()
    told = {
        "SLUICE_GATEWAY_PORT": str(port),
        "SLUICE_GATEWAY_SPOOL": str(folder / "spool"),
        "SLUICE_GATEWAY_CONTRACT_POLL": "0.1",
        "SLUICE_KAFKA_BOOTSTRAP": "127.0.0.1:1",
        "SLUICE_GATEWAY_TLS_CERTIFICATE": str(folder / "tls.crt"),
        "SLUICE_GATEWAY_TLS_KEY": str(folder / "tls.key"),
        **{name: str(value) for name, value in settings.items()},
    }
    with subprocess.Popen([sys.executable, "-m", "ingest_gateway"], env={**os.environ, **told}) as process:
        try:
            trust = ssl.create_default_context(cafile=folder / "tls.crt")
            eventually(lambda: answers(port, trust) or process.poll() is not None, 60, "the gateway answers over TLS")
            assert process.poll() is None
            yield port
        finally:
            process.terminate()


def answers(port: int, trust: ssl.SSLContext) -> bool:
    try:
        return httpx.get(f"https://127.0.0.1:{port}/healthz", verify=trust).is_success
    except httpx.HTTPError:
        return False


@pytest.mark.parametrize("workers", [1, 2])
def test_callers_who_trust_its_certificate_are_served_and_nobody_in_the_clear(tmp_path: Path, workers: int) -> None:
    write_pair(tmp_path / "tls.crt", tmp_path / "tls.key")
    with gateway(tmp_path, SLUICE_GATEWAY_WORKERS=workers) as port:
        url, retry = f"https://127.0.0.1:{port}", Retry(patience=30)
        with Client(url, "orders", ca=tmp_path / "tls.crt", retry=retry) as client:
            (verdict,) = client.send([Event("one", b"{}")])
        assert verdict.status == "refused", "it is judged by the contract"
        with Client(url, "orders", retry=retry) as stranger, pytest.raises(SluiceError, match="in SLUICE_GATEWAY_CA"):
            stranger.send([Event("two", b"{}")])
        with pytest.raises(httpx.TransportError):
            httpx.get(f"http://127.0.0.1:{port}/healthz")


def test_a_renewed_certificate_is_shown_without_a_restart_and_a_broken_one_is_not(tmp_path: Path) -> None:
    files = tmp_path / "tls.crt", tmp_path / "tls.key"
    first = write_pair(*files)
    with gateway(tmp_path) as port:
        assert serial_shown(port) == first
        second = write_pair(*files)
        eventually(lambda: serial_shown(port) == second, 60, "the renewed one is shown")
        whole = files[1].read_text()
        files[1].write_text("broken")
        write_pair(files[0], tmp_path / "other.key")
        assert serial_shown(port) == second
        files[1].write_text(whole)
        third = write_pair(*files)
        eventually(lambda: serial_shown(port) == third, 60, "what is mended is shown")


def test_who_connects_and_shakes_no_hands_is_cut_off(tmp_path: Path) -> None:
    write_pair(tmp_path / "tls.crt", tmp_path / "tls.key")
    with (
        gateway(tmp_path, SLUICE_GATEWAY_HEADER_TIMEOUT=0.5) as port,
        socket.create_connection(("127.0.0.1", port)) as idle,
    ):
        idle.settimeout(40)  # the library's own limit is a minute
        assert idle.recv(1) == b""


def test_what_cannot_work_is_named(tmp_path: Path) -> None:
    certificate, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    write_pair(certificate, tmp_path / "other.key")
    write_pair(tmp_path / "other.crt", key)
    for told, reason in (
        ({"CERTIFICATE": certificate, "KEY": key}, "KEY_VALUES_MISMATCH"),
        ({"CERTIFICATE": tmp_path / "none", "KEY": key}, "No such file"),
        ({"CERTIFICATE": certificate}, "tls_certificate and tls_key belong together"),
    ):
        environment = {f"SLUICE_GATEWAY_TLS_{name}": str(file) for name, file in told.items()}
        done = subprocess.run(
            [sys.executable, "-m", "ingest_gateway"],
            env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode == 1
        assert reason in done.stderr
        assert "Traceback" not in done.stderr
