"""`quality` of an ODCS document → rules that are judged row by row."""

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from open_data_contract_standard.model import DataQuality

from catalog.contract import Column, Rule
from catalog.odcs_words import ContractError, checked_pattern, clean, fits

# Metrics that count rows by the value of one column.
OF_VALUES = ("invalidValues", "nullValues", "missingValues")


def rules(quality: Sequence[DataQuality] | None, column: Column | None, columns: Collection[str]) -> Iterator[Rule]:
    """The row rules of a schema (`column` None) or of one property. Raises ContractError."""
    for check in quality or ():
        if not speaks_of_rows(check):
            continue  # of tables (`catalog.odcs_checks`), or of other engines
        if check.type == "custom":
            facts = stated(check, column)
            yield Rule(**facts, expression=_expression(check.implementation, facts["name"], columns))
        else:
            yield of_values(check, column)


def speaks_of_rows(check: DataQuality) -> bool:
    """Whether each row keeps or breaks it for itself."""
    if check.type == "custom":
        return check.engine in ("sql", "sluice")
    # "None of them" is the only bound that a row can be held to.
    return check.type in (None, "library") and metric_of(check) in OF_VALUES and check.mustBe == 0


def metric_of(check: DataQuality) -> str | None:
    """What it counts, by ODCS's word; `rule` is the word's older name."""
    return check.metric or check.rule


def of_values(check: DataQuality, column: Column | None) -> Rule:
    """What a row satisfies that one of the metrics OF_VALUES does not count. Raises ContractError."""
    facts, arguments = stated(check, column), check.arguments or {}
    name = facts["name"]
    if column is None:
        raise ContractError(f"quality {name}: {metric_of(check)} is a rule of one property; move it there")
    if metric_of(check) == "invalidValues":
        return Rule(**facts, **_valid(arguments, column, name))
    return Rule(**facts, **_present(arguments, column))


def stated(check: DataQuality, column: Column | None) -> dict[str, Any]:
    """Name, column, severity and message of a rule. Raises ContractError."""
    where = column.name if column else ""
    name = check.name or "_".join(filter(None, (where, metric_of(check) or "rule")))
    message = clean(check.description) or f"breaks the rule {name}"
    return {"name": name, "column": where or None, "severity": _severity(check, name), "message": message}


def _severity(check: DataQuality, name: str) -> str:
    severity = check.severity or "error"
    if severity not in ("error", "warning", "info"):
        raise ContractError(f"quality {name}: severity is {severity!r}; it may be error, warning or info")
    return "error" if severity == "error" else "warning"


def _valid(arguments: dict[str, Any], column: Column, name: str) -> dict[str, Any]:
    allowed, pattern = arguments.get("validValues"), arguments.get("pattern")
    if not allowed and not pattern:
        raise ContractError(f"quality {name}: invalidValues needs arguments.validValues or arguments.pattern")
    if not isinstance(allowed, list | None):
        raise ContractError(f"quality {name}: validValues is {allowed!r}; expected a list")
    for value in allowed or ():
        if not fits(value, column.logical_type, column.encoding is not None):
            raise ContractError(f"quality {name}: {value!r} is no {column.logical_type}; quote it if it is text")
    return {"allowed": tuple(allowed or ()), "pattern": checked_pattern(pattern, column.name) if pattern else None}


def _present(arguments: dict[str, Any], column: Column) -> dict[str, Any]:
    """Null is always missing; `missingValues` names the texts that stand for it, such as '' or N/A."""
    stand_ins = [value for value in arguments.get("missingValues") or () if value is not None]
    if not stand_ins:
        return {"not_null": True}
    listed = ", ".join(_literal(value) for value in stand_ins)
    return {"expression": f"{column.name} is not null and {column.name} not in ({listed})"}


def _literal(value: Any) -> str:
    if isinstance(value, int | float):  # booleans too
        return str(value).lower()
    return "'" + str(value).replace("\\", "\\\\").replace("'", "\\'") + "'"


def _expression(implementation: Any, name: str, columns: Collection[str]) -> str:
    """Spark SQL that is true for a good row. A typing error is found here, and not by the stream job at night."""
    if not isinstance(implementation, str) or not implementation.strip():
        raise ContractError(f"quality {name}: implementation must be an SQL expression that is true for a good row")
    # Loaded late: half a second, and most contracts are read by programs that start often.
    import sqlglot
    from sqlglot import exp

    try:
        tree = sqlglot.parse_one(implementation, dialect="spark")
    except sqlglot.errors.SqlglotError as failure:
        raise ContractError(
            f"quality {name}: {implementation!r} is no SQL expression: {_first_line(failure)}"
        ) from None
    if tree.find(exp.AggFunc, exp.Query, exp.Window):
        raise ContractError(
            f"quality {name}: {implementation!r} looks at more than one row; a rule judges each row for itself"
        )
    for found in tree.find_all(exp.Column):
        used = found.parts[0].name
        if used.lower() not in columns:
            raise ContractError(f"quality {name}: {implementation!r} speaks of {used}, and there is no such property")
    return implementation


def _first_line(failure: Exception) -> str:
    return str(failure).splitlines()[0] if str(failure) else type(failure).__name__
