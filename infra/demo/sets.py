"""The four demo sets as records with event ids, read the way `sluice send` reads files."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import orjson

from catalog.contract import Stream
from catalog.errors import SluiceError
from infra.demo import generate
from ingest_gateway.readers import Record
from ingest_gateway.send import Identify, from_member, identifier
from ingest_gateway.sources import open_source

DATA = Path(__file__).parent / "data"


@dataclass(frozen=True)
class DemoSet:
    """A stream's demo records, in order, each with its event id. `kept` of them are rows of silver or quarantine in the end."""

    stream: Stream
    records: tuple[Record, ...]
    ids: tuple[str, ...]

    @property
    def kept(self) -> int:
        """Distinct events, or distinct keys of an entity stream."""
        if self.stream.kind == "event":
            return len(set(self.ids))
        identify = from_member(self.stream.column(self.stream.key[0]).pointer)
        return len({identify(record.payload) for record in self.records})


def demo_sets(streams: Mapping[str, Stream]) -> list[DemoSet]:
    """The sets whose streams have a contract. Raises SluiceError where there is none of the four."""
    found = []
    for name, (read, identify) in _SETS.items():
        if name in streams:
            records = tuple(read(streams[name]))
            give = identify()
            found.append(DemoSet(streams[name], records, tuple(give(record.payload) for record in records)))
    if not found:
        raise SluiceError(f"The demo needs contracts of {', '.join(_SETS)}, and SLUICE_CONTRACTS holds none of them")
    return found


def _file(name: str) -> Callable[[Stream], Iterator[Record]]:
    def read(stream: Stream) -> Iterator[Record]:
        with closing(open_source(str(DATA / name), stream)) as source:
            yield from source.records

    return read


def _made(records: Callable[[], Iterable[generate.Record]]) -> Callable[[Stream], Iterator[Record]]:
    def read(stream: Stream) -> Iterator[Record]:
        for number, record in enumerate(records(), 1):
            yield Record(orjson.dumps(record), f"record {number}")

    return read


_SETS: dict[str, tuple[Callable[[Stream], Iterator[Record]], Callable[[], Identify]]] = {
    "wildlife_strikes": (_file("birdstrikes.csv"), lambda: identifier("wildlife_strikes")),
    "earthquakes": (_file("earthquakes.json"), lambda: identifier("earthquakes")),
    # The shop's own order id tells a resend from a second order.
    "orders": (_made(generate.orders), lambda: from_member(("order_id",))),
    "users": (_made(generate.users), lambda: identifier("users")),
}
