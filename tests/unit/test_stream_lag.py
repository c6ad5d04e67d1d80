"""What the stream job says of its lag, and of Kafka while it is away."""

from unittest.mock import Mock

import pytest

from catalog.progress import Totals
from catalog.settings import LakeSettings, read_settings
from stream_jobs.lag import Lag
from stream_jobs.metrics import REGISTRY, Health
from stream_jobs.query import report
from stream_jobs.run import Job
from stream_jobs.settings import StreamSettings
from stream_jobs.writer import Outcome


@pytest.fixture
def job() -> Job:
    return Job(read_settings(LakeSettings), read_settings(StreamSettings))


def told(name: str, stream: str) -> float | None:
    return REGISTRY.get_sample_value(name, {"stream": stream})


def gauges(stream: str) -> set[str]:
    found = [metric for metric in REGISTRY.collect() if metric.type == "gauge"]
    return {metric.name for metric in found for sample in metric.samples if sample.labels.get("stream") == stream}


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


def test_a_session_that_begins_where_the_last_one_did_is_no_step() -> None:
    """Writes that fail again and again start a session each minute, and silver gets no further."""
    lag = Lag()
    lag.reached("refused", {0: 10}, now=0)
    for at in range(0, 601, 40):
        lag.reached("refused", {0: 10}, now=at)
        lag.seen({"refused": {0: 20}}, now=at + 1)
    assert told("sluice_stream_lag_seconds", "refused") == 601
    lag.reached("refused", {0: 10, 1: 1}, now=700)
    lag.seen({"refused": {0: 20, 1: 2}}, now=701)
    assert told("sluice_stream_lag_seconds", "refused") == 1, "a partition's first records are a step"


def test_of_a_stream_that_is_gone_nothing_is_told_any_more() -> None:
    lag = Lag()
    report([Outcome("gone", Totals(rows=1, silver=1), {0: 10, 1: 4}, 1, None)], 0, 0.0, lag)
    lag.reached("kept", {0: 10}, now=0)
    lag.seen({"gone": {0: 20}, "kept": {0: 20}}, now=1)
    assert gauges("gone") == {
        "sluice_stream_lag_records",
        "sluice_stream_lag_seconds",
        "sluice_stream_offset",
        "sluice_stream_committed_timestamp_seconds",
    }
    lag.keep({"kept"})
    lag.seen({"gone": {0: 30}, "kept": {0: 20}}, now=2)  # a look that was under way
    assert not gauges("gone")
    assert told("sluice_stream_lag_seconds", "kept") == 2
    lag.reached("gone", {0: 12}, now=100)
    lag.seen({"gone": {0: 30}}, now=101)
    assert told("sluice_stream_lag_seconds", "gone") == 1, "once it is back, the time begins anew"


def test_a_contract_that_was_moved_away_is_set_aside_no_more(job: Job) -> None:
    job._show({"moved_away": Mock(), "orders": Mock()}, {"moved_away": "it is broken", "unread": "it is broken"})
    assert [told("sluice_stream_set_aside", name) for name in ("moved_away", "unread", "orders")] == [1, 1, 0]
    job._show({"orders": Mock()}, {})
    assert [told("sluice_stream_set_aside", name) for name in ("moved_away", "unread", "orders")] == [None, None, 0]


def test_a_job_that_stands_by_tells_of_no_stream(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where its streams were when it lost the lease is of no use: another job moves them on."""
    job._show({"passed_on": Mock()}, {"broken_here": "no such table"})
    job.lag.reached("passed_on", {0: 10}, now=0)
    job.lag.seen({"passed_on": {0: 20}}, now=1)
    monkeypatch.setattr("stream_jobs.run.Lease", Mock(return_value=Mock(acquire=Mock(side_effect=[False, True]))))
    monkeypatch.setattr(job.stopping, "wait", lambda _: False)
    job._wait_for_lease()
    assert gauges("passed_on") == gauges("broken_here") == set()


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
