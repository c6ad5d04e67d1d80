"""Kafka records as bronze rows: the one shape in which events travel through the stream job."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F  # noqa: N812 (the field's name for it)

from catalog import names

# topic and partition are needed to route and to count; the rest is what bronze holds, in its order.
BRONZE_COLUMNS = (
    "payload", "event_id", "contract_version", "content_type", "producer",
    "received_at", "topic", "partition", "offset", "broker_time", "headers",
)  # fmt: skip


class KafkaRecords:
    """Rows of Spark's Kafka source (with `includeHeaders`) as bronze rows; the expressions are made once.

    A record without an id (written past the gateway) is known by its place: `topic/partition/offset` never changes.
    """

    def __init__(self) -> None:
        # Kafka allows a key twice and a map doesn't: the session's mapKeyDedupPolicy lets the last one count.
        self._headers = F.map_from_entries("headers").alias("_headers")
        place = F.concat_ws("/", "topic", F.col("partition").cast("string"), F.col("offset").cast("string"))
        own = F.array(*map(F.lit, names.COLUMN_HEADERS))
        others = F.map_filter("_headers", lambda key, _: ~F.array_contains(own, key))
        # The gateway sends none but its own: don't walk the map for nothing.
        has_others = F.size(F.array_except(F.map_keys("_headers"), own)) > 0
        self._columns: list[Column] = [
            F.coalesce("value", F.lit(b"")).alias("payload"),
            F.coalesce(_header(names.H_ID), place).alias("event_id"),
            _header(names.H_CONTRACT_VERSION).alias("contract_version"),
            _header(names.H_CONTENT_TYPE).alias("content_type"),
            _header(names.H_PRODUCER).alias("producer"),
            F.coalesce(_header(names.H_TIME).try_cast("timestamp"), F.col("timestamp")).alias("received_at"),
            F.col("topic"),
            F.col("partition"),
            F.col("offset"),
            F.col("timestamp").alias("broker_time"),
            F.when(has_others, F.transform_values(others, lambda _, value: value.cast("string"))).alias("headers"),
        ]

    def __call__(self, records: DataFrame) -> DataFrame:
        """Bronze rows of these records."""
        return records.select("*", self._headers).select(*self._columns)


def _header(name: str) -> Column:
    return F.col("_headers")[name].cast("string")
