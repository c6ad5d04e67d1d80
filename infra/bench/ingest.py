"""Events a second through the gateway in NDJSON batches, the demo's orders over and over."""

import asyncio
import itertools
import os
import time
from collections.abc import Mapping
from typing import Any

import httpx

from catalog.settings import LakeSettings
from catalog.trust import trusted
from infra.demo.sets import demo_sets

BATCH, SIDE_BY_SIDE = 500, 4


async def ingest(lake: LakeSettings, streams: Mapping[str, Any], events: int) -> dict[str, Any]:
    """Send about so many orders, four requests at a time. Every event must be accepted."""
    orders = next(one for one in demo_sets(streams) if one.stream.name == "orders")
    records = itertools.cycle(record.payload for record in orders.records)
    bodies = [b"\n".join(itertools.islice(records, BATCH)) for _ in range(max(1, events // BATCH))]
    url = f"{lake.gateway_url}/v1/streams/orders/events"
    queue = iter(bodies)
    key = {"x-api-key": os.environ["SLUICE_API_KEY"]} if "SLUICE_API_KEY" in os.environ else {}
    async with httpx.AsyncClient(
        headers={"content-type": "application/x-ndjson", **key},
        timeout=60,
        trust_env=False,
        verify=trusted(lake.gateway_ca, "SLUICE_GATEWAY_CA"),
    ) as client:

        async def sender() -> int:
            taken = 0
            for body in queue:
                answer = await client.post(url, content=body)
                answer.raise_for_status()
                taken += answer.json()["accepted"]
            return taken

        started = time.monotonic()
        taken = sum(await asyncio.gather(*(sender() for _ in range(SIDE_BY_SIDE))))
        seconds = time.monotonic() - started
    return {"events": taken, "batch": BATCH, "events_per_s": taken / seconds}
