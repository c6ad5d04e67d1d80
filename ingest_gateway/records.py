"""What the gateway writes to Kafka: an event is a record with a key, the payload as it came and headers."""

from collections.abc import Sequence
from dataclasses import dataclass

Header = tuple[str, bytes]


@dataclass(slots=True)
class Records:
    """What one request gives to one topic, as columns. `headers` are those of all records, or one list for each.

    All without the header of the event's id, which `ids` has.
    """

    keys: Sequence[bytes]
    payloads: Sequence[bytes]
    ids: Sequence[bytes]
    headers: list[Header]
    own_headers: Sequence[list[Header]] | None
    timestamp_ms: int
