"""Kafka in, Iceberg out: one streaming query over all topics, exactly once into bronze, quarantine and silver."""
