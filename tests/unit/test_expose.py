"""The tunnel for demonstrations, with stand-ins for ngrok and cloudflared: they say what those say, and note their arguments.

The real programs come from no package registry, and a tunnel needs their company: that one opens was never tested.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from tests.stack import CHECKOUT, eventually, patient

CLOUDFLARED = """\
2026-11-26T10:00:00Z INF Thank you for trying Cloudflare Tunnel (https://developers.cloudflare.com/cloudflare-one/connections)
2026-11-26T10:00:03Z INF |  https://quick-brown-fox.trycloudflare.com                                                  |
"""
NGROK = """\
{"lvl":"info","msg":"open config file","path":"ngrok.yml"}
{"addr":"%s","lvl":"info","msg":"started tunnel","name":"command_line","url":"https://1234-quick.ngrok-free.app"}
"""
STAND_IN = """#!{python}
import json, os, pathlib, signal, sys
here = pathlib.Path(__file__)
here.with_suffix(".called").write_text(json.dumps({{"arguments": sys.argv[1:], "pid": os.getpid()}}))
sys.stdout.write({words!r})
sys.stdout.flush()
if {ends}:
    sys.exit(7)
signal.pause()
"""


class Gateway(BaseHTTPRequestHandler):
    """One that answers a stranger who asks for its metrics with a status of choice."""

    status = 401

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/metrics" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Says nothing."""


class Closed(Gateway):
    status = 401


class Open(Gateway):
    status = 200


@pytest.fixture
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A gateway that asks for keys, or the one that the test names."""
    with ThreadingHTTPServer(("127.0.0.1", 0), getattr(request, "param", Closed)) as server:
        serving = threading.Thread(target=server.serve_forever, daemon=True)
        serving.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        serving.join()


def stand_in(folder: Path, name: str, words: str, ends: bool = False) -> None:
    program = folder / name
    program.write_text(STAND_IN.format(python=sys.executable, words=words, ends=ends))
    program.chmod(0o755)


def called(folder: Path, name: str) -> dict[str, object]:
    found: dict[str, object] = json.loads((folder / f"{name}.called").read_text())
    return found


def started(folder: Path, url: str, *arguments: str) -> "subprocess.Popen[str]":
    """`sluice expose` where nothing but what lies in the folder can be called."""
    environment = {"PATH": str(folder), "HOME": str(folder), "PYTHONPATH": str(CHECKOUT), "SLUICE_GATEWAY_URL": url,
                   "SLUICE_STATE": str(folder / "state")}  # fmt: skip
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "infra.cli", "expose", *arguments],
        env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # whatever these tests were started by
    )  # fmt: skip


def ended(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    try:
        out, err = process.communicate(timeout=patient(60))
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)  # it ends its tunnel with itself
        raise
    return process.returncode, out, err


def runs(pid: object) -> bool:
    try:
        os.kill(int(str(pid)), 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize(
    ("tool", "words", "address", "arguments"),
    [
        ("cloudflared", CLOUDFLARED, "https://quick-brown-fox.trycloudflare.com", ["tunnel", "--no-autoupdate", "--url", "URL"]),
        ("ngrok", NGROK, "https://1234-quick.ngrok-free.app", ["http", "URL", "--log", "stdout", "--log-format", "json"]),
    ],
)  # fmt: skip
def test_the_gateway_alone_is_opened_until_ctrl_c(
    tool: str, words: str, address: str, arguments: list[str], tmp_path: Path, url: str
) -> None:
    stand_in(tmp_path, tool, words)
    process = started(tmp_path, url, "--json")
    assert process.stdout is not None
    assert json.loads(process.stdout.readline()) == {"url": address, "tool": tool}
    call = called(tmp_path, tool)
    assert call["arguments"] == [url if word == "URL" else word for word in arguments]
    process.send_signal(signal.SIGINT)
    code, _, err = ended(process)
    assert code == 0
    assert "Anybody who has this address" in err
    assert "--expires 1d" in err
    assert "anonymousSubmission" in err
    eventually(lambda: not runs(call["pid"]), 10, "the tunnel's program is gone")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_closed_terminal_leaves_no_tunnel_open(number: signal.Signals, tmp_path: Path, url: str) -> None:
    stand_in(tmp_path, "ngrok", NGROK)
    process = started(tmp_path, url)
    assert process.stdout is not None
    assert "ngrok-free" in process.stdout.readline()
    process.send_signal(number)
    code, _, err = ended(process)
    assert code == 0
    assert "The tunnel is closed" in err
    eventually(lambda: not runs(called(tmp_path, "ngrok")["pid"]), 10, "the tunnel's program is gone")


class Turning(Gateway):
    """One that is busy, and then asks nobody any more."""

    answers: ClassVar[list[int]] = []

    def do_GET(self) -> None:
        self.status = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        super().do_GET()


@pytest.mark.parametrize("url", [Turning], indirect=True)
def test_a_gateway_that_stops_asking_for_keys_is_closed_again(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Turning, "answers", [401, 429, 503, 200])
    stand_in(tmp_path, "ngrok", NGROK)
    code, out, err = ended(started(tmp_path, url))
    assert code == 1
    assert "https://1234-quick.ngrok-free.app" in out
    assert Turning.answers == [200], "a gateway that is busy has let nobody in"
    assert "no longer asks everybody for a key (status 200" in err
    eventually(lambda: not runs(called(tmp_path, "ngrok")["pid"]), 10, "the tunnel's program is gone")


@pytest.mark.parametrize("url", [Open], indirect=True)
def test_a_gateway_that_asks_nobody_is_not_opened(tmp_path: Path, url: str) -> None:
    stand_in(tmp_path, "ngrok", NGROK)
    code, out, err = ended(started(tmp_path, url))
    assert (code, out) == (1, "")
    assert "SLUICE_GATEWAY_AUTHENTICATION=required" in err
    assert not (tmp_path / "ngrok.called").exists()


def test_a_tunnel_that_ends_is_told_with_its_last_words(tmp_path: Path, url: str) -> None:
    stand_in(
        tmp_path, "ngrok", "ERROR: authentication failed: see https://dashboard.ngrok.com/get-started\n", ends=True
    )
    code, _, err = ended(started(tmp_path, url, "--tool", "ngrok"))
    assert code == 1
    assert "authentication failed" in err
    stand_in(tmp_path, "ngrok", NGROK, ends=True)
    code, out, err = ended(started(tmp_path, url))
    assert code == 1
    assert "https://1234-quick.ngrok-free.app" in out
    assert "ended by itself, with exit code 7" in err


def test_without_a_program_or_a_gateway_it_says_so(tmp_path: Path, url: str) -> None:
    code, _, err = ended(started(tmp_path, url))
    assert code == 1
    assert "no cloudflared and no ngrok here" in err
    stand_in(tmp_path, "ngrok", NGROK)
    code, _, err = ended(started(tmp_path, "http://127.0.0.1:9", "--tool", "ngrok"))
    assert code == 1
    assert "does not answer" in err
