"""A form as somebody filled it in: its texts, kept as they are for showing again, and the event that they mean."""

import uuid
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, tzinfo
from decimal import Decimal, InvalidOperation
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from ingest_gateway import csrf, forms
from ingest_gateway.bodies import Events
from ingest_gateway.fields import Field, flat
from ingest_gateway.problems import Problem
from ingest_gateway.typed_text import SkippedTime, in_zone, put
from ingest_gateway.words import Words

ID, ZONE = "_id", "_zone"  # no column's name begins with _
REGIONS = (
    "Africa", "America", "Antarctica", "Arctic", "Asia", "Atlantic", "Australia", "Europe", "Indian", "Pacific",
)  # fmt: skip


@dataclass(frozen=True)
class Filled:
    """`id` marks one form that was opened: the same entry from it, however often it is sent, is one event."""

    texts: dict[str, list[str]] = field(default_factory=dict)
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    zone_name: str = "UTC"
    token: str = ""

    @staticmethod
    def of(sent: forms.Fields, some: tuple[Field, ...]) -> "Filled":
        """Read what was posted. Raises Problem 400 where it is not what the page sends."""
        texts = forms.grouped(sent)
        own = {name: texts.pop(name, [""])[-1] for name in (ID, ZONE, csrf.FIELD)}
        zone_name = own[ZONE] or "UTC"
        if zone_name not in zones():
            raise Problem(400, "not-a-form", f"{ZONE} names no time zone")
        for one in flat(some):
            if one.name in texts:
                texts[one.name] = _split(one, texts[one.name])
        try:
            opened = str(uuid.UUID(own[ID]))
        except ValueError:
            opened = str(uuid.uuid4())
        return Filled(texts, opened, zone_name, own[csrf.FIELD])

    @property
    def zone(self) -> tzinfo:
        """In which the form's times are."""
        return UTC if self.zone_name == "UTC" else ZoneInfo(self.zone_name)

    @property
    def given(self) -> set[str]:
        """The names of the fields that hold something."""
        return {name for name, texts in self.texts.items() if any(text.strip() for text in texts)}

    def text(self, name: str) -> str:
        """What to show in a field."""
        return "\n".join(self.texts.get(name, ()))

    def event(self, some: tuple[Field, ...]) -> tuple[Events, set[str]]:
        """The event, and the fields whose time was skipped by their zone's clocks. Raises Problem 400."""
        value: dict[str, Any] = {}
        skipped: set[str] = set()
        for one in flat(some):
            mean = forms.items if one.widget == "lines" else forms.meaning
            try:
                meant = mean(one.column, self.texts.get(one.name, [""]), self.zone)
            except SkippedTime:
                skipped.add(one.name)
                continue
            if meant is not None:
                put(value, one.column.pointer, meant)
        for name in self.unknown(some):
            put(value, (name,), self.texts[name][-1])
        return forms.payload(value), skipped

    def unknown(self, some: tuple[Field, ...]) -> list[str]:
        """What was sent for fields that the contract has no more: it is kept as text, as the API keeps it."""
        others = self.given - {one.name for one in flat(some)}
        return sorted(name for name in others if not name.startswith("_"))

    def event_id(self, payload: bytes) -> str:
        """The same for the same entry of one opened form; another once the entry was changed."""
        return str(uuid.uuid5(uuid.UUID(self.id), payload.decode()))

    def shown(self, one: Field, w: Words) -> str:
        """A field's text as a person of that language would write it."""
        text = self.text(one.name)
        try:
            if one.widget == "number":
                return w.number(Decimal(text))
            if one.in_zone:
                sent = in_zone(one.column, text, self.zone)
                return w.moment(datetime.fromisoformat(sent), self.zone)
            if one.widget == "date":
                return w.day(date.fromisoformat(text))
        except (ValueError, InvalidOperation, OverflowError):
            return text
        if one.column.logical_type == "boolean":
            return w("yes") if text == "true" else w("no")
        return text


@cache
def zones() -> frozenset[str]:
    """The names of time zones that a person would choose from."""
    return frozenset(name for name in available_timezones() if name.split("/")[0] in REGIONS) | {"UTC"}


@cache
def zones_by_region() -> tuple[tuple[str, tuple[str, ...]], ...]:
    """For the select: regions with their zones."""
    return tuple((region, tuple(sorted(z for z in zones() if z.startswith(f"{region}/")))) for region in REGIONS)


def _split(one: Field, texts: list[str]) -> list[str]:
    """Browsers end the lines of a textarea with CRLF, whatever was typed. A list has an item on each line."""
    plain = [text.replace("\r\n", "\n") for text in texts]
    if one.widget != "lines":
        return plain
    return [line.strip() for text in plain for line in text.split("\n") if line.strip()]
