"""A contract's columns as fields of a form: which widget each is, and its limits."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

from catalog.contract import Column, Stream
from catalog.json_schema import column_schema

Widget = Literal[
    "text", "textarea", "email", "url", "number", "date", "time", "datetime-local", "radio", "select", "lines", "json", "group"
]  # fmt: skip
MOST_RADIOS = 5  # more are a select
LONG_TEXT = 250  # characters from which a text gets several lines
INPUTS: dict[str, Widget] = {"email": "email", "uri": "url"}


@dataclass(frozen=True)
class Field:
    """One field. `name` is dotted inside an object; a group has parts and no value of its own."""

    name: str
    column: Column
    widget: Widget
    attributes: dict[str, str] = field(default_factory=dict)
    options: tuple[str, ...] = ()
    parts: tuple["Field", ...] = ()

    @property
    def id(self) -> str:
        """Of the HTML element; unique, as names are."""
        return f"f-{self.name.replace('.', '-')}"

    @property
    def in_zone(self) -> bool:
        """Whether its text is a local time."""
        return self.widget == "datetime-local"


def fields(stream: Stream) -> tuple[Field, ...]:
    """The fields of a stream, in the contract's order."""
    return tuple(_field(column, "") for column in stream.columns)


def flat(some: tuple[Field, ...]) -> Iterator[Field]:
    """All fields that hold a value, those of groups too."""
    for one in some:
        yield from flat(one.parts) if one.widget == "group" else (one,)


def all_fields(some: tuple[Field, ...]) -> Iterator[Field]:
    """All fields, a group before its parts."""
    for one in some:
        yield one
        yield from all_fields(one.parts)


def _field(column: Column, above: str) -> Field:
    name = f"{above}{column.name}"
    if column.allowed:
        options = tuple(map(_text, column.allowed))
        return Field(name, column, "radio" if len(options) <= MOST_RADIOS else "select", options=options)
    match column.logical_type:
        case "object" if column.fields:
            return Field(name, column, "group", parts=tuple(_field(inner, f"{name}.") for inner in column.fields))
        case "array" if column.items and column.items.logical_type not in ("array", "object"):
            return Field(name, column, "lines")
        case "object" | "array":
            return Field(name, column, "json")
        case "boolean":
            return Field(name, column, "radio", options=("true", "false"))
        case "integer" | "number":
            return Field(name, column, "number", _number_limits(column))
        case "timestamp" | "date" | "time" if column.format:
            return Field(name, column, "text")
        case "timestamp":
            return Field(name, column, "datetime-local", {"step": "1"})
        case "date" | "time" as kind:
            return Field(name, column, kind, _date_limits(column) if kind == "date" else {"step": "1"})
        case _:
            return Field(name, column, _text_widget(column))


def _text_widget(column: Column) -> Widget:
    if column.format in INPUTS:
        return INPUTS[column.format]
    return "textarea" if (column.limits.max_length or 0) > LONG_TEXT else "text"


def _number_limits(column: Column) -> dict[str, str]:
    """`min`, `max` and `step` that never stop what the schema takes: a browser counts steps from `min`, the schema from 0."""
    schema = column_schema(column)
    low, high = (
        schema.get("minimum", schema.get("exclusiveMinimum")),
        schema.get("maximum", schema.get("exclusiveMaximum")),
    )
    whole = column.logical_type == "integer"
    if whole:
        low = _next(schema.get("minimum"), schema.get("exclusiveMinimum"), math.ceil, 1)
        high = _next(schema.get("maximum"), schema.get("exclusiveMaximum"), math.floor, -1)
    step = Decimal(str(schema["multipleOf"])) if "multipleOf" in schema else Decimal(1) if whole else None
    if step is not None and (low is None or Decimal(str(low)) % step == 0):
        found = {"step": format(step, "f")}
    else:
        found = {"step": "1" if whole else "any"}
    # Bounds of a column's own type, such as 64 bits, say nothing to a person.
    if low is not None and abs(low) < 2**31 - 1:
        found["min"] = _text(low)
    if high is not None and abs(high) < 2**31 - 1:
        found["max"] = _text(high)
    return found


def _next(bound: Any, beyond: Any, rounded: Any, direction: int) -> int | None:
    """The first whole number within an inclusive and an exclusive bound, either of which may be missing."""
    found = [] if bound is None else [rounded(bound)]
    if beyond is not None:
        near = rounded(beyond)
        found.append(near + direction if near == beyond else near)
    return (max if direction > 0 else min)(found) if found else None


def _date_limits(column: Column) -> dict[str, str]:
    bounds = (("min", column.limits.minimum), ("max", column.limits.maximum))
    return {word: str(bound) for word, bound in bounds if bound is not None}


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return format(Decimal(repr(value)), "f") if isinstance(value, float) else str(value)
