"""`quality` of an ODCS document → checks of whole tables: row counts, percentages, duplicates, queries."""

import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from open_data_contract_standard.model import DataQuality

from catalog import odcs_rules
from catalog.contract import Bound, Check, Column
from catalog.odcs_rules import OF_VALUES, metric_of, stated
from catalog.odcs_words import ContractError

OPERATORS = (
    "mustBe", "mustNotBe", "mustBeGreaterThan", "mustBeGreaterOrEqualTo", "mustBeLessThan", "mustBeLessOrEqualTo",
    "mustBeBetween", "mustNotBeBetween",
)  # fmt: skip
SQL = "sql"
METRICS = (*OF_VALUES, "duplicateValues", "rowCount", SQL)
COMMENTS = re.compile(r"\A(?:\s+|--[^\n]*\n|/\*.*?\*/)*", re.DOTALL)
PLACEHOLDER = re.compile(r"\$?\{([a-z]+)\}")
OBJECT, PROPERTY = ("table", "object", "schema", "model"), ("column", "property", "field")


def checks(quality: Sequence[DataQuality] | None, column: Column | None, columns: Collection[str]) -> Iterator[Check]:
    """The table checks of a schema (`column` None) or of one property. Raises ContractError."""
    for entry in quality or ():
        metric = SQL if entry.type == SQL else metric_of(entry)
        if entry.type in ("text", "custom") or metric not in METRICS or odcs_rules.speaks_of_rows(entry):
            continue  # for people, for other engines, or judged row by row
        facts = stated(entry, column)
        name, percent = facts["name"], metric != SQL and entry.unit == "percent"
        common = {
            "name": name, "severity": facts["severity"], "message": facts["message"], "metric": metric,
            "bound": _bound(entry, name), "columns": (column.name,) if column else (), "percent": percent,
        }  # fmt: skip
        if metric == SQL:
            common |= {"query": _query(entry.query, column, name)}
        elif metric == "rowCount" and percent:
            raise ContractError(f"quality {name}: rowCount is a number of rows; it has no unit percent")
        elif metric == "duplicateValues" and column is None:
            common |= {"columns": _named(entry.arguments or {}, columns, name)}
        elif metric in OF_VALUES:
            common |= {"rule": odcs_rules.of_values(entry, column)}
        yield Check(**common)


def filled(query: str, table: str, column: str | None) -> str:
    """The query with ODCS's placeholders (`${table}`, `${column}` and their synonyms) replaced by quoted names."""

    def name(found: re.Match[str]) -> str:
        return table if found[1] in OBJECT else column if found[1] in PROPERTY and column else found[0]

    return PLACEHOLDER.sub(name, query)


def _named(arguments: dict[str, Any], columns: Collection[str], name: str) -> tuple[str, ...]:
    named = arguments.get("properties")
    if not isinstance(named, list) or not named:
        raise ContractError(
            f"quality {name}: duplicateValues of a schema needs arguments.properties, a list of properties"
        )
    for one in named:
        if one not in columns:
            raise ContractError(f"quality {name}: arguments.properties names {one!r}, and there is no such property")
    return tuple(named)


def _bound(entry: DataQuality, name: str) -> Bound:
    operator = next((operator for operator in OPERATORS if getattr(entry, operator) is not None), None)
    if operator is None:
        raise ContractError(f"quality {name}: its bound is null; expected a value")
    operand = getattr(entry, operator)
    if isinstance(operand, list):
        if operator not in ("mustBeBetween", "mustNotBeBetween"):
            raise ContractError(f"quality {name}: {operator} is a list; a check has one value")
        if operand[0] > operand[1]:
            raise ContractError(f"quality {name}: {operator} is {operand}; the smaller number comes first")
        return Bound(operator, tuple(operand))
    if entry.type != "sql" and (isinstance(operand, bool) or not isinstance(operand, int | float)):
        raise ContractError(f"quality {name}: {operator} is {operand!r}; expected a number")
    return Bound(operator, operand)


def _query(query: str | None, column: Column | None, name: str) -> str:
    text = (query or "").strip().removesuffix(";").rstrip()
    if not re.match(r"(select|with)\b", COMMENTS.sub("", text), re.IGNORECASE):
        raise ContractError(
            f"quality {name}: query must be one that starts with SELECT or WITH; a check changes nothing"
        )
    for found in PLACEHOLDER.finditer(text):
        if found[1] in PROPERTY and column is None:
            raise ContractError(f"quality {name}: {found[0]} stands for a property, and this is a check of the schema")
        if found[0].startswith("$") and found[1] not in (*OBJECT, *PROPERTY):
            raise ContractError(f"quality {name}: {found[0]} stands for nothing; there are ${{table}} and ${{column}}")
    return text
