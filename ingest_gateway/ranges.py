"""What a contract says of numbers, checked here: the schema library does it with fractions, which takes it longer than all else.

Only columns at the top of a payload. Whatever does not hold here is judged again by the whole schema.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import inf
from typing import Any

from catalog.contract import Column
from catalog.json_schema import decimal_step

BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")


@dataclass(frozen=True, slots=True)
class Range:
    """Of one column: `least` to `most`, without `above` and `below` themselves, and with no more decimals than `unit` has zeros."""

    name: str
    least: float = -inf
    most: float = inf
    above: float | None = None
    below: float | None = None
    unit: float | None = None

    def holds(self, values: Iterable[Mapping[str, Any]]) -> bool:
        """Whether all numbers are within. What is no number is the schema's matter."""
        name, least, most, above, below, unit = (
            self.name, self.least, self.most, self.above, self.below, self.unit
        )  # fmt: skip
        for value in values:
            number = value.get(name)
            if number is None:
                continue
            if not least <= number <= most:
                return False
            if (above is not None and number <= above) or (below is not None and number >= below):
                return False
            # At most 15 digits are significant: a double that is nearest to a decimal of so many comes out
            # again, and no other does.
            if unit is not None and number.__class__ is float and round(number * unit) / unit != number:
                return False
        return True


def taken_out(schema: dict[str, Any], columns: Iterable[Column]) -> tuple[list[Range], dict[str, Any]]:
    """The ranges of number columns, and the schema of a payload without them."""
    ranges, properties = [], dict(schema.get("properties", {}))
    for column in columns:
        name = str(column.pointer[0])
        part = properties.get(name)
        if len(column.pointer) > 1 or part is None or "allOf" in part:
            continue
        unit = _unit(column, part.get("multipleOf"))
        if "multipleOf" in part and unit is None:
            continue
        ranges.append(
            Range(
                name, part.get("minimum", -inf), part.get("maximum", inf), part.get("exclusiveMinimum"),
                part.get("exclusiveMaximum"), unit,
            )
        )  # fmt: skip
        properties[name] = {word: said for word, said in part.items() if word not in (*BOUNDS, "multipleOf")}
    return ranges, {**schema, "properties": properties} if ranges else schema


def _unit(column: Column, step: float | None) -> float | None:
    """10**scale, where the decimals that the column has are all that `multipleOf` asks for."""
    if step is None or column.decimal is None or step != decimal_step(column):
        return None
    return 10.0 ** column.decimal[1]
