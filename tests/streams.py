"""Streams of the tests' own, and events for them whose fate is known."""

import json
from pathlib import Path

import orjson

from catalog import query
from catalog.contract import Stream
from catalog.odcs import load_contract
from catalog.settings import LakeSettings
from ingest_gateway.client import Client, Event
from tests.stack import Stack, eventually

CONTRACT = """
apiVersion: v3.2.0
kind: DataContract
id: {name}
version: 1.0.0
status: active
schema:
  - name: {name}
    properties:
      - {{name: item, logicalType: string, required: true, primaryKey: true}}
      - {{name: quantity, logicalType: integer, required: true}}
      - {{name: at, logicalType: timestamp, required: true, partitioned: true}}
    quality:
      - {{name: plausible, type: custom, engine: sql, implementation: quantity < 1000, severity: error}}
"""
ENTITY = "customProperties: [{property: kind, value: entity}, {property: eventTime, value: at}]\n"


def add_stream(stack: Stack, contracts: Path, name: str, *, entity: bool = False) -> Stream:
    """A stream of this test's own."""
    path = contracts / f"{name}.odcs.yaml"
    path.write_text(CONTRACT.format(name=name) + (ENTITY if entity else ""))
    stack.sluice("apply", "--no-gold")
    return load_contract(path)


def send(stack: Stack, stream: str, events: list[Event]) -> None:
    """Send until every event is acknowledged; the gateway may need a moment to know a new stream."""
    with Client(stack.env()["SLUICE_GATEWAY_URL"], stream) as client:
        eventually(lambda: _taken(client, events), 30, f"the gateway takes {stream}")


def _taken(client: Client, events: list[Event]) -> bool:
    try:
        return all(verdict.taken for verdict in client.send(events))
    except Exception as failure:
        if "404" in str(failure) or "no stream" in str(failure).lower():
            return False
        raise


def some_events(run: str, start: int, count: int) -> list[Event]:
    """Good ones; each 10th breaks a rule; each 25th is a repeat of the one before."""
    events: list[Event] = []
    for n in range(start, start + count):
        body = {
            "item": f"item-{n % 40}",
            "quantity": 5_000 if n % 10 == 0 else n % 100,
            "at": f"2026-01-{n % 9 + 1:02}T00:00:00Z",
        }
        same = n - 1 if n % 25 == 0 and n > start else n
        if same != n:
            body = json.loads(events[-1].payload)
        events.append(Event(f"{run}-{same}", orjson.dumps(body)))
    return events


def holds_exactly(lake: LakeSettings, stream: str, run: str, events: list[Event]) -> None:
    """Silver and quarantine of an event stream hold the events of `some_events`, each id once."""
    sql = f"select count(*) as n, count(distinct _event_id) as ids from silver.{stream} where _event_id like '{run}-%'"
    kept = query.rows(lake, sql)[0]
    bad = query.rows(lake, f"select count(*) as n from quarantine.{stream} where _event_id like '{run}-%'")[0]["n"]
    distinct = {event.id: json.loads(event.payload)["quantity"] for event in events}
    assert (kept["n"], kept["ids"]) == (sum(q < 1000 for q in distinct.values()),) * 2
    assert bad == sum(q >= 1000 for q in distinct.values())
