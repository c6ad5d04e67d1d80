"""Bronze rows become typed rows, each with the list of what is wrong with it.

`DataFrame(bronze) → typed → silver rows, or quarantine rows with _violations`. Pure: no tables, no clock.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from pyspark.sql import Column as Expr
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812
from pyspark.sql.types import ArrayType, DataType, StringType, StructField, StructType

from catalog.contract import Column, Rule, Stream
from stream_jobs.types import convert, describe, spark_type

FORMATS = {
    "uuid": r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$",
    "email": r"^[^@\s]+@[^@\s]+$",
    "uri": r"^[A-Za-z][A-Za-z0-9+.-]*:\S*$",
    "ipv4": r"^((25[0-5]|2[0-4]\d|1?\d?\d)(\.|$)){4}$",
}
PROVENANCE = ("_event_id", "_received_at", "_kafka_partition", "_kafka_offset", "_contract_version")
VIOLATION = "struct<rule:string,column:string,severity:string,message:string>"
OK = "_ok"
BRONZE_FACTS = ("payload", "event_id", "received_at", "partition", "offset", "contract_version")


@dataclass(frozen=True)
class Check:
    """One reason to refuse: the condition under which it holds (null counts as no), and what to say."""

    broken: Expr
    rule: str
    column: str | None
    message: str


class Refiner:
    """`refine` for one stream. Its expressions are made once: building them takes longer than running a small batch."""

    def __init__(self, stream: Stream) -> None:
        names = [column.name for column in stream.columns]
        raw_names = [f"_raw_{name}" for name in names]
        parsed = F.from_json(
            F.col("payload").cast("string"),
            _payload_type(stream),
            {"columnNameOfCorruptRecord": "_corrupt", "mode": "PERMISSIVE"},
        )
        self._parse: list[Expr] = [*map(F.col, BRONZE_FACTS), parsed.alias("_json")]
        raw = [_at(F.col("_json"), column.pointer).alias(f"_raw_{column.name}") for column in stream.columns]
        self._pick: list[Expr] = [*map(F.col, BRONZE_FACTS), F.col("_json"), *raw]
        self._type: list[Expr] = [
            *(convert(column, F.col(f"_raw_{column.name}")).alias(column.name) for column in stream.columns),
            *map(F.col, raw_names),
            F.col("event_id").alias("_event_id"),
            F.col("received_at").alias("_received_at"),
            F.col("partition").alias("_kafka_partition"),
            F.col("offset").alias("_kafka_offset"),
            F.coalesce("contract_version", F.lit(stream.version)).alias("_contract_version"),
            F.col("payload"),
            _unreadable().alias("_unreadable"),
        ]
        checks = list(_checks(stream))
        shown: list[Expr] = [*map(F.col, names), *map(F.col, PROVENANCE)]
        self._good: list[Expr] = [*shown, _ok(checks)]
        self._bad: list[Expr] = [*shown, F.col("payload"), _violations(checks)]
        self._silver = [*names, *PROVENANCE]

    def __call__(self, bronze: DataFrame) -> DataFrame:
        """Typed rows, not yet judged, with the raw texts that the judgement needs."""
        return bronze.select(*self._parse).select(*self._pick).select(*self._type)

    def silver(self, typed: DataFrame) -> DataFrame:
        """The rows that break no rule of severity error, in silver's columns."""
        return typed.select(*self._good).where(OK).select(*self._silver)

    def quarantine(self, typed: DataFrame) -> DataFrame:
        """The other rows, in quarantine's columns, each with the list of what is wrong."""
        return typed.select(*self._bad).where(F.col("_violations").isNotNull())


def _ok(checks: list[Check]) -> Expr:
    # One CASE, not a chain of ORs: a null condition counts as no, nothing is split up and pushed down, and the optimizer
    # does not sort its branches. The last condition is always true and not deterministic: else `_ok` would be replaced in
    # the filter by all that it is made of, down to the parser, once for each use (30 times slower).
    verdict = F.when(F.col("_unreadable"), False)
    for check in checks:
        verdict = verdict.when(check.broken, False)
    return verdict.when(F.spark_partition_id() >= 0, True).alias(OK)


def _violations(checks: list[Check]) -> Expr:
    unreadable = F.array(_violation("json", None, "the payload is not one JSON object in UTF-8"))
    reasons = F.when(F.col("_unreadable"), unreadable)
    if checks:
        each = [F.when(check.broken, _violation(check.rule, check.column, check.message)) for check in checks]
        broken = F.array_compact(F.array(*each))
        reasons = reasons.when(F.spark_partition_id() >= 0, F.when(F.size(broken) > 0, broken))
    return reasons.cast(f"array<{VIOLATION}>").alias("_violations")


def _payload_type(stream: Stream) -> StructType:
    """The shape of the payload with a text at the end of each pointer."""
    tree: dict[str | int, object] = {}
    for column in stream.columns:
        node = tree
        for segment in column.pointer[:-1]:
            below = node.setdefault(segment, {})
            node = below if isinstance(below, dict) else {}
        node[column.pointer[-1]] = None
    return StructType([*_struct(tree), StructField("_corrupt", StringType())])


def _struct(tree: dict[str | int, object]) -> list[StructField]:
    return [StructField(str(name), _node_type(below)) for name, below in tree.items()]


def _node_type(below: object) -> DataType:
    if not isinstance(below, dict):
        return StringType()
    if all(isinstance(key, int) for key in below):
        elements = [child for child in below.values() if isinstance(child, dict)]
        return ArrayType(_node_type(elements[0]) if elements else StringType())
    return StructType(_struct(below))


def _at(root: Expr, pointer: tuple[str | int, ...]) -> Expr:
    for segment in pointer:
        root = F.get(root, F.lit(segment)) if isinstance(segment, int) else root.getField(segment)
    return root


def _unreadable() -> Expr:
    text = F.col("payload").cast("string")
    not_json = F.col("_json").isNull() | F.col("_json._corrupt").isNotNull()
    return ~F.is_valid_utf8(text) | not_json | ~text.rlike(r"^\s*\{")


def _checks(stream: Stream) -> Iterator[Check]:
    for column in stream.columns:
        value, raw = F.col(column.name), F.col(f"_raw_{column.name}")
        if column.required:
            yield Check(raw.isNull(), "required", column.name, "is required and is missing or null")
        yield Check(raw.isNotNull() & value.isNull(), "type", column.name, f"is not {describe(column)}")
        yield from _limits(column, value)
        for child in column.fields:
            if child.required:
                missing = value.isNotNull() & value.getField(child.name).isNull()
                yield Check(missing, "required", column.name, f"{child.name} is required and is missing or null")
    for rule in stream.rules:
        # A warning is for dashboards and tests of the tables; it moves no row.
        if rule.severity == "error":
            yield Check(_rule_broken(rule), rule.name, rule.column, rule.message)


def _limits(column: Column, value: Expr) -> Iterator[Check]:
    limits, name, kind = column.limits, column.name, spark_type(column)

    def literal(bound: object) -> Expr:
        timed = column.logical_type in ("date", "timestamp")
        return F.lit(bound).cast(kind) if timed else F.lit(bound)

    if column.allowed:
        permitted = ", ".join(map(str, column.allowed[:12])) + (", …" if len(column.allowed) > 12 else "")
        yield Check(~value.isin(*column.allowed), "enum", name, f"is none of {permitted}")
    if limits.minimum is not None:
        yield Check(value < literal(limits.minimum), "minimum", name, f"is less than {limits.minimum}")
    if limits.maximum is not None:
        yield Check(value > literal(limits.maximum), "maximum", name, f"is more than {limits.maximum}")
    if limits.exclusive_minimum is not None:
        bound = limits.exclusive_minimum
        yield Check(value <= literal(bound), "exclusiveMinimum", name, f"is not more than {bound}")
    if limits.exclusive_maximum is not None:
        bound = limits.exclusive_maximum
        yield Check(value >= literal(bound), "exclusiveMaximum", name, f"is not less than {bound}")
    if limits.multiple_of is not None:
        broken = value.cast("decimal(38,9)") % F.lit(limits.multiple_of).cast("decimal(38,9)") != 0
        yield Check(broken, "multipleOf", name, f"is not a multiple of {limits.multiple_of}")
    if limits.min_length is not None:
        yield Check(
            F.length(value) < limits.min_length, "minLength", name, f"has fewer than {limits.min_length} characters"
        )
    if limits.max_length is not None:
        yield Check(
            F.length(value) > limits.max_length, "maxLength", name, f"has more than {limits.max_length} characters"
        )
    if limits.pattern is not None:
        yield Check(~value.rlike(limits.pattern), "pattern", name, f"does not match {limits.pattern}")
    if column.logical_type == "string" and column.format in FORMATS:
        yield Check(~value.rlike(FORMATS[column.format]), "format", name, f"is not of the format {column.format}")
    if limits.min_items is not None:
        yield Check(F.size(value) < limits.min_items, "minItems", name, f"has fewer than {limits.min_items} items")
    if limits.max_items is not None:
        yield Check(F.size(value) > limits.max_items, "maxItems", name, f"has more than {limits.max_items} items")
    if limits.unique_items:
        yield Check(F.size(value) != F.size(F.array_distinct(value)), "uniqueItems", name, "has items that are equal")


def _rule_broken(rule: Rule) -> Expr:
    if rule.expression is not None:
        return ~F.expr(rule.expression)
    value = F.col(rule.column or "")
    if rule.not_null:
        return value.isNull()
    broken = F.lit(False)
    if rule.allowed:
        broken = broken | ~value.isin(*rule.allowed)
    if rule.pattern is not None:
        broken = broken | ~value.rlike(rule.pattern)
    return broken


def _violation(rule: str, column: str | None, message: str) -> Expr:
    return F.struct(
        F.lit(rule).alias("rule"),
        F.lit(column).cast("string").alias("column"),
        F.lit("error").alias("severity"),
        F.lit(message).alias("message"),
    )
