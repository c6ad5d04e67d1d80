"""What a contract forbids, over whole columns: each check says which rows break it, and in which words."""

from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from catalog.contract import Column, Rule, Stream
from catalog.json_schema import FORMATS, validator
from stream_jobs.columns import Typed
from stream_jobs.literals import comparison, contained, held_by, literal, parsed
from stream_jobs.types import arrow_type, describe

Mask = NDArray[np.bool_]
_EXACT = Context(prec=700)  # no quotient of two decimals of a contract has more digits
ORDERED = ("integer", "number", "date", "timestamp", "time")
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


def judged_by(schema: dict[str, Any]) -> Callable[[pa.Array], Mask]:
    """Rows that a JSON Schema refuses, by the validator that the gateway has, so that both say the same. Raises ValueError."""
    one, many = validator(schema), validator({"items": schema})

    def broken(array: pa.Array) -> Mask:
        values = array.to_pylist()
        if many.is_valid(values):
            return np.zeros(len(values), dtype=np.bool_)
        return np.array([value is not None and not one.is_valid(value) for value in values], dtype=np.bool_)

    return broken


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
    limits = column.limits
    if column.allowed:
        permitted = ", ".join(map(str, column.allowed[:12])) + (", …" if len(column.allowed) > 12 else "")
        yield "enum", f"is none of {permitted}", _none_of(column, column.allowed)
    bounds = (
        ("minimum", limits.minimum, pc.less, "is less than"),
        ("maximum", limits.maximum, pc.greater, "is more than"),
        ("exclusiveMinimum", limits.exclusive_minimum, pc.less_equal, "is not more than"),
        ("exclusiveMaximum", limits.exclusive_maximum, pc.greater_equal, "is not less than"),
    )
    for rule, bound, compare, words in bounds:
        if bound is not None and column.logical_type in ORDERED:
            yield rule, f"{words} {bound}", comparison(column, bound, compare)
    if limits.multiple_of is not None and column.logical_type in ("integer", "number"):
        yield "multipleOf", f"is not a multiple of {limits.multiple_of}", _not_multiple(column, limits.multiple_of)
    if column.logical_type == "string":
        yield from _text_limits(column)
    if column.items is not None:  # without declared items a list is kept as text
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
        yield "pattern", f"does not match {pattern}", judged_by({"pattern": pattern})
    if column.format in FORMATS:
        yield "format", f"is not of the format {column.format}", judged_by({"format": column.format})


def _list_limits(column: Column) -> Iterator[Limit]:
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


def _none_of(column: Column, allowed: tuple[Any, ...]) -> Callable[[pa.Array], Mask]:
    """Rows that have a value which is none of these."""
    kind = arrow_type(column)
    if column.logical_type in ("object", "array"):
        known = {frozen(contained(column, value)) for value in allowed}
        read: Callable[[Any], Any] = (lambda held: held) if pa.types.is_nested(kind) else parsed

        def unknown(value: Any) -> bool:
            try:
                return frozen(read(value)) not in known
            except RecursionError:  # deeper than what anybody writes into a contract
                return True

        return lambda array: np.array([v is not None and unknown(v) for v in array.to_pylist()], dtype=np.bool_)
    # What the column can't hold is never there.
    literals = [literal(column, value) for value in allowed]
    values = pa.array([value for value in literals if held_by(kind, value)], kind)
    return lambda array: mask_of(pc.and_(pc.is_valid(array), pc.invert(pc.is_in(array, values))))


def _not_multiple(column: Column, of: float) -> Callable[[pa.Array], Mask]:
    step = Decimal(str(of))
    if column.decimal:
        return lambda array: np.array(
            [v is not None and _EXACT.remainder(v, step) != 0 for v in array.to_pylist()], dtype=np.bool_
        )
    by_schema = judged_by({"multipleOf": of})
    if column.logical_type == "integer" and step == int(step):
        return lambda array: np.asarray(np.asarray(pc.fill_null(array, 0)) % int(step) != 0, dtype=np.bool_)
    if pa.types.is_float32(arrow_type(column)):
        # The shortest decimal that reads as it, as it stood in the payload: 0.1 is another number in 64 bits.
        return lambda array: by_schema(
            pa.array([None if v is None else float(str(np.float32(v))) for v in array.to_pylist()])
        )
    return by_schema


def _repeated_items(array: pa.Array) -> Mask:
    return np.array([v is not None and len(set(map(frozen, v))) < len(v) for v in array.to_pylist()], dtype=np.bool_)


def frozen(value: Any) -> Hashable:
    """A list or object as something that can be looked up."""
    if isinstance(value, dict):
        return frozenset((name, frozen(inner)) for name, inner in value.items())
    return tuple(map(frozen, value)) if isinstance(value, list) else value


def _of_rule(rule: Rule, column: Column) -> Check:
    is_none = _none_of(column, rule.allowed) if rule.allowed else None
    differs = judged_by({"pattern": rule.pattern}) if rule.pattern is not None else None

    def broken(columns: Columns) -> Mask:
        array = columns[column.name].array
        if rule.not_null:
            return np.asarray(pc.is_null(array), dtype=np.bool_)
        mask = np.zeros(len(array), dtype=np.bool_)
        if is_none is not None:
            mask |= is_none(array)
        if differs is not None:
            mask |= differs(array.cast(pa.string()))
        return mask

    return Check(rule.name, rule.column, rule.message, broken)
