"""A contract's types in Spark: what to parse a payload into, and how a JSON text becomes a typed value or nothing.

Every scalar is read as the text that stands in the JSON and then converted, so that a value which does not fit is seen
and named instead of becoming null. A conversion takes what loses nothing ("5" and 5.0 are the integer 5) and no more.
"""

from collections.abc import Callable

from pyspark.sql import Column as Expr
from pyspark.sql import functions as F  # noqa: N812
from pyspark.sql.types import (
    ArrayType,
    BooleanType,
    DataType,
    DateType,
    DecimalType,
    DoubleType,
    FloatType,
    IntegerType,
    LongType,
    StringType,
    StructField,
    StructType,
    TimestampType,
)
from pyspark.sql.types import DataType as SparkType

from catalog.contract import Column
from catalog.json_schema import integer_bounds

TIME = r"^([01]\d|2[0-3]):[0-5]\d(:([0-5]\d|60)(\.\d+)?)?([zZ]|[+-]\d\d:\d\d)?$"
DATE = r"^\d{4}-\d\d-\d\d$"
TIMESTAMP = r"^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d+)?)?\s?([zZ]|[+-]\d\d:?\d\d)?$"
# 0001-01-01 … 9999-12-31 in seconds: what every engine over the tables can show.
EARLIEST, LATEST = -62_135_596_800, 253_402_300_799


def spark_type(column: Column) -> DataType:
    """The Spark type of a column: the one that Iceberg's type of `catalog.tables.iceberg_type` reads as."""
    match column.logical_type:
        case "boolean":
            return BooleanType()
        case "date":
            return DateType()
        case "timestamp":
            return TimestampType()
        case "integer":
            return IntegerType() if column.narrow else LongType()
        case "number":
            if column.decimal:
                return DecimalType(*column.decimal)
            single = (column.physical_type or "").lower() in ("float", "real") or column.format == "f32"
            return FloatType() if single else DoubleType()
        case "array" if column.items is not None:
            return ArrayType(spark_type(column.items))
        case "object" if column.fields:
            return StructType([StructField(child.name, spark_type(child)) for child in column.fields])
        case _:
            return StringType()


def convert(column: Column, raw: Expr) -> Expr:
    """The typed value of a JSON text, or null where it is none of that type."""
    kind = spark_type(column)
    convert_scalar: dict[str, Callable[[], Expr]] = {
        "string": lambda: raw,
        "boolean": lambda: F.when(F.lower(raw) == "true", True).when(F.lower(raw) == "false", False),
        "integer": lambda: _integer(column, raw, kind),
        "number": lambda: _number(raw, kind),
        "date": lambda: _date(column, raw),
        "timestamp": lambda: _timestamp(column, raw),
        "time": lambda: F.when(raw.rlike(TIME), raw),
    }
    if column.logical_type in convert_scalar:
        return convert_scalar[column.logical_type]()
    opening = r"^\s*\{" if column.logical_type == "object" else r"^\s*\["
    if isinstance(kind, StringType):
        return F.when(raw.rlike(opening), raw)
    # Wrapped in an object, so that the parser can say of arrays too whether something in them did not fit.
    wrapper = StructType([StructField("v", kind), StructField("_corrupt", StringType())])
    parsed = F.from_json(F.concat(F.lit('{"v":'), raw, F.lit("}")), wrapper, {"columnNameOfCorruptRecord": "_corrupt"})
    return F.when(raw.rlike(opening) & parsed["_corrupt"].isNull(), parsed["v"])


def describe(column: Column) -> str:
    """What a value of this column has to be, to follow "is not"."""
    match column.logical_type:
        case "integer":
            low, high = integer_bounds(column)
            return f"a whole number from {low} to {high}"
        case "number":
            kind = spark_type(column)
            if isinstance(kind, DecimalType):
                return f"a number with at most {kind.precision - kind.scale} digits before and {kind.scale} after the point"
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


def _integer(column: Column, raw: Expr, kind: SparkType) -> Expr:
    exact = raw.try_cast(kind)
    # 5.0 and 5e0 are integers to JSON Schema; Spark's cast of text knows only 5.
    decimal = raw.try_cast("decimal(38,9)")
    whole = F.when(decimal == F.floor(decimal), decimal.try_cast(kind))
    return F.coalesce(exact, whole)


def _number(raw: Expr, kind: SparkType) -> Expr:
    if isinstance(kind, DecimalType):
        value = raw.try_cast(kind)
        # A cast rounds; a value that would change is not taken.
        return F.when(value == raw.try_cast("decimal(38,18)"), value)
    value = raw.try_cast(kind)
    # The cast also reads NaN, Infinity and Java's 1d and 1f, which are no JSON numbers.
    return F.when(~F.upper(F.substring(raw, -1, 1)).between("A", "Z"), value)


def _date(column: Column, raw: Expr) -> Expr:
    if column.format and column.format != "yyyy-MM-dd":
        return F.try_to_timestamp(raw, F.lit(column.format)).cast("date")
    return F.when(raw.rlike(DATE), raw.try_cast("date"))


def _timestamp(column: Column, raw: Expr) -> Expr:
    if column.encoding:
        number = raw.try_cast("decimal(38,6)")
        seconds = number / 1000 if column.encoding == "epoch-millis" else number
        micros = F.when(seconds.between(EARLIEST, LATEST), (seconds * 1_000_000).cast("bigint"))
        return F.timestamp_micros(micros)
    if column.format:
        return F.try_to_timestamp(raw, F.lit(column.format))
    return F.when(raw.rlike(TIMESTAMP), F.try_to_timestamp(raw))
