"""An event that a contract's own examples make, and how to send it from a shell, Python and JavaScript."""

import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from catalog.contract import Column
from ingest_gateway.streams import Served
from ingest_gateway.typed_text import put

FORMATS = {
    "uuid": "0b1f6f0e-5a3c-4d57-9a51-3f2b7c1d9e42", "email": "name@example.com", "uri": "https://example.com/page",
    "hostname": "example.com", "ipv4": "192.0.2.1", "ipv6": "2001:db8::1",
}  # fmt: skip
TIMES = {"timestamp": "2026-11-20T10:15:30Z", "date": "2026-11-20", "time": "10:15:30"}
EPOCHS = {"epoch-millis": 1_795_169_730_000, "epoch-seconds": 1_795_169_730}


@dataclass(frozen=True)
class Examples:
    """One event and the programs that send it."""

    event: dict[str, Any]
    curl: str
    python: str
    javascript: str


def examples(served: Served, url: str) -> Examples:
    """For one stream of the gateway at `url`."""
    value, url, name = event(served), url.rstrip("/"), served.stream.name
    address, key = f"{url}/v1/streams/{name}/events", _event_id(served, value)
    return Examples(
        event=value,
        curl=_curl(address, key, value),
        python=_python(url, name, key, value),
        javascript=_javascript(address, key, value),
    )


def _curl(address: str, key: str, value: dict[str, Any]) -> str:
    parts = [
        f"curl -i {shlex.quote(address)}",
        "-H 'content-type: application/json'",
        f"-H {shlex.quote(f'idempotency-key: {key}')}",
        f"-d {shlex.quote(json.dumps(value, ensure_ascii=False))}",
    ]
    return " \\\n  ".join(parts)


def _python(url: str, name: str, key: str, value: dict[str, Any]) -> str:
    lines = [
        "import json",
        "",
        "from ingest_gateway.client import Client, Event",
        "",
        "event = {",
        *(f"    {member!r}: {held!r}," for member, held in value.items()),
        "}",
        f"with Client({url!r}, {name!r}) as client:",
        f"    [verdict] = client.send([Event({key!r}, json.dumps(event).encode())])",
        "    print(verdict.status, verdict.partition, verdict.offset, verdict.errors)",
    ]
    return "\n".join(lines)


def _javascript(address: str, key: str, value: dict[str, Any]) -> str:
    lines = [
        f"const event = {json.dumps(value, ensure_ascii=False, indent=2)};",
        f"const answer = await fetch({json.dumps(address)}, {{",
        '  method: "POST",',
        f'  headers: {{"Content-Type": "application/json", "Idempotency-Key": {json.dumps(key)}}},',
        "  body: JSON.stringify(event),",
        "});",
        "console.log(answer.status, await answer.json());",
    ]
    return "\n".join(lines)


def event(served: Served) -> dict[str, Any]:
    """An event with every column that has an example; only the required ones where all of them don't keep the contract."""
    columns = served.stream.columns
    full = _placed((c, v) for c in columns if (v := _value(c)) is not None)
    if not served.checker.violations(full):
        return full
    least = _placed((c, v) for c in columns if c.required and (v := _value(c)) is not None)
    return full if served.checker.violations(least) else least


def _event_id(served: Served, value: dict[str, Any]) -> str:
    """The event's own key where it is one plain text, as an order's number is."""
    column = served.stream.column(served.stream.key[0]) if len(served.stream.key) == 1 else None
    found = value.get(column.name) if column and column.pointer == (column.name,) else None
    return (
        found if isinstance(found, str) and found.isascii() and '"' not in found and " " not in found else "example-1"
    )


def _placed(values: Iterator[tuple[Column, Any]]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for column, value in values:
        put(made, column.pointer, value)
    return made


def _value(column: Column) -> Any:
    """The contract's example, else, for what must be there, a value of the type."""
    if column.examples:
        return column.examples[0]
    if column.fields:
        inside = {child.name: value for child in column.fields if (value := _value(child)) is not None}
        return inside or None
    if column.allowed:
        return column.allowed[0]
    if not column.required:
        return None
    low = column.limits.minimum
    match column.logical_type:
        case "integer" | "number":
            return low if low is not None else 1
        case "boolean":
            return True
        case "timestamp" | "date" | "time":
            return EPOCHS[column.encoding] if column.encoding else TIMES[column.logical_type]
        case "array":
            item = _value(column.items) if column.items else None
            return [item] * (column.limits.min_items or 1) if item is not None else []
        case "object":
            return {}
        case _:
            return FORMATS.get(column.format or "", "text".ljust(column.limits.min_length or 0, "x"))
