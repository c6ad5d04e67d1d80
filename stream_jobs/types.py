"""A contract's types as Arrow keeps them and as JSON writes them."""

from typing import Annotated, Any

import msgspec
import pyarrow as pa

from catalog.contract import Column
from catalog.json_schema import integer_bounds

UTC_TIMESTAMP = pa.timestamp("us", "UTC")


def arrow_type(column: Column) -> pa.DataType:
    """The Arrow type of a column: the one that Iceberg's type of `catalog.tables.iceberg_type` is read as."""
    match column.logical_type:
        case "boolean":
            return pa.bool_()
        case "date":
            return pa.date32()
        case "timestamp":
            return UTC_TIMESTAMP
        case "integer":
            return pa.int32() if column.narrow else pa.int64()
        case "number":
            if column.decimal:
                return pa.decimal128(*column.decimal)
            single = (column.physical_type or "").lower() in ("float", "real") or column.format == "f32"
            return pa.float32() if single else pa.float64()
        case "array" if column.items is not None:
            return pa.list_(arrow_type(column.items))
        case "object" if column.fields:
            return pa.struct([(child.name, arrow_type(child)) for child in column.fields])
        case _:
            return pa.string()


def json_type(column: Column) -> Any:
    """The JSON that a well-formed payload has for this column, as a type for msgspec. Dates and times are still text.

    Raw is the text of the JSON: of decimals, for a float has not all their digits, and of what is kept as text.
    """
    match column.logical_type:
        case "integer":
            low, high = integer_bounds(column)
            return Annotated[int, msgspec.Meta(ge=low, le=high)]
        case "number":
            return msgspec.Raw if column.decimal else float
        case "boolean":
            return bool
        case "timestamp" if column.encoding:
            return msgspec.Raw if column.encoding == "epoch-seconds" else int
        case "string" | "date" | "timestamp" | "time":
            return str
        case "array" if column.items is not None:
            return list[or_null(json_type(column.items))]  # type: ignore[misc]
        case "object" if column.fields:
            members = [(child.name, or_null(json_type(child)), None) for child in column.fields]
            return msgspec.defstruct("Nested", members)
        case _:
            return msgspec.Raw


def or_null(kind: Any) -> Any:
    """A type of `json_type`, or null."""
    # Raw is null's text too; in a union msgspec would take nothing else for it.
    return kind if kind is msgspec.Raw else kind | None


def describe(column: Column) -> str:
    """What a value of this column has to be, to follow "is not"."""
    match column.logical_type:
        case "integer":
            low, high = integer_bounds(column)
            return f"a whole number from {low} to {high}"
        case "number":
            if column.decimal:
                precision, scale = column.decimal
                return f"a number with at most {precision - scale} digits before and {scale} after the point"
            return "a number"
        case "boolean":
            return "true or false"
        case "date":
            return f"a date like {column.format or 'yyyy-MM-dd'}"
        case "timestamp":
            if column.encoding:
                return f"a time in {column.encoding.replace('-', ' ')}"
            return f"a time like {column.format or '2025-01-31T23:59:59Z'}"
        case "time":
            return "a time of day like 23:59:59"
        case kind_name:
            return f"an {kind_name} of the contract's form"
