"""What is wrong with a form, said beside its fields in the reader's language."""

from collections.abc import Collection, Sequence
from typing import Any

from ingest_gateway.check import Violation
from ingest_gateway.fields import Field, flat
from ingest_gateway.words import Words

Path = tuple[str, ...]


def explain(
    violations: Sequence[Violation], fields: tuple[Field, ...], given: Collection[str], w: Words
) -> tuple[dict[str, str], list[str]]:
    """A message for each field that is wrong, by name, and what belongs to none. `given`: the fields that hold something."""
    beside: dict[str, str] = {}
    general: list[str] = []
    for violation in violations:
        path = _path(violation.pointer)
        found = _at(path, fields, given)
        for field in found:
            missing = field.column.required and field.name not in given
            beside.setdefault(field.name, w("e_required") if missing else message(violation, field, w))
        if not found:
            general.append(message(violation, None, w))
    return beside, general


def message(violation: Violation, field: Field | None, w: Words) -> str:
    """One violation in words."""
    rule, limit = violation.rule, violation.limit
    if rule == "required":
        return w("e_required")
    if field is not None and field.in_zone and rule != "enum":
        return w("e_format_date-time")  # a time that is sent as a number has the rules of numbers
    if rule == "type":
        kinds = [kind for kind in limit if kind != "null"] if isinstance(limit, list | tuple) else [limit]
        return w(f"e_type_{kinds[0]}")
    if rule == "enum":
        return w("e_enum", limit=", ".join(str(option) for option in limit if option is not None))
    if rule == "pattern" and field is not None and field.widget == "time":
        return w("e_format", limit="10:15")
    if rule == "pattern" and field is not None and field.column.examples:
        return w("e_pattern_example", example=field.column.examples[0])
    if rule == "format" and w.has(f"e_format_{limit}"):
        return w(f"e_format_{limit}")
    if rule and w.has(f"e_{rule}"):
        return w(f"e_{rule}", limit=_written(limit, w))
    return w("e_other", message=violation.message)


def _at(path: Path, fields: tuple[Field, ...], given: Collection[str]) -> list[Field]:
    """The field that a place is in; else the required ones inside the place that hold nothing: these are why it is wrong."""
    every = list(flat(fields))
    around = [field for field in every if path[: len(_place(field))] == _place(field)]
    if around:
        return [max(around, key=lambda field: len(_place(field)))]
    inside = [field for field in every if _place(field)[: len(path)] == path]
    return [field for field in inside if path and field.column.required and field.name not in given]


def _place(field: Field) -> Path:
    return tuple(map(str, field.column.pointer))


def _path(pointer: str) -> Path:
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:])


def _written(limit: Any, w: Words) -> str:
    return w.number(limit) if isinstance(limit, int | float) and not isinstance(limit, bool) else str(limit)
