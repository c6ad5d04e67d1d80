"""What a contract forbids, over whole columns: each check says which rows break it, and in which words."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from catalog.contract import Column, Rule, Stream
from stream_jobs.columns import ColumnConverter, Typed
from stream_jobs.types import arrow_type, describe

FORMATS = {
    "uuid": r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$",
    "email": r"^[^@\s]+@[^@\s]+$",
    "uri": r"^[A-Za-z][A-Za-z0-9+.-]*:\S*$",
    "ipv4": r"^((25[0-5]|2[0-4]\d|1?\d?\d)(\.|$)){4}$",
}
Mask = NDArray[np.bool_]
Columns = Mapping[str, Typed]


@dataclass(frozen=True)
class Check:
    """One reason to refuse a row. `broken` gives a mask over the rows; a null value breaks nothing but `required` and `type`."""

    rule: str
    column: str | None
    message: str
    broken: Callable[[Columns], Mask]

    def violation(self) -> dict[str, str | None]:
        """As quarantine's `_violations` holds it."""
        return {"rule": self.rule, "column": self.column, "severity": "error", "message": self.message}


def checks(stream: Stream) -> list[Check]:
    """All that can be judged from one column, in the contract's order; then the rules of severity error that need no SQL."""
    found = [check for column in stream.columns for check in _of_column(column)]
    # A warning is for dashboards and tests of the tables; it moves no row.
    simple = (rule for rule in stream.rules if rule.severity == "error" and rule.expression is None)
    return [*found, *(_of_rule(rule, stream.column(rule.column or "")) for rule in simple)]


def mask_of(array: pa.Array | pa.ChunkedArray) -> Mask:
    """A boolean array as a mask; null counts as no."""
    return np.asarray(pc.fill_null(array, False), dtype=np.bool_)


def matches(array: pa.Array, pattern: str) -> Mask:
    """Rows whose text has a match of the pattern somewhere; null rows have one."""
    try:
        return np.asarray(pc.fill_null(pc.match_substring_regex(array, pattern), True), dtype=np.bool_)
    except pa.ArrowInvalid:
        # RE2 looks neither ahead nor behind; Python does. Texts of such columns repeat.
        compiled = re.compile(pattern, re.ASCII)
        encoded = array.dictionary_encode()
        texts = encoded.dictionary.to_pylist()
        hits = np.array([*(compiled.search(text) is not None for text in texts), True], dtype=np.bool_)
        return hits[np.asarray(pc.fill_null(encoded.indices, len(texts)))]


def _of_column(column: Column) -> Iterator[Check]:
    name = column.name

    def check(rule: str, message: str, broken: Callable[[Typed], Mask]) -> Check:
        return Check(rule, name, message, lambda columns: broken(columns[name]))

    if column.required:
        yield check("required", "is required and is missing or null", _missing)
    yield check("type", f"is not {describe(column)}", _misfits)
    for rule, message, broken in _limits(column):
        yield check(rule, message, lambda typed, broken=broken: broken(typed.array))  # type: ignore[misc]
    for child in column.fields:
        if child.required:

            def missing(array: pa.Array, child: str = child.name) -> Mask:
                return mask_of(pc.and_(pc.is_valid(array), pc.is_null(pc.struct_field(array, child))))

            message = f"{child.name} is required and is missing or null"
            yield check("required", message, lambda typed, missing=missing: missing(typed.array))  # type: ignore[misc]


def _missing(typed: Typed) -> Mask:
    absent = np.asarray(pc.is_null(typed.array))
    return absent & ~_misfits(typed)


def _misfits(typed: Typed) -> Mask:
    mask = np.zeros(len(typed.array), dtype=np.bool_)
    if typed.misfits:
        mask[list(typed.misfits)] = True
    return mask


Limit = tuple[str, str, Callable[[pa.Array], Mask]]


def _limits(column: Column) -> Iterator[Limit]:
    limits, kind = column.limits, arrow_type(column)
    if column.allowed:
        permitted = ", ".join(map(str, column.allowed[:12])) + (", …" if len(column.allowed) > 12 else "")
        values = pa.array([_literal(column, value) for value in column.allowed], kind)
        yield "enum", f"is none of {permitted}", lambda array: mask_of(pc.invert(_among(array, values)))
    bounds = (
        ("minimum", limits.minimum, pc.less, "is less than"),
        ("maximum", limits.maximum, pc.greater, "is more than"),
        ("exclusiveMinimum", limits.exclusive_minimum, pc.less_equal, "is not more than"),
        ("exclusiveMaximum", limits.exclusive_maximum, pc.greater_equal, "is not less than"),
    )
    for rule, bound, compare, words in bounds:
        if bound is not None:
            yield rule, f"{words} {bound}", _comparison(column, bound, compare)
    if limits.multiple_of is not None:
        yield "multipleOf", f"is not a multiple of {limits.multiple_of}", _not_multiple(limits.multiple_of)
    yield from _text_limits(column)
    yield from _list_limits(column)


def _text_limits(column: Column) -> Iterator[Limit]:
    limits = column.limits
    low, high, pattern = limits.min_length, limits.max_length, limits.pattern
    if low is not None:
        message = f"has fewer than {low} characters"
        yield "minLength", message, lambda array: mask_of(pc.less(pc.utf8_length(array), low))
    if high is not None:
        message = f"has more than {high} characters"
        yield "maxLength", message, lambda array: mask_of(pc.greater(pc.utf8_length(array), high))
    if pattern is not None:
        yield "pattern", f"does not match {pattern}", lambda array: ~matches(array, pattern)
    form = FORMATS.get(column.format or "") if column.logical_type == "string" else None
    if form is not None:
        yield "format", f"is not of the format {column.format}", lambda array: ~matches(array, form)


def _list_limits(column: Column) -> Iterator[Limit]:
    if column.items is None:
        return  # without declared items it is kept as text
    low, high = column.limits.min_items, column.limits.max_items
    if low is not None:
        yield (
            "minItems",
            f"has fewer than {low} items",
            lambda array: mask_of(pc.less(pc.list_value_length(array), low)),
        )
    if high is not None:
        message = f"has more than {high} items"
        yield "maxItems", message, lambda array: mask_of(pc.greater(pc.list_value_length(array), high))
    if column.limits.unique_items:
        yield "uniqueItems", "has items that are equal", _repeated_items


def _literal(column: Column, value: Any) -> Any:
    """A value of the contract (YAML) as the column holds it."""
    if column.logical_type in ("date", "timestamp"):
        return ColumnConverter(column)([value]).array[0].as_py()
    return Decimal(str(value)) if column.decimal else value


def _among(array: pa.Array, values: pa.Array) -> pa.Array:
    # is_in says no to null; nothing is said about a value that is not there.
    return pc.if_else(pc.is_valid(array), pc.is_in(array, values), None)


def _comparison(column: Column, bound: Any, compare: Callable[..., Any]) -> Callable[[pa.Array], Mask]:
    literal = _literal(column, bound)
    if column.decimal:
        # A bound may have more digits than the column.
        return lambda array: mask_of(compare(array, pa.scalar(literal)))
    if column.logical_type in ("date", "timestamp") and isinstance(literal, date):
        return lambda array: mask_of(compare(array, pa.scalar(literal, array.type)))
    return lambda array: mask_of(compare(array, literal))


def _not_multiple(of: float) -> Callable[[pa.Array], Mask]:
    step = Decimal(str(of))

    def broken(array: pa.Array) -> Mask:
        if pa.types.is_integer(array.type) and step == int(step):
            values = np.asarray(pc.fill_null(array, 0))
            return np.asarray(values % int(step) != 0, dtype=np.bool_)
        # Of a float the shortest decimal that reads as it: 0.3 is a multiple of 0.1, though not in binary.
        return np.array([v is not None and Decimal(str(v)) % step != 0 for v in array.to_pylist()], dtype=np.bool_)

    return broken


def _repeated_items(array: pa.Array) -> Mask:
    return np.array([v is not None and _repeats(v) for v in array.to_pylist()], dtype=np.bool_)


def _repeats(items: list[Any]) -> bool:
    return any(item in items[:place] for place, item in enumerate(items))


def _of_rule(rule: Rule, column: Column) -> Check:
    kind = arrow_type(column)
    allowed = pa.array([_literal(column, value) for value in rule.allowed], kind) if rule.allowed else None

    def broken(columns: Columns) -> Mask:
        array = columns[column.name].array
        if rule.not_null:
            return np.asarray(pc.is_null(array), dtype=np.bool_)
        mask = np.zeros(len(array), dtype=np.bool_)
        if allowed is not None:
            mask |= mask_of(pc.invert(_among(array, allowed)))
        if rule.pattern is not None:
            mask |= ~matches(array, rule.pattern)
        return mask

    return Check(rule.name, rule.column, rule.message, broken)
