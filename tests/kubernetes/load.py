"""Runs in a pod: `CLIENTS` connections send `COUNT` orders in batches, `PAUSE` seconds apart. Prints how many were taken."""

import asyncio
import json
import os
from collections.abc import Iterator
from itertools import islice

import orjson

from infra.demo.generate import orders
from ingest_gateway.client import AsyncClient, Event, Retry

BATCH = 20


async def send(events: Iterator[Event], pause: float) -> int:
    """Batches of what is left of the events, which all clients share; how many were acknowledged."""
    acknowledged = 0
    retry = Retry(patience=180, longest=1)
    url = os.environ["SLUICE_GATEWAY_URL"]
    async with AsyncClient(url, "orders", source="/load", key=os.environ["KEY"], retry=retry) as client:
        while batch := list(islice(events, BATCH)):
            acknowledged += sum(verdict.taken for verdict in await client.send(batch))
            print(f"sent {batch[-1].id}", flush=True)
            await asyncio.sleep(pause)
    return acknowledged


async def main() -> None:
    clients, pause, count = int(os.environ["CLIENTS"]), float(os.environ["PAUSE"]), int(os.environ["COUNT"])
    events = (Event(f"load-{n}", orjson.dumps(record)) for n, record in enumerate(orders(count)))
    acknowledged = await asyncio.gather(*(send(events, pause) for _ in range(clients)))
    print(json.dumps({"acknowledged": sum(acknowledged)}), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
