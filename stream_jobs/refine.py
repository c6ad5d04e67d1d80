"""Bronze rows become typed rows, each judged by the contract.

`bronze table → silver rows, or quarantine rows with _violations`. Pure: no tables of the lake, no clock, no engine.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from catalog.contract import Stream
from catalog.errors import SluiceError
from stream_jobs.checks import Check, Mask, checks
from stream_jobs.columns import ColumnConverter
from stream_jobs.payloads import PayloadReader
from stream_jobs.rules import SqlRules
from stream_jobs.types import UTC_TIMESTAMP, arrow_type

PROVENANCE = pa.schema(
    [
        ("_event_id", pa.string()),
        ("_received_at", UTC_TIMESTAMP),
        ("_kafka_partition", pa.int32()),
        ("_kafka_offset", pa.int64()),
        ("_contract_version", pa.string()),
    ]
)
VIOLATION = pa.struct([(name, pa.string()) for name in ("rule", "column", "severity", "message")])
UNREADABLE = {
    "rule": "json", "column": None, "severity": "error", "message": "the payload is not one JSON object in UTF-8",
}  # fmt: skip


@dataclass(frozen=True)
class Refined:
    """Rows in silver's columns, and the others in quarantine's."""

    silver: pa.Table
    quarantine: pa.Table


class Refiner:
    """`refine` for one stream; its decoder, converters and checks are made once. Not thread-safe.

    Raises SluiceError where a rule of the contract cannot be understood.
    """

    def __init__(self, stream: Stream) -> None:
        self._version = stream.version
        self._names = [column.name for column in stream.columns]
        self._read = PayloadReader(stream)
        self._converters = [ColumnConverter(column) for column in stream.columns]
        self._checks = _tried(stream, self._converters)
        typed = pa.schema([(column.name, arrow_type(column)) for column in stream.columns])
        self._schema = pa.schema([*typed, *PROVENANCE])
        self._rules = SqlRules(stream, self._schema)
        self._violations = [
            *(check.violation() for check in self._checks),
            *(
                {"rule": rule.name, "column": rule.column, "severity": "error", "message": rule.message}
                for rule in self._rules.rules
            ),
        ]

    def __call__(self, bronze: pa.Table) -> Refined:
        """`bronze`: rows in bronze's columns."""
        payloads = self._read(bronze.column("payload"))
        columns = {
            name: convert(values)
            for name, convert, values in zip(self._names, self._converters, payloads.values, strict=True)
        }
        version = pc.fill_null(bronze.column("contract_version"), self._version)
        provenance = [bronze.column(name) for name in ("event_id", "received_at", "partition", "offset")]
        arrays = [*(typed.array for typed in columns.values()), *provenance, version]
        typed = pa.table(arrays, schema=self._schema)
        broken = [*(check.broken(columns) for check in self._checks), *self._rules.broken(typed)]
        unreadable = np.zeros(len(bronze), dtype=np.bool_)
        unreadable[payloads.unreadable] = True
        bad = np.logical_or.reduce([unreadable, *broken])
        if not bad.any():
            return Refined(typed, self._quarantine(typed[:0], bronze[:0], []))
        rows = np.flatnonzero(bad)
        reasons = self._reasons(rows, unreadable, broken)
        return Refined(typed.filter(pa.array(~bad)), self._quarantine(typed.take(rows), bronze.take(rows), reasons))

    def _reasons(self, rows: "np.typing.NDArray[np.intp]", unreadable: Mask, broken: list[Mask]) -> list[list[object]]:
        each = np.stack(broken)[:, rows] if broken else np.zeros((0, len(rows)), dtype=np.bool_)
        return [
            [UNREADABLE] if unreadable[row] else [self._violations[number] for number in np.flatnonzero(each[:, place])]
            for place, row in enumerate(rows)
        ]

    def _quarantine(self, typed: pa.Table, bronze: pa.Table, reasons: list[list[object]]) -> pa.Table:
        with_payload = typed.append_column("payload", bronze.column("payload"))
        return with_payload.append_column("_violations", pa.array(reasons, pa.list_(VIOLATION)))


def _tried(stream: Stream, converters: list[ColumnConverter]) -> list[Check]:
    """The checks, each tried on no rows: one that can't be made, or can't judge its column, must not wait for the first batch."""
    columns = {column.name: convert([]) for column, convert in zip(stream.columns, converters, strict=True)}
    try:
        found = checks(stream)
        for check in found:
            check.broken(columns)
    except (ValueError, ArithmeticError, TypeError, pa.ArrowException) as failure:
        reason = str(failure).splitlines()[0]
        raise SluiceError(f"contract {stream.name}: a limit or rule can't be judged: {reason}") from None
    return found
