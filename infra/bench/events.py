"""The demo's records as events of a benchmark's run: with ids of the run, and keys of their own."""

import itertools
import random
import uuid
from datetime import UTC, datetime

import orjson

from infra.demo.sets import DemoSet
from ingest_gateway.client import Event

# Of users that a run has sent, those that may change again.
KNOWN = 5_000


class Source:
    """Events of one stream. Orders and users are new ones, so that a run does not change the demo's rows; every other user is a
    later state of one that this run has sent. Times keep the record's own."""

    def __init__(self, demo: DemoSet, run: str) -> None:
        self.stream = demo.stream.name
        self._prefix = f"{run}-{self.stream}-"
        self._records = itertools.cycle(demo.records)
        self._number = itertools.count()
        self._random = random.Random(7)
        self._users: list[str] = []

    def take(self, count: int) -> list[Event]:
        """The next ones."""
        return [Event(f"{self._prefix}{n}", self._payload()) for n in itertools.islice(self._number, count)]

    def _payload(self) -> bytes:
        payload = next(self._records).payload
        if self.stream not in ("orders", "users"):
            return payload
        body = orjson.loads(payload)
        if self.stream == "orders":
            body["order_id"] = str(uuid.uuid4())
        else:
            body["user_id"] = self._user()
            body["updated_at"] = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return orjson.dumps(body)

    def _user(self) -> str:
        if len(self._users) > 100 and self._random.random() < 0.5:
            return self._random.choice(self._users)
        self._users.append(str(uuid.uuid4()))
        if len(self._users) > 2 * KNOWN:
            del self._users[:KNOWN]
        return self._users[-1]
