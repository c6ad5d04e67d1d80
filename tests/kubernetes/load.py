"""Runs in a pod: sends `COUNT` orders in small batches, insisting, and prints how many were acknowledged and under which ids."""

import asyncio
import json
import os

import orjson

from infra.demo.generate import orders
from ingest_gateway.client import AsyncClient, Event, Retry

BATCH = 20


async def main() -> None:
    count, acknowledged = int(os.environ["COUNT"]), 0
    payloads = [orjson.dumps(record) for record in orders(count)]
    retry = Retry(patience=180, longest=1)
    url = os.environ["SLUICE_GATEWAY_URL"]
    async with AsyncClient(url, "orders", source="/load", key=os.environ["KEY"], retry=retry) as client:
        for first in range(0, count, BATCH):
            batch = [Event(f"load-{first + n}", payload) for n, payload in enumerate(payloads[first : first + BATCH])]
            verdicts = await client.send(batch)
            acknowledged += sum(verdict.taken for verdict in verdicts)
            print(f"sent {first + len(batch)}", flush=True)
            await asyncio.sleep(0.1)
    print(json.dumps({"acknowledged": acknowledged}), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
