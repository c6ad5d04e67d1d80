"""`python -m infra.bench.bare_append TOPIC RECORDS`: the limit that the stream job is measured against.

Kafka → one unpartitioned Iceberg table, key, value and place as they are, with Iceberg's own streaming sink.
"""

import json
import sys
import time

from catalog.kafka_client import spark_options
from catalog.settings import lake_settings
from stream_jobs.session import make_session
from stream_jobs.settings import scratch, stream_settings


def main(topic: str, records: int) -> None:
    """Print seconds and rows a second as JSON; the clock runs from the query's start to its end."""
    lake, settings = lake_settings(), stream_settings()
    # Spark at its best: with both compilers, which the stream job does without.
    fast = settings.model_copy(update={"java_options": "-XX:TieredStopAtLevel=4"})
    spark = make_session(lake, fast, "bare-append")
    table = f"{lake.catalog_name}.ops.{topic}_bare"
    spark.sql(
        f"create table {table} (key binary, value binary, partition int, offset bigint, at timestamp) using iceberg "
        "tblproperties ('write.parquet.compression-codec'='zstd', 'format-version'='2')"
    )
    source = (
        spark.readStream.format("kafka")
        .options(**spark_options(lake))
        .option("subscribe", topic)
        .option("startingOffsets", "earliest")
        .option("maxOffsetsPerTrigger", settings.max_batch_rows)
        .load()
    )
    started = time.monotonic()
    sink = source.selectExpr("key", "value", "partition", "offset", "timestamp as at").writeStream.format("iceberg")
    query = sink.option("checkpointLocation", str(scratch() / "bare")).trigger(availableNow=True).toTable(table)
    query.awaitTermination()
    seconds = time.monotonic() - started
    found = spark.table(table).count()
    spark.sql(f"drop table {table} purge")
    spark.stop()
    if found != records:
        sys.exit(f"the bare append wrote {found} of {records} rows")
    print(json.dumps({"seconds": seconds, "rows_per_s": records / seconds}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
