"""Judge parsed events against a stream's schema. Pure: values in, violations out."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import jsonschema_rs

from catalog.contract import Stream
from catalog.errors import SluiceError
from catalog.json_schema import json_schema, validator
from ingest_gateway.ranges import taken_out

MOST_VIOLATIONS = 20  # of one event; the sender mends these and sends again
LIMITS = (
    "limit",
    "types",
    "options",
    "pattern",
    "format",
    "multiple_of",
)  # what jsonschema-rs calls what a rule asks for
LONGEST_MESSAGE = 300  # characters; a message quotes the value


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that is wrong with an event: where (RFC 6901 pointer into what was sent) and what.

    `rule` is JSON Schema's word for it and `limit` what the schema asks for, so that a page can say it in another language.
    """

    pointer: str
    message: str
    rule: str = field(default="", compare=False)
    limit: Any = field(default=None, compare=False)


class Checker:
    """A stream's compiled schema. Raises SluiceError where the contract's schema cannot be compiled."""

    def __init__(self, stream: Stream) -> None:
        self.schema = json_schema(stream)
        one = {word: part for word, part in self.schema.items() if word != "$schema"}
        self._one = _compiled(stream, one)
        self._ranges, rest = taken_out(one, [column for column in stream.columns if column.logical_type == "number"])
        self._many = _compiled(stream, {"type": "array", "items": rest})

    def all_valid(self, values: list[Any]) -> bool:
        """Whether every value keeps the contract: one call for a batch, which is what nearly every batch needs."""
        return self._many.is_valid(values) and all(each.holds(values) for each in self._ranges)

    def violations(self, value: Any) -> tuple[Violation, ...]:
        """What is wrong with one value; empty where it keeps the contract."""
        if self._one.is_valid(value):
            return ()
        return tuple(_violation(error) for error in islice(self._one.iter_errors(value), MOST_VIOLATIONS))


def _compiled(stream: Stream, schema: dict[str, Any]) -> jsonschema_rs.Draft202012Validator:
    try:
        return validator(schema)
    except ValueError as failure:
        reason = str(failure).splitlines()[0]
        raise SluiceError(f"{stream.name}: the contract's schema cannot be checked at the gateway: {reason}") from None


def _violation(error: jsonschema_rs.ValidationError) -> Violation:
    path = list(error.instance_path)
    message = error.message
    if isinstance(error.kind, jsonschema_rs.ValidationErrorKind.Required):
        # Point at the member that is missing, not at the object that lacks it.
        path.append(error.kind.property)
        message = "is required"
    if len(message) > LONGEST_MESSAGE:
        message = message[:LONGEST_MESSAGE] + "…"
    facts = error.kind.as_dict()
    limit = next((facts[name] for name in LIMITS if name in facts), None)
    return Violation(pointer(path), message, error.kind.name, limit)


def pointer(path: Iterable[str | int]) -> str:
    """An RFC 6901 pointer."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)


def too_deep(payloads: Sequence[bytes], values: Sequence[Any], most: int) -> Iterable[int]:
    """Indices of the events that nest objects and lists more than `most` levels."""
    for index, payload in enumerate(payloads):
        # Each level takes two brackets at least, and counting them is a tenth of the price of a walk.
        if (
            len(payload) > 2 * most
            and payload.count(b"{") + payload.count(b"[") > most
            and _deeper(values[index], most)
        ):
            yield index


def _deeper(value: Any, most: int) -> bool:
    level = [value]
    for _ in range(most):
        level = [
            child
            for parent in level
            if isinstance(parent, dict | list)
            for child in (parent.values() if isinstance(parent, dict) else parent)
        ]
    return any(isinstance(value, dict | list) for value in level)
