"""Kafka records as bronze rows: the one shape in which events travel through the stream job."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F  # noqa: N812 (the field's name for it)

from catalog import names

# topic and partition are needed to route and to count; the rest is what bronze holds, in its order.
BRONZE_COLUMNS = (
    "payload", "event_id", "contract_version", "content_type", "producer",
    "received_at", "topic", "partition", "offset", "broker_time", "headers",
)  # fmt: skip


def from_kafka(records: DataFrame) -> DataFrame:
    """Rows of Spark's Kafka source (with `includeHeaders`) as bronze rows.

    A record without an id (written past the gateway) is known by its place: `topic/partition/offset` never changes.
    """
    headers = F.map_from_entries(_last_of_each(F.col("headers")))
    known = records.select("*", headers.alias("_headers"))

    def header(name: str) -> Column:
        return F.col("_headers")[name].cast("string")

    place = F.concat_ws("/", "topic", F.col("partition").cast("string"), F.col("offset").cast("string"))
    others = F.map_filter("_headers", lambda key, _: ~key.isin(*names.COLUMN_HEADERS))
    return known.select(
        F.coalesce("value", F.lit(b"")).alias("payload"),
        F.coalesce(header(names.H_ID), place).alias("event_id"),
        header(names.H_CONTRACT_VERSION).alias("contract_version"),
        header(names.H_CONTENT_TYPE).alias("content_type"),
        header(names.H_PRODUCER).alias("producer"),
        F.coalesce(F.try_to_timestamp(header(names.H_TIME)), F.col("timestamp")).alias("received_at"),
        "topic",
        "partition",
        "offset",
        F.col("timestamp").alias("broker_time"),
        F.transform_values(others, lambda _, value: value.cast("string")).alias("headers"),
    )


def _last_of_each(headers: Column) -> Column:
    """Header entries without repeated keys (Kafka allows them, a map doesn't): the last one of a key counts."""
    entries = F.coalesce(headers, F.array().cast("array<struct<key:string,value:binary>>"))
    keys = F.transform(entries, lambda entry: entry["key"])
    return F.filter(entries, lambda entry, i: F.array_position(F.slice(keys, i + 2, F.size(keys)), entry["key"]) == 0)
