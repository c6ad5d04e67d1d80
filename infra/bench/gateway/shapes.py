"""What is sent: orders as the bundled contract wants them, one a request or a hundred in lines."""

import json
import random
import uuid
from dataclasses import dataclass
from pathlib import Path

from catalog.contract import SUFFIX
from catalog.settings import BUNDLED_CONTRACTS


@dataclass(frozen=True)
class Shape:
    """Of a request: its events, their bytes, and how many different ones there are."""

    content_type: str
    events: int
    event_bytes: int
    different: int


SINGLES, BATCHES = "singles", "batches"
SHAPES = {
    SINGLES: Shape("application/json", 1, 1000, 200),
    BATCHES: Shape("application/x-ndjson", 100, 300, 50),
}


def bodies(name: str) -> list[bytes]:
    """Bodies of requests, the same in every run."""
    shape, draw = SHAPES[name], random.Random(7)
    return [
        b"\n".join(_order(shape.event_bytes, draw) for _ in range(shape.events)) for _ in range(shape.different)
    ]  # fmt: skip


def write_contract(folder: Path, stream: str) -> None:
    """The contract of the demo's orders, under another name."""
    text = (BUNDLED_CONTRACTS / f"orders{SUFFIX}").read_text()
    text = text.replace("name: orders\n", f"name: {stream}\n")
    (folder / f"{stream}{SUFFIX}").write_text(text)


def _order(size: int, draw: random.Random) -> bytes:
    order = {
        "order_id": str(uuid.UUID(int=draw.getrandbits(128), version=4)),
        "product_id": f"WHEY{draw.randrange(1000):03d}",
        "quantity": draw.randrange(1, 9),
        "timestamp": "2026-05-05T12:13:14.123Z",
        "unit_price": draw.randrange(100, 9900) / 100,
        "currency": "EUR",
    }
    bare = len(json.dumps({**order, "note": ""}))
    return json.dumps({**order, "note": "x" * (size - bare)}).encode()
