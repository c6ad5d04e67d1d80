"""Runs in a pod: eight connections send batches of events that are all refused, until the pod is ended. They cost the gateway
its checks, and nothing that comes after it."""

import asyncio
import os

import httpx

BODY = b'{"order_id": "none", "product_id": "none", "quantity": "none", "timestamp": "none"}\n' * 1_000
HEADERS = {"content-type": "application/x-ndjson", "authorization": f"Bearer {os.environ['KEY']}"}


async def send(client: httpx.AsyncClient) -> None:
    told = False
    while True:
        answer = await client.post("/v1/streams/orders/events?verdicts=summary", content=BODY, headers=HEADERS)
        if not told:
            print(f"sent: {answer.status_code}", flush=True)
            told = True


async def main() -> None:
    async with httpx.AsyncClient(base_url=os.environ["SLUICE_GATEWAY_URL"], timeout=60, trust_env=False) as client:
        await asyncio.gather(*(send(client) for _ in range(8)))


if __name__ == "__main__":
    asyncio.run(main())
