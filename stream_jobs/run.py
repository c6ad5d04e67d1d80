"""The life of the process: hold the lease, catch up, run the query, start again when contracts or servers change."""

import asyncio
import signal
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import structlog
from pyspark.sql import SparkSession

from catalog import names
from catalog.contract import SUFFIX, Stream
from catalog.kafka_offsets import GoneError, cluster_id, starting_offsets, topic_bounds
from catalog.lake import file_system, open_catalog
from catalog.lease import Lease
from catalog.maintenance.settings import maintenance_settings
from catalog.odcs import load_each
from catalog.settings import LakeSettings
from catalog.turns import Turns
from stream_jobs.aside import Rests, bronze_offsets, unapplied
from stream_jobs.commit import FencedError
from stream_jobs.failures import first_line, raise_unless_single
from stream_jobs.lag import Lag
from stream_jobs.metrics import SET_ASIDE, Health, serve
from stream_jobs.query import Batches, report, start
from stream_jobs.session import end_session, make_session
from stream_jobs.settings import StreamSettings
from stream_jobs.source import claim
from stream_jobs.writer import StreamWriter

log = structlog.get_logger()

FENCED = 3
DIED = 4
# Streams × (bronze and silver side by side), plus their coordinators; the work itself is bounded by Spark's cores.
THREADS = 32


class Job:
    """One stream job. `run` returns the exit code."""

    def __init__(self, lake: LakeSettings, settings: StreamSettings) -> None:
        self.lake = lake
        self.settings = settings
        self.health = Health()
        self.stopping = threading.Event()
        self.pool = ThreadPoolExecutor(THREADS, "stream")
        self.stages = ThreadPoolExecutor(THREADS, "stage")
        self.rests = Rests()
        self.lag = Lag()
        self.shown: set[str] = set()
        self.turns = Turns(lake)
        self.lost: set[str] = set()
        self.lease: Lease | None = None
        self.yielded = ""

    def run(self) -> int:
        """Until SIGTERM or SIGINT."""
        serve(self.settings.host, self.settings.port, self.health)
        self.lag.watch(self.lake, self.health)
        for signal_number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signal_number, lambda *_: self.stopping.set())
        spark = make_session(self.lake, self.settings)
        attempt = 0
        try:
            while not self.stopping.is_set():
                try:
                    self._wait_for_lease()
                    self._session(spark)
                    attempt = 0
                except FencedError as fenced:
                    log.error("fenced", reason=str(fenced))
                    if self._holds_lease():  # so the other writer asks for no lease, and waiting for it would not end
                        self.health.become("fenced", str(fenced))
                        return FENCED
                    self.yielded = str(fenced)
                except Exception as failure:
                    if not _alive(spark):
                        log.error("spark-died", reason=first_line(failure))
                        return DIED
                    attempt += 1
                    self.rests.forget_times()
                    self._wait(attempt, failure)
        finally:
            if self.lease is not None:
                self.lease.close()
            if _alive(spark):
                end_session(spark)
        return 0

    def _wait_for_lease(self) -> None:
        """Return when this job holds the lease, or is to stop. Raises psycopg.OperationalError."""
        if not self.settings.lease or self._holds_lease():
            return
        if self.lease is not None:
            self.lease.close()
        self.lease = Lease(self.lake, "stream", self.settings.lease_patience)
        while not self.lease.acquire():
            self._show({}, {})  # each time: a batch that hung when the lease was lost may have ended since
            reason = f"; this one was paused and fenced off: {self.yielded}" if self.yielded else ""
            self.health.become("standby", f"another stream job holds the lease{reason}")
            if self.stopping.wait(1):
                return
        self.yielded = ""

    def _holds_lease(self) -> bool:
        return not self.settings.lease or (self.lease is not None and self.lease.held())

    def _wait(self, attempt: int, failure: BaseException) -> None:
        pause = min(self.settings.backoff_max, 0.5 * 2 ** min(attempt, 10))
        reason = first_line(failure)
        self.health.become("waiting", reason)
        log.error("waiting", seconds=pause, attempt=attempt, reason=reason, kind=type(failure).__name__)
        self.stopping.wait(pause)

    def _session(self, spark: SparkSession) -> None:
        """Read contracts and tables, catch up, run the query.

        Returns when contracts change, a stream that was set aside may try again, the lease is lost or the job is to stop.
        """
        if self.stopping.is_set():
            return
        fingerprint = contracts_fingerprint(self.lake.contracts)
        contracts, aside = load_each(self.lake.contracts)
        waiting = unapplied(self.lake, contracts)
        aside |= {**waiting, **self.rests.resting()}
        writers, starting = self._ready(spark, {n: stream for n, stream in contracts.items() if n not in aside})
        aside |= self.rests.resting()
        self._show(contracts, aside)
        applied = contracts.keys() - waiting.keys()
        lost = bronze_offsets(self.lake, self.lost & (applied - writers.keys()))

        def changed() -> bool:
            if contracts_fingerprint(self.lake.contracts) != fingerprint:
                self.rests.forget_times()
                return True
            if waiting and unapplied(self.lake, {name: contracts[name] for name in waiting}) != waiting:
                return True
            if lost and bronze_offsets(self.lake, lost) != lost:
                self.rests.forget_times()  # somebody decided to go on without what Kafka lost
                return True
            return self.rests.moved(applied, writers)

        if not writers:
            self.health.become("running", _told(aside) or "no stream is applied yet: run `sluice apply`", ())
            while not self.stopping.wait(self.settings.poll_contracts) and not changed():
                pass
            return
        large, interval = self.settings.max_batch_rows // 2, self.settings.interval
        batches = Batches(writers, self.pool, large, interval, self.rests, self.lag)
        query = start(spark, self.lake, self.settings, batches, starting)
        self.health.become("running", _told(aside), streams=writers)
        log.info("running", streams=sorted(writers))
        try:
            while query.isActive and self._holds_lease() and not changed():
                query.awaitTermination(self.settings.poll_contracts)
                if self.stopping.is_set() or batches.failure is not None:
                    break
        finally:
            # Nobody is inside a batch when the query is stopped; the wait has a limit, for a server may be away.
            batches.settle(self.settings.backoff_max)
            query.stop()
            if batches.failure is not None:
                raise batches.failure

    def _ready(
        self, spark: SparkSession, streams: Mapping[str, Stream]
    ) -> tuple[dict[str, StreamWriter], dict[str, dict[int, int]]]:
        """A writer for each stream, caught up from bronze, and for its topic the offsets to start from. A stream that fails is
        set aside; where all fail, a server is away: raises what the first one failed with."""
        age = timedelta(seconds=maintenance_settings().snapshot_age)
        catalog, files = open_catalog(self.lake), file_system(self.lake)
        bounds = asyncio.run(topic_bounds(self.lake, map(names.topic, streams)))
        cluster = asyncio.run(cluster_id(self.lake))

        def ready(stream: Stream) -> tuple[StreamWriter, dict[int, int]]:
            claim(catalog, stream.name, cluster)
            writer = StreamWriter(spark, catalog, stream, files, self.stages, age, self.turns.batch)
            for outcome in writer.catch_up(self.settings.max_batch_rows):
                report([outcome], -1, 0.0, self.lag)
            self.lag.reached(stream.name, writer.complete, time.monotonic())
            return writer, starting_offsets(stream.name, bounds[names.topic(stream.name)], writer.offsets)

        futures = {name: self.pool.submit(ready, stream) for name, stream in streams.items()}
        failures = {name: failure for name, future in futures.items() if (failure := future.exception()) is not None}
        raise_unless_single(failures, streams, streams, self.rests)
        self.lost -= streams.keys()
        self.lost |= {name for name, failure in failures.items() if isinstance(failure, GoneError)}
        done = {name: future.result() for name, future in futures.items() if name not in failures}
        return {n: writer for n, (writer, _) in done.items()}, {names.topic(n): at for n, (_, at) in done.items()}

    def _show(self, contracts: Mapping[str, Stream], aside: Mapping[str, str]) -> None:
        """Tell what is set aside, and nothing more of streams that are gone."""
        streams = {*contracts, *aside}
        for name in self.shown - streams:
            SET_ASIDE.remove(name)
        for name in streams:
            SET_ASIDE.labels(name).set(name in aside)
        self.shown = streams
        self.lag.keep(streams)
        if aside:
            log.warning("set-aside", streams=dict(aside))


def _told(aside: Mapping[str, str]) -> str:
    """For `/healthz`: what is set aside, and why."""
    return "; ".join(f"{name} is set aside: {reason}" for name, reason in sorted(aside.items()))


def contracts_fingerprint(folder: Path) -> str:
    """Changes whenever a contract file does."""
    digest = sha256()
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        try:
            digest.update(path.name.encode() + path.read_bytes())
        except OSError:
            continue  # removed between the listing and the reading: the next look sees it
    return digest.hexdigest()


def run(lake: LakeSettings, settings: StreamSettings) -> int:
    """Run a job in this process."""
    return Job(lake, settings).run()


def _alive(spark: SparkSession) -> bool:
    """Whether the JVM still answers."""
    try:
        return not spark.sparkContext._jsc.sc().isStopped()
    except Exception:  # py4j raises its own network errors, and the socket's
        return False
