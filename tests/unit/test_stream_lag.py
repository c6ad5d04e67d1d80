"""What the stream job says of its lag, and of Kafka while it is away."""

from stream_jobs.lag import Lag
from stream_jobs.metrics import REGISTRY, Health


def told(name: str, stream: str) -> float | None:
    return REGISTRY.get_sample_value(name, {"stream": stream})


def test_lag_is_what_silver_lacks_over_all_partitions() -> None:
    lag = Lag()
    lag.reached("lagging", {0: 10}, now=0)
    lag.seen({"lagging": {0: 12, 1: 5}}, now=1)
    assert told("sluice_stream_lag_records", "lagging") == 7
    lag.reached("lagging", {0: 12, 1: 6}, now=2)
    lag.seen({"lagging": {0: 12, 1: 5}}, now=3)  # the end was asked for before the commit
    assert told("sluice_stream_lag_records", "lagging") == 0


def test_the_time_runs_while_there_is_a_lag_and_no_step() -> None:
    lag = Lag()
    lag.reached("stuck", {0: 10}, now=0)
    lag.seen({"stuck": {0: 10}}, now=100)
    assert told("sluice_stream_lag_seconds", "stuck") == 0, "nothing to do for a long time is no lag"
    lag.seen({"stuck": {0: 20}}, now=110)
    lag.seen({"stuck": {0: 30}}, now=130)
    assert told("sluice_stream_lag_seconds", "stuck") == 30
    lag.reached("stuck", {0: 20}, now=140)
    lag.seen({"stuck": {0: 30}}, now=150)
    assert told("sluice_stream_lag_seconds", "stuck") == 10


def test_a_job_whose_kafka_is_away_waits_whatever_its_query_believes() -> None:
    health = Health()
    health.become("running", "orders is set aside: no such table", ["users"])
    health.away = "Kafka does not answer: connection refused"
    assert (health.document()["state"], health.document()["reason"]) == ("waiting", health.away)
    health.become("standby", "another stream job holds the lease")
    assert health.document()["state"] == "standby"
    health.become("running")
    health.away = ""
    assert (health.document()["state"], health.document()["reason"]) == ("running", "")
