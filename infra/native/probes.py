"""Is a part ready? Each probe returns when it is and raises when it is not, and proves what users will do."""

import base64
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from catalog.settings import LakeSettings

Probe = Callable[[], None]
TIMEOUT = 3.0  # seconds; a part that answers later than this is not ready
NO_PROXY = urllib.request.ProxyHandler({})  # it is this machine
DIRECT = urllib.request.build_opener(NO_PROXY)


class NotReadyError(Exception):
    """The part answered, and is not ready."""


class WaitingError(NotReadyError):
    """The part answered: it waits for another one, and goes on by itself."""


def _opener(trusted: Path | None) -> urllib.request.OpenerDirector:
    """Opens addresses of servers whose certificate is the one in this file, if one is named."""
    if trusted is None:
        return DIRECT
    return urllib.request.build_opener(
        NO_PROXY, urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=str(trusted)))
    )


def http(url: str, trusted: Path | None = None) -> Probe:
    """Ready when a GET answers with a status below 400. `trusted`: of an https address, whom to believe."""

    def probe() -> None:
        with _opener(trusted).open(url, timeout=TIMEOUT) as answer:
            answer.read()

    return probe


def health(url: str) -> Probe:
    """As `http`, for a part that tells its `state` and the `reason` in JSON: what keeps it from working is not its own fault."""

    def probe() -> None:
        try:
            http(url)()
        except urllib.error.HTTPError as refused:
            told = json.loads(refused.read())
            kind = WaitingError if told["state"] == "waiting" else NotReadyError
            raise kind(": ".join(filter(None, (told["state"], told["reason"])))) from None

    return probe


def process_only() -> None:
    """For a part without a port: it is ready when it runs."""


def postgres(uri: str) -> Probe:
    """Ready when `select 1` answers over the very address that the catalog uses."""

    def probe() -> None:
        import psycopg  # imported late: only the supervisor needs it

        with psycopg.connect(uri, connect_timeout=int(TIMEOUT)) as connection:
            connection.execute("select 1")

    return probe


def kafka(settings: "LakeSettings") -> Probe:
    """Ready when a broker is named to one who has signed in: a fenced broker is not."""

    def probe() -> None:
        import asyncio  # imported late: only the supervisor needs it

        asyncio.run(_broker(settings))

    return probe


async def _broker(settings: "LakeSettings") -> None:
    from catalog import kafka_client  # imported late: only the supervisor needs it

    client = kafka_client.client(settings, request_timeout_ms=int(TIMEOUT * 1000))
    try:
        await kafka_client.started(settings, client.bootstrap)
        if not client.cluster.brokers():
            raise NotReadyError("the broker is not registered yet")
    finally:
        await client.close()


def trino(url: str, query: str, user: str, password: str = "", trusted: Path | None = None) -> Probe:
    """Ready when a query has answered; the server says that it has started before its node takes work."""

    def probe() -> None:
        headers = {"X-Trino-User": user, "X-Trino-Source": "sluice-probe"}
        if password:
            headers["Authorization"] = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        opener = _opener(trusted)
        request = urllib.request.Request(f"{url}/v1/statement", query.encode(), headers)
        while True:
            with opener.open(request, timeout=TIMEOUT * 3) as answer:
                page = json.load(answer)
            if "error" in page:
                raise NotReadyError(page["error"]["message"])
            if "nextUri" not in page:
                return
            request = urllib.request.Request(page["nextUri"], headers=headers)

    return probe
