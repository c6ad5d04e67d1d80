"""Runs in a pod: sends `COUNT` orders in small batches, insisting, and prints how many were acknowledged."""

import asyncio
import json
import os
from itertools import islice

import orjson

from infra.demo.generate import orders
from ingest_gateway.client import AsyncClient, Event, Retry

BATCH = 20


async def main() -> None:
    acknowledged = 0
    events = (Event(f"load-{n}", orjson.dumps(record)) for n, record in enumerate(orders(int(os.environ["COUNT"]))))
    retry = Retry(patience=180, longest=1)
    url = os.environ["SLUICE_GATEWAY_URL"]
    async with AsyncClient(url, "orders", source="/load", key=os.environ["KEY"], retry=retry) as client:
        while batch := list(islice(events, BATCH)):
            acknowledged += sum(verdict.taken for verdict in await client.send(batch))
            print(f"sent {batch[-1].id}", flush=True)
            await asyncio.sleep(0.1)
    print(json.dumps({"acknowledged": acknowledged}), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
