"""The JSON Schema (2020-12) of a stream's payload: what the gateway checks, and what OpenAPI and the form show."""

from decimal import Decimal
from typing import Any

import jsonschema_rs

from catalog.contract import Column, Stream

FORMATS = {"uuid", "email", "uri", "hostname", "ipv4", "ipv6"}
INTEGER_BOUNDS = {
    "int": (-(2**31), 2**31 - 1), "integer": (-(2**31), 2**31 - 1),
    "smallint": (-(2**31), 2**31 - 1), "i8": (-128, 127), "i16": (-(2**15), 2**15 - 1),
    "u8": (0, 255), "u16": (0, 2**16 - 1), "u32": (0, 2**32 - 1),
    "i32": (-(2**31), 2**31 - 1), "tinyint": (-(2**31), 2**31 - 1),
}  # fmt: skip
LONG = (-(2**63), 2**63 - 1)
GREATEST = 1.7976931348623157e308  # of a double; a whole number of more digits would become infinite
EXACT_DIGITS = 15  # up to which a validator that computes with doubles tells decimals apart
TIME = r"^([01][0-9]|2[0-3]):[0-5][0-9](:([0-5][0-9]|60)([.][0-9]+)?)?([zZ]|[+-][0-9]{2}:[0-9]{2})?$"
# 0001-01-01 … 9999-12-31 in seconds: what every engine over the tables can show.
EARLIEST, LATEST = -62_135_596_800, 253_402_300_799


def json_schema(stream: Stream) -> dict[str, Any]:
    """An object schema. Unknown members are allowed: bronze keeps them, silver takes what the contract names."""
    root = _Node()
    for column in stream.columns:
        root.place(column, column.pointer)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": stream.title,
        "description": stream.description,
        **root.schema(),
        "type": "object",
    }


def validator(schema: dict[str, Any]) -> jsonschema_rs.Draft202012Validator:
    """A compiled schema, whose formats are checked. The gateway and the stream job judge by the same. Raises ValueError."""
    try:
        # The linear-time engine first: no pattern can then be made to run long by a crafted value.
        return _compiled(schema, jsonschema_rs.RegexOptions())
    except (ValueError, jsonschema_rs.ReferencingError):
        pass
    try:
        return _compiled(schema, jsonschema_rs.FancyRegexOptions(backtrack_limit=100_000))
    except jsonschema_rs.ReferencingError as failure:
        raise ValueError(str(failure)) from None


def _compiled(schema: dict[str, Any], engine: Any) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(schema, validate_formats=True, pattern_options=engine)


def column_schema(column: Column) -> dict[str, Any]:
    """The schema of one column's value, without regard to `required`."""
    schema = _typed(column)
    if column.allowed:
        schema["enum"] = list(column.allowed)
    if not column.required:
        schema = _nullable(schema)
    for word, value in (("title", column.title), ("description", column.description)):
        if value:
            schema[word] = value
    if column.examples:
        schema["examples"] = list(column.examples)
    return schema


def _typed(column: Column) -> dict[str, Any]:
    limits = column.limits
    match column.logical_type:
        case "string":
            return _without_none(
                type="string", minLength=limits.min_length, maxLength=limits.max_length, pattern=limits.pattern,
                format=column.format if column.format in FORMATS else None,
            )  # fmt: skip
        case "integer":
            low, high = integer_bounds(column)
            return _without_none(
                type="integer", minimum=_tighter(low, limits.minimum, max), maximum=_tighter(high, limits.maximum, min),
                exclusiveMinimum=limits.exclusive_minimum, exclusiveMaximum=limits.exclusive_maximum,
                multipleOf=limits.multiple_of,
            )  # fmt: skip
        case "number":
            return _number(column)
        case "boolean":
            return {"type": "boolean"}
        case "timestamp" if column.encoding == "epoch-millis":
            return {"type": "integer", "minimum": EARLIEST * 1000, "maximum": LATEST * 1000 + 999}
        case "timestamp" if column.encoding:
            return {"type": "number", "minimum": EARLIEST, "exclusiveMaximum": LATEST + 1}
        case "time" if not column.format:
            # JSON Schema's own `time` insists on an offset, which a time of day seldom has.
            return {"type": "string", "pattern": TIME}
        case "timestamp" | "date" | "time":
            # A pattern of its own cannot be checked as a JSON Schema format: the stream job judges it.
            formats = {"timestamp": "date-time", "date": "date"}
            return {"type": "string"} if column.format else {"type": "string", "format": formats[column.logical_type]}
        case "array":
            schema = _without_none(type="array", minItems=limits.min_items, maxItems=limits.max_items)
            if limits.unique_items:
                schema["uniqueItems"] = True
            if column.items:
                schema["items"] = column_schema(column.items)
            return schema
        case _:
            return _object(column)


def integer_bounds(column: Column) -> tuple[int, int]:
    """The smallest and greatest whole number that the column's Iceberg type holds."""
    stated = [INTEGER_BOUNDS.get(kind.lower(), LONG) for kind in (column.physical_type, column.format) if kind]
    return max((low for low, _ in stated), default=LONG[0]), min((high for _, high in stated), default=LONG[1])


def decimal_step(column: Column) -> float | None:
    """What a decimal column's numbers are multiples of; None where that is not sure by arithmetic on doubles, and for others."""
    if column.decimal is None or column.decimal[0] > EXACT_DIGITS:
        return None
    scale = column.decimal[1]
    return float(f"1e-{scale}") if scale else 1


def _number(column: Column) -> dict[str, Any]:
    limits = column.limits
    schema = _without_none(
        type="number", minimum=limits.minimum, maximum=limits.maximum, multipleOf=limits.multiple_of,
        exclusiveMinimum=limits.exclusive_minimum, exclusiveMaximum=limits.exclusive_maximum,
    )  # fmt: skip
    step = decimal_step(column)
    if column.decimal and step is not None:
        # More digits than the column has would be rounded away, or not fit.
        precision, scale = column.decimal
        bound = 10 ** (precision - scale)
        schema["exclusiveMinimum"] = _tighter(-bound, limits.exclusive_minimum, max)
        schema["exclusiveMaximum"] = _tighter(bound, limits.exclusive_maximum, min)
        if limits.multiple_of is None:
            schema["multipleOf"] = step
        elif Decimal(str(limits.multiple_of)) % Decimal(str(step)):
            schema["allOf"] = [{"multipleOf": step}]  # the contract's own step is finer, or another
    elif not column.decimal:
        if limits.exclusive_minimum is None:
            schema.setdefault("minimum", -GREATEST)
        if limits.exclusive_maximum is None:
            schema.setdefault("maximum", GREATEST)
    return schema


def _object(column: Column) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object"}
    if column.fields:
        schema["properties"] = {child.name: column_schema(child) for child in column.fields}
        required = [child.name for child in column.fields if child.required]
        if required:
            schema["required"] = required
    return schema


class _Node:
    """A place in the payload that columns with a `jsonPointer` of their own imply: an object or an array."""

    def __init__(self) -> None:
        self.column: Column | None = None
        self.children: dict[str | int, _Node] = {}

    def place(self, column: Column, pointer: tuple[str | int, ...]) -> None:
        if not pointer:
            self.column = column
            return
        self.children.setdefault(pointer[0], _Node()).place(column, pointer[1:])

    @property
    def required(self) -> bool:
        return (self.column is not None and self.column.required) or any(c.required for c in self.children.values())

    def schema(self) -> dict[str, Any]:
        if self.column is not None:
            return column_schema(self.column)
        if self.children and all(isinstance(key, int) for key in self.children):
            return self._array()
        schema: dict[str, Any] = {
            "type": "object",
            "properties": {str(key): child.schema() for key, child in self.children.items()},
        }
        required = [str(key) for key, child in self.children.items() if child.required]
        if required:
            schema["required"] = required
        return schema if required else _nullable(schema)

    def _array(self) -> dict[str, Any]:
        highest = max(key for key in self.children if isinstance(key, int))
        items = [self.children[i].schema() if i in self.children else True for i in range(highest + 1)]
        needed = [key for key, child in self.children.items() if child.required and isinstance(key, int)]
        schema: dict[str, Any] = {"type": "array", "prefixItems": items}
        if needed:
            schema["minItems"] = max(needed) + 1
        return schema if needed else _nullable(schema)


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    # An absent member and null are the same to a table; the sender may write either.
    widened = dict(schema)
    if "type" in widened:
        widened["type"] = [widened["type"], "null"]
    if "enum" in widened:
        widened["enum"] = [*widened["enum"], None]
    return widened


def _tighter(bound: int, limit: Any, choose: Any) -> Any:
    return bound if limit is None else choose(bound, limit)


def _without_none(**words: Any) -> dict[str, Any]:
    return {word: value for word, value in words.items() if value is not None}
