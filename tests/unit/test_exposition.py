"""Health and metrics of a part: in the clear, or by a certificate of its own."""

import socket
import ssl
import sys
from collections.abc import Callable, Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from socketserver import BaseServer

import httpx
import pytest
from prometheus_client import CollectorRegistry, Gauge

from catalog import exposition
from catalog.errors import SluiceError
from tests.certificates import serial_shown, write_pair
from tests.stack import eventually, free_port

Serve = Callable[[], int]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Starts one; its port."""
    made: list[ThreadingHTTPServer] = []
    registry = CollectorRegistry()
    Gauge("sample_gauge", "A number.", registry=registry).set(7)

    def _serve() -> int:
        port = free_port()
        made.append(exposition.serve("127.0.0.1", port, "SAMPLE_PORT", registry, lambda: (False, {"state": "waiting"})))
        return port

    yield _serve
    for server in made:
        server.shutdown()
        server.server_close()


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A certificate and its key, as the settings name them."""
    pair = tmp_path / "tls.crt", tmp_path / "tls.key"
    write_pair(*pair)
    for name, file in zip(("CERTIFICATE", "KEY"), pair, strict=True):
        monkeypatch.setenv(f"SLUICE_METRICS_TLS_{name}", str(file))
    return pair


def test_health_and_metrics_are_told_in_the_clear(serve: Serve) -> None:
    url = f"http://127.0.0.1:{serve()}"
    assert "sample_gauge 7.0" in httpx.get(f"{url}/metrics").text
    health = httpx.get(f"{url}/healthz")
    assert (health.status_code, health.json()) == (503, {"state": "waiting"})
    assert httpx.get(f"{url}/other").status_code == 404


def test_with_a_certificate_nobody_is_told_in_the_clear(serve: Serve, files: tuple[Path, Path]) -> None:
    port = serve()
    trust = ssl.create_default_context(cafile=files[0])
    assert "sample_gauge 7.0" in httpx.get(f"https://127.0.0.1:{port}/metrics", verify=trust).text
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://127.0.0.1:{port}/metrics")
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(f"https://127.0.0.1:{port}/metrics")


def test_what_a_caller_does_wrong_fills_no_log_and_a_fault_of_the_part_does(
    files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    logged: list[str] = []

    def log(*_: object) -> None:
        logged.append(type(sys.exception()).__name__)

    monkeypatch.setattr(BaseServer, "handle_error", log)
    port = free_port()
    server = exposition.serve("127.0.0.1", port, "SAMPLE_PORT", CollectorRegistry(), lambda: (True, {"ratio": 1 / 0}))
    try:
        with pytest.raises(httpx.TransportError):
            httpx.get(f"http://127.0.0.1:{port}/metrics")
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"https://127.0.0.1:{port}/metrics")
        with pytest.raises(httpx.TransportError):
            httpx.get(f"https://127.0.0.1:{port}/healthz", verify=ssl.create_default_context(cafile=files[0]))
        eventually(lambda: "ZeroDivisionError" in logged, 10)
    finally:
        server.shutdown()
        server.server_close()
    assert logged == ["ZeroDivisionError"]


def test_who_shakes_no_hands_holds_up_nobody_and_is_cut_off(
    serve: Serve, files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exposition, "PATIENCE", 0.5)
    port = serve()
    trust = ssl.create_default_context(cafile=files[0])
    with socket.create_connection(("127.0.0.1", port)) as idle:
        assert httpx.get(f"https://127.0.0.1:{port}/metrics", verify=trust).is_success
        idle.settimeout(30)
        assert idle.recv(1) == b""


def test_a_renewed_certificate_is_shown_and_a_broken_one_is_not(serve: Serve, files: tuple[Path, Path]) -> None:
    port = serve()
    renewed = write_pair(*files)
    assert serial_shown(port) == renewed
    files[1].write_text("broken")
    assert serial_shown(port) == renewed


@pytest.mark.parametrize(
    ("changed", "reason"),
    [("KEY", "belong together"), ("CERTIFICATE", r"SLUICE_METRICS_TLS_CERTIFICATE='/nowhere' .* can't be used")],
)
def test_what_cannot_work_is_named(
    serve: Serve, files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, changed: str, reason: str
) -> None:
    monkeypatch.setenv(f"SLUICE_METRICS_TLS_{changed}", "" if changed == "KEY" else "/nowhere")
    with pytest.raises(SluiceError, match=reason):
        serve()
