"""The yardstick: a gateway as one writes it in an afternoon. No checks, no ids, no verdicts; one `send_and_wait` an event."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from catalog import kafka_client
from catalog.settings import lake_settings


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    """The producer lives as long as the worker."""
    # By default the library's own size of a batch.
    options = {
        "acks": "all",
        "enable_idempotence": True,
        "max_batch_size": int(os.environ.get("PLAIN_BATCH_BYTES", 16 << 10)),
    }
    async with kafka_client.producer(lake_settings(), **options) as app.state.producer:
        yield


async def events(request: Request) -> Response:
    """One event, or one a line."""
    body = await request.body()
    lines = body.split(b"\n") if request.headers["content-type"] == "application/x-ndjson" else [body]
    producer, topic = request.app.state.producer, request.path_params["stream"]
    await asyncio.gather(*(producer.send_and_wait(topic, line) for line in lines))
    return JSONResponse({"accepted": len(lines)}, status_code=202)


app = Starlette(routes=[Route("/v1/streams/{stream}/events", events, methods=["POST"])], lifespan=lifespan)
