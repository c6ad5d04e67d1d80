"""Every name that is derived from a stream's: topic, tables, headers, snapshot properties."""

import re

BRONZE, SILVER, QUARANTINE, GOLD, OPS = "bronze", "silver", "quarantine", "gold", "ops"
LAYERS = (BRONZE, SILVER, QUARANTINE)
# How tables of gold end that dbt makes beside a model and drops a moment later.
PASSING = ("__dbt_tmp", "__dbt_backup")

# A stream's name is a topic, a table and a path segment: what all three accept.
STREAM_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}\Z")

# Kafka record headers, CloudEvents 1.0 Kafka protocol binding, binary content mode.
H_CONTENT_TYPE = "content-type"
H_SPEC_VERSION = "ce_specversion"
H_ID = "ce_id"
H_SOURCE = "ce_source"
H_TYPE = "ce_type"
H_TIME = "ce_time"
H_CONTRACT_VERSION = "ce_contractversion"
H_PRODUCER = "ce_producer"
H_TRACE, H_TRACE_STATE = "traceparent", "tracestate"  # W3C trace context, as OpenTelemetry reads it from Kafka
# Headers that have a column of their own in bronze; the rest are kept in its `headers` map.
COLUMN_HEADERS = (H_CONTENT_TYPE, H_SPEC_VERSION, H_ID, H_TYPE, H_TIME, H_CONTRACT_VERSION, H_PRODUCER)

# Snapshot summary keys: the lake is its own checkpoint.
P_OFFSETS = "sluice.offsets"
P_TOTALS = "sluice.totals"
# Property of a bronze table: the id of the Kafka cluster whose offsets its snapshots carry.
P_CLUSTER = "sluice.kafka-cluster"


def topic(stream: str) -> str:
    """The Kafka topic of a stream."""
    return stream


def table(layer: str, stream: str) -> str:
    """`bronze.orders`: namespace and table, without the catalog."""
    return f"{layer}.{stream}"
