"""Properties of an ODCS document → columns, key and partitioning."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date, datetime
from itertools import combinations
from typing import Any

from open_data_contract_standard.model import SchemaProperty

from catalog.contract import LOGICAL_TYPES, Column, Limits, Partition
from catalog.formats import parsed_format
from catalog.odcs_words import COLUMN_CUSTOM, ContractError, checked_pattern, clean, custom, fits

TRANSFORM = re.compile(r"(year|month|day|hour|identity|void|bucket\[[1-9]\d{0,4}\]|truncate\[[1-9]\d{0,4}\])\Z")
# What Iceberg's specification lets each transform be used on (an hour of a date says nothing).
TRANSFORMABLE = {
    "year": ("date", "timestamp"), "month": ("date", "timestamp"), "day": ("date", "timestamp"), "hour": ("timestamp",),
    "identity": ("string", "integer", "boolean", "date", "timestamp", "time"),
    "bucket": ("string", "integer", "date", "timestamp", "time"), "truncate": ("string", "integer", "time"),
    "void": LOGICAL_TYPES,
}  # fmt: skip
COLUMN_NAME = re.compile(r"[a-z][a-z0-9_]{0,127}\Z")
PAYLOAD = "payload"
INDEX = re.compile(r"(0|[1-9][0-9]*)\Z")
# Physical types, without what is in parentheses, to the logical type of a property that states none.
PHYSICAL = {
    "integer": ("tinyint", "smallint", "int", "integer", "bigint", "long", "int2", "int4", "int8", "serial", "bigserial"),
    "number": ("float", "real", "double", "double precision", "decimal", "numeric", "number", "float4", "float8"),
    "boolean": ("bool", "boolean"), "date": ("date",), "time": ("time",),
    "timestamp": ("timestamp", "timestamptz", "timestamp with time zone", "datetime"),
    "object": ("struct", "record"), "array": ("array", "list"),
}  # fmt: skip
BOUNDS = (("minimum", "maximum"), ("minLength", "maxLength"), ("minItems", "maxItems"))


def state_types(properties: Any) -> None:
    """Write the default into properties of a raw document that state no logicalType: by physicalType or members, else string.

    The standard makes it optional, but its JSON Schema (3.2.0) then takes each property for a map without a `map`.
    """
    for prop in properties if isinstance(properties, list) else ():
        if not isinstance(prop, dict):
            continue
        if "logicalType" not in prop:
            prop["logicalType"] = _implied(prop)
        state_types(prop.get("properties"))
        state_types([prop["items"]] if "items" in prop else None)


def _implied(prop: dict[str, Any]) -> str:
    if "properties" in prop or "items" in prop:
        return "object" if "properties" in prop else "array"
    physical = re.split(r"[(<]", str(prop.get("physicalType", "")).lower())[0].strip()
    return next((logical for logical, names in PHYSICAL.items() if physical in names), "string")


def columns(properties: Sequence[SchemaProperty]) -> tuple[Column, ...]:
    """All columns of a stream. Raises ContractError where two have one name or one's place is inside another's."""
    found = tuple(_column(prop, ()) for prop in properties)
    _distinct([column.name for column in found], "")
    for one, other in combinations(found, 2):
        short, long = sorted((one, other), key=lambda column: len(column.pointer))
        if long.pointer[: len(short.pointer)] == short.pointer:
            raise ContractError(
                f"properties {short.name} and {long.name} both read /{'/'.join(map(str, short.pointer))}: give one of them "
                "another jsonPointer"
            )
        shared = next((n for n, (a, b) in enumerate(zip(one.pointer, other.pointer, strict=False)) if a != b), None)
        if shared is not None and type(one.pointer[shared]) is not type(other.pointer[shared]):
            raise ContractError(
                f"properties {one.name} and {other.name} take the same place for a list and for an object"
            )
    return found


def key(properties: Sequence[SchemaProperty]) -> tuple[str, ...]:
    """The names of the primary key, in its order."""
    chosen = sorted((p for p in properties if p.primaryKey), key=lambda p: p.primaryKeyPosition or 0)
    for prop in chosen:
        if prop.logicalType in ("object", "array"):
            raise ContractError(f"primaryKey {prop.name} is an {prop.logicalType}; a key is a plain value")
    return tuple(prop.name or "" for prop in chosen)


def partitions(properties: Sequence[SchemaProperty], of: Sequence[Column]) -> tuple[Partition, ...]:
    """The partition fields, in their order."""
    types = {column.name: column.logical_type for column in of}
    chosen = sorted((p for p in properties if p.partitioned), key=lambda p: p.partitionKeyPosition or 0)
    return tuple(Partition(p.name or "", _transform(p, types[p.name or ""])) for p in chosen)


def as_required(column: Column) -> Column:
    """The column, with a value in each record."""
    return replace(column, required=True)


def _column(prop: SchemaProperty, above: tuple[str | int, ...]) -> Column:
    name = prop.name or ""
    if not COLUMN_NAME.match(name):
        raise ContractError(
            f"property name {name!r}: a column is a lower-case letter, then lower-case letters, digits and _. Where the payload "
            "spells it otherwise, say so by jsonPointer"
        )
    if name == PAYLOAD and not above:
        raise ContractError(
            f"property {PAYLOAD}: quarantine keeps the event's bytes under this name; call it otherwise, with "
            f"jsonPointer /{PAYLOAD}"
        )
    logical = prop.logicalType or "string"
    if logical not in LOGICAL_TYPES:
        raise ContractError(
            f"property {name}: logicalType {logical} is not supported; use one of {', '.join(LOGICAL_TYPES)}"
        )
    own = _custom(prop, nested=bool(above))
    options = prop.logicalTypeOptions or {}
    pointer = _pointer(own["jsonPointer"], name) if "jsonPointer" in own else (*above, name)
    encoding = own.get("encoding")
    if encoding is not None and (logical != "timestamp" or encoding not in ("epoch-millis", "epoch-seconds")):
        raise ContractError(f"property {name}: encoding is for timestamps and may be epoch-millis or epoch-seconds")
    fields = tuple(_column(child, pointer) for child in prop.properties or ())
    _distinct([child.name for child in fields], f"property {name}: ")
    required_below = set(options.get("required", ()))
    item = prop.items and prop.items.model_copy(update={"name": prop.items.name or "item"})
    return Column(
        name=name,
        logical_type=logical,
        physical_type=prop.physicalType,
        title=prop.businessName or name.replace("_", " ").capitalize(),
        description=clean(prop.description),
        required=bool(prop.required or prop.primaryKey),  # a primary key is never null
        unique=bool(prop.unique),
        pointer=pointer,
        encoding=encoding,
        format=options.get("format"),
        allowed=_allowed(prop, name, logical, encoding is not None),
        limits=_limits(options, name, logical, options.get("format")),
        classification=prop.classification,
        examples=tuple(prop.examples or ()),
        fields=tuple(as_required(child) if child.name in required_below else child for child in fields),
        items=_column(item, (*pointer, "*")) if item else None,
    )


def _custom(prop: SchemaProperty, nested: bool) -> dict[str, Any]:
    try:
        own = custom(prop.customProperties, COLUMN_CUSTOM)
    except ContractError as failure:
        raise ContractError(f"property {prop.name}: {failure}") from None
    if nested:
        at_top = [word for word, there in (("primaryKey", prop.primaryKey), ("partitioned", prop.partitioned)) if there]
        at_top += [word for word in ("jsonPointer", "partitionTransform") if word in own]
        if at_top:
            raise ContractError(f"property {prop.name} is inside another, where {at_top[0]} has no meaning")
    return own


def _allowed(prop: SchemaProperty, name: str, logical: str, encoded: bool) -> tuple[Any, ...]:
    values = tuple(entry.value for entry in prop.enum or ())
    for value in values:
        if not fits(value, logical, encoded):
            # YAML reads no, on and 1 as other things than text.
            raise ContractError(f"property {name}: enum has {value!r}, which is no {logical}; quote it if it is text")
    return values


def _limits(options: dict[str, Any], name: str, logical: str, form: str | None) -> Limits:
    if logical in ("date", "timestamp", "time"):
        if form is not None:
            parsed_format(form, name, dated=logical != "time")
        for word in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"):
            if word in options:
                _moment(options[word], word, name, logical, form)
    for low, high in BOUNDS:
        if low in options and high in options and options[low] > options[high]:
            raise ContractError(f"property {name}: {low} {options[low]} is more than {high} {options[high]}")
    return Limits(
        minimum=options.get("minimum"), maximum=options.get("maximum"),
        exclusive_minimum=options.get("exclusiveMinimum"), exclusive_maximum=options.get("exclusiveMaximum"),
        multiple_of=options.get("multipleOf"), min_length=options.get("minLength"), max_length=options.get("maxLength"),
        pattern=checked_pattern(options["pattern"], name) if "pattern" in options else None,
        min_items=options.get("minItems"), max_items=options.get("maxItems"),
        unique_items=bool(options.get("uniqueItems", False)),
    )  # fmt: skip


def _moment(text: Any, word: str, name: str, logical: str, form: str | None) -> None:
    if logical == "time":
        return
    try:
        if form is not None:
            parsed_format(form, name).read(text)
        else:
            date.fromisoformat(text) if logical == "date" else datetime.fromisoformat(text)
    except (ValueError, TypeError):
        raise ContractError(
            f"property {name}: {word} is {text!r}, which is no {logical} in {form or 'ISO 8601'}"
        ) from None


def _pointer(text: Any, name: str) -> tuple[str | int, ...]:
    """An RFC 6901 JSON pointer. A segment of digits without leading zeros is an array index."""
    valid = isinstance(text, str) and text.startswith("/") and text != "/" and not re.search("~(?![01])", text)
    if not valid:
        raise ContractError(f"property {name}: jsonPointer is {text!r}; expected /like/this or /list/0")
    segments = [segment.replace("~1", "/").replace("~0", "~") for segment in text[1:].split("/")]
    if INDEX.match(segments[0]):
        raise ContractError(f"property {name}: jsonPointer {text} begins with an index, but an event is an object")
    return tuple(int(segment) if INDEX.match(segment) else segment for segment in segments)


def _transform(prop: SchemaProperty, logical: str) -> str:
    default = "day" if logical in ("date", "timestamp") else "identity"
    transform = str(custom(prop.customProperties, COLUMN_CUSTOM).get("partitionTransform", default))
    if not TRANSFORM.match(transform):
        raise ContractError(
            f"property {prop.name}: partitionTransform {transform!r}; use year, month, day, hour, identity, bucket[N] "
            "or truncate[N]"
        )
    if logical not in TRANSFORMABLE[transform.split("[")[0]]:
        raise ContractError(f"property {prop.name}: a {logical} can't be partitioned by {transform}")
    return transform


def _distinct(names: Sequence[str], where: str) -> None:
    for name in _twice(names):
        raise ContractError(f"{where}property {name} is there twice")


def _twice(names: Sequence[str]) -> Iterator[str]:
    return (name for n, name in enumerate(names) if name in names[:n])
