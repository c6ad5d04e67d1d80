"""Judge the quality rules of contracts over whole silver tables, by Trino, and keep the results in `ops.checks`."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from pyiceberg.catalog import Catalog

from catalog import names, ops_tables, query
from catalog.contract import Bound, Check, Rule, Severity, Stream
from catalog.odcs_checks import filled
from catalog.quality_sql import broken, counted
from catalog.settings import LakeSettings

KEPT, BROKEN, FAILED = "kept", "broken", "failed"
# What a rule of rows is about: the stream job judged each row when it came; one that is older than the rule shows here.
ROWS = "rows"
SOURCE = "sluice-check"
NONE_OF_THEM = Bound("mustBe", 0)
WORDS = {
    "mustBe": "= {0}", "mustNotBe": "≠ {0}", "mustBeGreaterThan": "> {0}", "mustBeGreaterOrEqualTo": "≥ {0}",
    "mustBeLessThan": "< {0}", "mustBeLessOrEqualTo": "≤ {0}", "mustBeBetween": "{0} to {1}", "mustNotBeBetween": "not {0} to {1}",
}  # fmt: skip


@dataclass(frozen=True)
class Judged:
    """What became of one rule. `value` is null where it is no number or could not be computed, which `detail` then tells."""

    stream: str
    rule: str
    severity: Severity
    metric: str
    value: float | None
    bound: str
    outcome: str
    rows: int | None
    detail: str = ""

    @property
    def ok(self) -> bool:
        """Whether nobody has to look: kept, or no more than a warning."""
        return self.outcome == KEPT or (self.outcome == BROKEN and self.severity == "warning")


@dataclass(frozen=True)
class _Count:
    """One aggregate of the statement that reads the table once."""

    entry: Rule | Check
    metric: str
    bound: Bound
    sql: str
    percent: bool = False

    def judged(self, stream: str, rows: int, number: int) -> Judged:
        value = float(number)
        if self.percent:
            value = 100 * value / rows if rows else 0.0
        outcome = KEPT if holds(self.bound, value) else BROKEN
        said = words(self.bound) + (" %" if self.percent else "")
        detail = self.entry.message if outcome == BROKEN else ""
        return Judged(stream, self.entry.name, self.entry.severity, self.metric, value, said, outcome, rows, detail)


def judge(lake: LakeSettings, stream: Stream, days: int | None = None) -> list[Judged]:
    """Each of the stream's rules, in the contract's order: those of rows, then those of the table.

    `days`: only rows that were received since; queries of the contract's own look where they say. One that Trino cannot compute is
    `failed`, and the others are judged. Raises TrinoAwayError.
    """
    table = query.identifier(lake.catalog_name, names.SILVER, stream.name)
    since = "" if days is None else f" where _received_at >= current_timestamp - interval '{days}' day"
    judged = _by_counts(lake, stream, list(_counts(stream)), f"{table}{since}")
    judged += [_by_query(lake, stream, check, table) for check in stream.checks if check.query is not None]
    by_name = {one.rule: one for one in judged}
    order = [rule.name for rule in stream.rules] + [check.name for check in stream.checks]
    return [by_name[name] for name in order]


def record(catalog: Catalog, began: datetime, judged: Sequence[Judged]) -> None:
    """Keep the results in `ops.checks`."""
    ops_tables.append(catalog, ops_tables.CHECKS, [{"checked_at": began, **asdict(one)} for one in judged])


def holds(bound: Bound, value: Any) -> bool:
    """Whether the value is as it must be. Only mustBe and mustNotBe take what is no number; the others raise TypeError."""
    low, high = bound.operand if isinstance(bound.operand, tuple) else (bound.operand, bound.operand)
    if bound.operator in ("mustBe", "mustNotBe"):
        same = float(value) == float(low) if _number(value) and _number(low) else _text(value) == _text(low)
        return same == (bound.operator == "mustBe")
    if not _number(value):
        raise TypeError(f"{value!r} is no number")
    number = float(value)
    return {
        "mustBeGreaterThan": number > low, "mustBeGreaterOrEqualTo": number >= low, "mustBeLessThan": number < low,
        "mustBeLessOrEqualTo": number <= low, "mustBeBetween": low <= number <= high,
        "mustNotBeBetween": not low <= number <= high,
    }[bound.operator]  # fmt: skip


def words(bound: Bound) -> str:
    """The bound for people, e.g. `≤ 5`."""
    operands = bound.operand if isinstance(bound.operand, tuple) else (bound.operand,)
    return WORDS[bound.operator].format(*map(_text, operands))


def _counts(stream: Stream) -> Iterator[_Count]:
    for rule in stream.rules:
        yield _Count(rule, ROWS, NONE_OF_THEM, f"count_if({broken(rule, stream)})")
    for check in stream.checks:
        if check.query is None:
            yield _Count(check, check.metric, check.bound, counted(check, stream), check.percent)


def _by_counts(lake: LakeSettings, stream: Stream, counts: Sequence[_Count], source: str) -> list[Judged]:
    """By one statement that reads the table once; where Trino refuses it, one by one, so that the others are judged."""
    if not counts:
        return []
    try:
        ((rows, *numbers),) = query.run(
            lake, f"select count(*), {', '.join(one.sql for one in counts)} from {source}", source=SOURCE
        ).rows
    except query.QueryFailedError as failure:
        if len(counts) == 1:
            return [_failed(stream, counts[0].entry, counts[0].metric, counts[0].bound, failure)]
        return [judged for one in counts for judged in _by_counts(lake, stream, [one], source)]
    return [one.judged(stream.name, rows, number) for one, number in zip(counts, numbers, strict=True)]


def _by_query(lake: LakeSettings, stream: Stream, check: Check, table: str) -> Judged:
    column = query.identifier(check.columns[0]) if check.columns else None
    try:
        result = query.run(lake, filled(check.query or "", table, column), limit=1, source=SOURCE)
        if len(result.columns) != 1 or len(result.rows) != 1 or result.truncated:
            raise query.QueryFailedError(
                "the query gives more or less than one value; it must give one row of one column"
            )
        (value,) = result.rows[0]
        outcome = KEPT if holds(check.bound, value) else BROKEN
    except (query.QueryFailedError, TypeError) as failure:
        return _failed(stream, check, check.metric, check.bound, failure)
    number = float(value) if _number(value) else None
    detail = check.message if outcome == BROKEN else ""
    if number is None:
        detail = f"it gives {_text(value)}" + (f": {detail}" if detail else "")
    return Judged(
        stream.name, check.name, check.severity, check.metric, number, words(check.bound), outcome, None, detail
    )


def _failed(stream: Stream, entry: Rule | Check, metric: str, bound: Bound, failure: Exception) -> Judged:
    reason = str(failure)
    if isinstance(failure, query.QueryFailedError) and failure.name in ("TABLE_NOT_FOUND", "SCHEMA_NOT_FOUND"):
        reason = f"{reason} (has `sluice apply` made the table?)"
    return Judged(stream.name, entry.name, entry.severity, metric, None, words(bound), FAILED, None, reason)


def _number(value: Any) -> bool:
    if value is None or isinstance(value, bool):
        return False
    try:
        return not math.isnan(float(value)) and not isinstance(value, str)
    except (TypeError, ValueError):
        return False


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) or value is None else str(value)
