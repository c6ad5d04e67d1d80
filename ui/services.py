"""Whether the parts of the stack answer, and how far the topics are. Looked up over their own protocols, with short limits."""

import asyncio
import os
import socket
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import streamlit as st
from aiokafka import TopicPartition

from catalog import kafka_client, query
from catalog.errors import SluiceError
from catalog.names import topic
from catalog.settings import LakeSettings
from catalog.trust import trusted

PATIENCE = 2.0
# What the explorer asks for its state alone, and the setting of its address: a site may keep that to itself.
NOT_NEEDED = {"Object store": "s3_endpoint", "Catalog database": "catalog_uri"}


@dataclass(frozen=True)
class Health:
    """One part: `state` is ok, degraded, away or unknown; `detail` is for a person."""

    name: str
    state: str
    detail: str
    milliseconds: float | None = None


@dataclass(frozen=True)
class Ends:
    """Records in each topic by its partitions' offsets, or the reason why they are not known."""

    ends: dict[str, dict[int, int]]
    reason: str = ""


@st.cache_data(ttl=5, show_spinner=False)
def health(_settings: LakeSettings, trino_url: str) -> list[Health]:
    """All parts whose address is known, at once; no answer within 2 s is `away`."""
    checks = [
        (name, check)
        for name, check in (
            ("Gateway", lambda: _http(f"{_settings.gateway_url}/readyz", _settings.gateway_ca, "SLUICE_GATEWAY_CA")),
            ("Kafka", lambda: _tcp(_settings.kafka_bootstrap.split(",")[0])),
            ("Stream job", _stream_job),
            (
                "Object store",
                lambda: _http(f"{_settings.s3_endpoint}/minio/health/live", _settings.s3_ca, "SLUICE_S3_CA"),
            ),
            ("Catalog database", lambda: _tcp(urlsplit(_settings.catalog_uri).netloc.rpartition("@")[2], 5432)),
            ("Trino", lambda: _trino(_settings)),
        )
        if name not in NOT_NEEDED or _told(_settings, NOT_NEEDED[name])
    ]
    with ThreadPoolExecutor(len(checks)) as pool:
        return list(pool.map(lambda check: _timed(check[0], check[1]), checks))


@st.cache_data(ttl=3, show_spinner=False)
def topic_ends(_settings: LakeSettings, streams: tuple[str, ...]) -> Ends:
    """The end offsets of the streams' topics."""
    # The client tries for a long time to reach a broker that is away; a plain connection tells at once.
    bootstrap = _settings.kafka_bootstrap
    state, detail = _tcp(bootstrap.split(",")[0])
    if state != "ok":
        return Ends({}, f"Kafka does not answer: {detail}")
    try:
        return Ends(asyncio.run(asyncio.wait_for(_ends(_settings, streams), 5.0)))
    except (kafka_client.RefusedError, SluiceError) as refused:
        return Ends({}, str(refused))
    except Exception as failure:  # the overview shows all else without Kafka, whatever the client raises
        return Ends({}, f"Kafka does not answer at {bootstrap} ({type(failure).__name__})")


def lag(ends: dict[int, int] | None, offsets: dict[int, int] | None) -> int | None:
    """Records in the topic that a table does not have yet; None where the topic is not known."""
    if ends is None:
        return None
    return sum(max(end - (offsets or {}).get(partition, 0), 0) for partition, end in ends.items())


async def _ends(settings: LakeSettings, streams: Sequence[str]) -> dict[str, dict[int, int]]:
    # Only topics that are named here have their partitions in the metadata.
    options = {"request_timeout_ms": 3000, "client_id": "sluice-ui"}
    async with kafka_client.consumer(settings, *map(topic, streams), **options) as consumer:
        known = await consumer.topics()
        parts = [
            TopicPartition(topic(name), partition)
            for name in streams
            if topic(name) in known
            for partition in consumer.partitions_for_topic(topic(name)) or ()
        ]
        found = await consumer.end_offsets(parts) if parts else {}
    ends: dict[str, dict[int, int]] = {}
    for part, offset in found.items():
        ends.setdefault(part.topic, {})[part.partition] = offset
    return ends


def _told(settings: LakeSettings, field: str) -> bool:
    """Whether the environment says where it is: that it is where it is by default is not known."""
    return field in settings.model_fields_set and bool(getattr(settings, field))


def _timed(name: str, check: object) -> Health:
    started = time.monotonic()
    state, detail = check()  # type: ignore[operator]
    return Health(name, state, detail, round((time.monotonic() - started) * 1000, 1))


def _http(url: str, ca: Path | None = None, setting: str = "") -> tuple[str, str]:
    """What a GET says; `ca` is whom to believe for the certificate, and `setting` has named that file."""
    try:
        answer = httpx.get(url, timeout=PATIENCE, trust_env=False, verify=trusted(ca, setting))
    except SluiceError as refused:
        return "unknown", str(refused)
    except httpx.HTTPError as failure:
        return "away", f"no answer at {_shown(url)} ({type(failure).__name__})"
    if answer.is_success:
        return "ok", "answers"
    return "degraded", f"answers {answer.status_code} at {_shown(url)}: {answer.text[:120]}"


def _shown(url: str) -> str:
    # Without its scheme: Markdown would make a link of it that leads nowhere.
    return url.split("://", 1)[-1]


def _stream_job() -> tuple[str, str]:
    url = os.environ.get("SLUICE_STREAM_URL")
    port = os.environ.get("SLUICE_STREAM_PORT")
    if not url and not port:
        return "unknown", "not configured: SLUICE_STREAM_URL names it"
    ca = os.environ.get("SLUICE_STREAM_CA")
    return _http(f"{url or f'http://127.0.0.1:{port}'}/healthz", Path(ca) if ca else None, "SLUICE_STREAM_CA")


def _tcp(address: str, default_port: int = 9092) -> tuple[str, str]:
    host, _, port = address.rpartition(":") if ":" in address else (address, "", str(default_port))
    try:
        with socket.create_connection((host, int(port)), timeout=PATIENCE):
            return "ok", "accepts connections"
    except (OSError, ValueError) as failure:
        return "away", f"no connection to {address} ({getattr(failure, 'strerror', None) or failure})"


def _trino(settings: LakeSettings) -> tuple[str, str]:
    try:
        query.run(settings, "select 1", source="sluice-ui")
    except query.TrinoAwayError as away:
        return "away", str(away)
    except query.QueryFailedError as failed:
        return "degraded", str(failed)
    return "ok", "answers queries"
