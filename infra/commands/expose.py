"""`sluice expose`: let others reach the gateway for a demonstration, through a tunnel of ngrok or cloudflared."""

import json
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from enum import StrEnum
from typing import Annotated

import httpx
import typer

from catalog.errors import SluiceError
from catalog.settings import lake_settings
from catalog.trust import trusted
from infra.interruption import ENDINGS, terminated_as_interrupted

PATIENCE = 60.0  # seconds until a tunnel must have told its address
EVERY = 3.0  # seconds between two looks at whether the gateway still asks for keys
REFUSALS = (401, 403)  # to who has no key
ADDRESS = re.compile(r"https://[\w.-]+\.[a-z]{2,}(?=[\s\"'|]|$)")
# Addresses that the programs tell beside the tunnel's: their documentation, terms and interfaces.
OTHERS = (
    "https://developers.",
    "https://www.",
    "https://dashboard.",
    "https://api.",
    "https://ngrok.com",
    "https://github.com",
)
WARNING = """\
Anybody who has this address can ask the gateway, over the company that runs the tunnel. Whoever has a key can send
events, and your lake keeps them; a stream whose contract says anonymousSubmission takes them without a key. Make a key for
this occasion, with an end: ./sluice keys add demo --stream orders --expires 1d"""


class Tool(StrEnum):
    """Programs that open a tunnel. Neither comes with Sluice."""

    cloudflared = "cloudflared"
    ngrok = "ngrok"

    def command(self, url: str) -> list[str]:
        """What it is called with. Its log goes to where it is read."""
        if self is Tool.cloudflared:
            return [self.value, "tunnel", "--no-autoupdate", "--url", url]
        return [self.value, "http", url, "--log", "stdout", "--log-format", "json"]


def expose(
    tool: Annotated[Tool | None, typer.Option("--tool", help="Default: the first of them that is installed.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The address as an object, once it is there.")] = False,
) -> None:
    """Open the gateway, and nothing else, to the internet until Ctrl-C, by cloudflared or ngrok, whichever is installed.

    Refused unless the gateway asks everybody for a key (SLUICE_GATEWAY_AUTHENTICATION=required), and closed when it no longer
    does. For demonstrations: the tunnel ends TLS at its company, whose terms and limits hold.

    Exit code: 0 ended by Ctrl-C, 1 refused, closed, or the tunnel ended by itself, 2 wrong usage. Example: ./sluice expose
    """
    chosen = _installed(tool)
    url = lake_settings().gateway_url
    _refuse_open(url)
    with _tunnel(chosen.command(url)) as (process, lines):
        address = _address(chosen, process, lines)
        told = json.dumps({"url": address, "tool": chosen.value}) if as_json else f"{address}\nCtrl-C ends it."
        try:
            print(WARNING, file=sys.stderr)
            print(told, flush=True)
            code = _watched(process, url)
        except KeyboardInterrupt:
            print("The tunnel is closed.", file=sys.stderr)
            return
        raise SluiceError(
            f"{chosen} ended by itself, with exit code {code}; the gateway can no longer be reached from outside"
        )


def _installed(tool: Tool | None) -> Tool:
    wanted = [tool] if tool else list(Tool)
    for one in wanted:
        if shutil.which(one.value):
            return one
    raise SluiceError(
        f"There is no {' and no '.join(wanted)} here: install one of them (ngrok wants an account, cloudflared none), "
        "or put a proxy of your own before the gateway"
    )


def _refuse_open(url: str) -> None:
    try:
        status = _status(url)
    except httpx.HTTPError as failure:
        raise SluiceError(f"The gateway {url} does not answer ({failure}): start it with `sluice up`") from None
    if status not in REFUSALS:
        raise SluiceError(
            f"The gateway {url} asks nobody for a key (status {status} for its metrics), and anybody could fill your lake. "
            "Start it with SLUICE_GATEWAY_AUTHENTICATION=required ./sluice up, after ./sluice keys add"
        )


def _status(url: str) -> int:
    """The running gateway is asked, as a stranger would: not the settings, which it may not have been started with."""
    trust = trusted(lake_settings().gateway_ca, "SLUICE_GATEWAY_CA")
    return httpx.get(f"{url}/metrics", timeout=10, trust_env=False, verify=trust).status_code


def _watched(process: "subprocess.Popen[str]", url: str) -> int:
    """The program's exit code, once it ends by itself. Raises SluiceError once the gateway lets strangers in.

    One that is away, or too busy to say (429, 5xx), takes no event from them meanwhile, and is asked again.
    """
    while True:
        with suppress(subprocess.TimeoutExpired):
            return process.wait(EVERY)
        with suppress(httpx.HTTPError):
            status = _status(url)
            if status not in REFUSALS and status != 429 and status < 500:
                raise SluiceError(
                    f"The tunnel is closed: the gateway {url} no longer asks everybody for a key (status {status} for its "
                    "metrics), and anybody could have filled your lake. Was it started again, without "
                    "SLUICE_GATEWAY_AUTHENTICATION=required?"
                )


@contextmanager
def _tunnel(command: Sequence[str]) -> Iterator[tuple["subprocess.Popen[str]", "queue.Queue[str]"]]:
    """The program and what it says, in a process group of its own, which is ended whatever happens."""
    with terminated_as_interrupted():
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )  # fmt: skip
        lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=_read, args=(process, lines), daemon=True).start()
        try:
            yield process, lines
        finally:
            # Whoever is impatient must not leave the tunnel open.
            for number in (signal.SIGINT, *ENDINGS):
                signal.signal(number, signal.SIG_IGN)
            _end(process)


def _read(process: "subprocess.Popen[str]", lines: "queue.Queue[str]") -> None:
    """To the end: a program whose output nobody takes would stop."""
    for line in process.stdout or ():
        lines.put(line)


def _end(process: "subprocess.Popen[str]") -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None:
            return
        os.killpg(process.pid, number)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            continue


def _address(tool: Tool, process: "subprocess.Popen[str]", lines: "queue.Queue[str]") -> str:
    """The public address, from what the program says. Raises SluiceError with its last words."""
    deadline, last = time.monotonic() + PATIENCE, "nothing"
    while time.monotonic() < deadline:
        try:
            line = lines.get(timeout=0.2)
        except queue.Empty:
            if process.poll() is not None:
                raise SluiceError(f"The tunnel could not be opened; {tool} said: {last}") from None
            continue
        last = line.strip() or last
        for found in ADDRESS.findall(line):
            if not found.startswith(OTHERS):
                return str(found)
    raise SluiceError(f"The tunnel told no address within {PATIENCE:.0f} s; the last words: {last}")
