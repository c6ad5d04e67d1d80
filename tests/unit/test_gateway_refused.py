"""Who sends events that their contract refuses: told in the log, with the sender, and seldom."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import Mock

import pytest

from catalog.names import H_PRODUCER
from catalog.settings import LakeSettings
from ingest_gateway import refused_events, submit
from ingest_gateway.bodies import json_events
from ingest_gateway.gateway import Gateway
from ingest_gateway.refused_events import EVERY, RefusedEvents
from ingest_gateway.settings import GatewaySettings


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Mock:
    made = Mock()
    monkeypatch.setattr(refused_events, "log", made)
    return made


def lines(log: Mock) -> Sequence[tuple[str, str, int]]:
    return [(call.kwargs["stream"], call.kwargs["key"], call.kwargs["events"]) for call in log.info.mock_calls]


def test_a_sender_has_one_line_a_stream_however_many_events_are_refused(log: Mock) -> None:
    clock = Mock(return_value=100.0)
    refused = RefusedEvents(clock)
    for _ in range(1000):
        refused.count("orders", b"badkey", 2)
        refused.tell()
    refused.count("users", b"badkey", 1)
    assert lines(log) == [("orders", "badkey", 2)]
    clock.return_value += EVERY
    refused.tell()
    assert lines(log) == [("orders", "badkey", 2), ("orders", "badkey", 1998), ("users", "badkey", 1)]
    clock.return_value += EVERY
    refused.tell()
    assert len(lines(log)) == 3, "of what nobody sends, nothing is told"


def test_what_is_refused_of_a_body_is_counted_for_its_sender(folder: Path, log: Mock) -> None:
    async def run() -> None:
        lake = LakeSettings.model_validate({"kafka_bootstrap": "127.0.0.1:1", "contracts": folder})
        gateway = Gateway(GatewaySettings(log_level="error"), lake)
        gateway.streams.poll()
        body = b'[{"order_id": "no uuid"}, {}]'
        events, served = json_events(body, 10), gateway.stream("orders")
        sent = [(H_PRODUCER, b"badkey")]
        submit.judged(events, gateway.mint(2), body, datetime.now(UTC), served, gateway, sent)
        gateway.refused.tell()

    asyncio.run(run())
    assert lines(log) == [("orders", "badkey", 2)]
