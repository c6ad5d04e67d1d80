"""Runs in a pod: `CLIENTS` connections send `COUNT` orders in batches, `PAUSE` seconds apart. Prints how many were taken."""

import asyncio
import json
import os

import orjson

from infra.demo.generate import orders
from ingest_gateway.client import AsyncClient, Event, Retry

BATCH = 20


async def send(events: list[Event], pause: float) -> int:
    """How many were acknowledged."""
    acknowledged = 0
    retry = Retry(patience=180, longest=1)
    url = os.environ["SLUICE_GATEWAY_URL"]
    async with AsyncClient(url, "orders", source="/load", key=os.environ["KEY"], retry=retry) as client:
        for first in range(0, len(events), BATCH):
            verdicts = await client.send(events[first : first + BATCH])
            acknowledged += sum(verdict.taken for verdict in verdicts)
            print(f"sent {first + BATCH}", flush=True)
            await asyncio.sleep(pause)
    return acknowledged


async def main() -> None:
    clients, pause = int(os.environ["CLIENTS"]), float(os.environ["PAUSE"])
    events = [Event(f"load-{n}", orjson.dumps(record)) for n, record in enumerate(orders(int(os.environ["COUNT"])))]
    acknowledged = await asyncio.gather(*(send(events[part::clients], pause) for part in range(clients)))
    print(json.dumps({"acknowledged": sum(acknowledged)}), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
