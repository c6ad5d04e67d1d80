"""The life of the process: hold the lease, catch up, run the query, start again when contracts or servers change."""

import asyncio
import signal
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import structlog
from pyiceberg.exceptions import NoSuchTableError
from pyspark.sql import SparkSession

from catalog import names
from catalog.contract import SUFFIX, Stream
from catalog.errors import SluiceError
from catalog.kafka_offsets import starting_offsets, topic_bounds
from catalog.lake import file_system, open_catalog
from catalog.odcs import load_contracts
from catalog.settings import LakeSettings
from stream_jobs.commit import FencedError
from stream_jobs.lease import Lease
from stream_jobs.metrics import SET_ASIDE, Health, serve
from stream_jobs.query import Batches, report, start
from stream_jobs.session import make_session
from stream_jobs.settings import StreamSettings
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
        self.lease: Lease | None = None

    def run(self) -> int:
        """Until SIGTERM or SIGINT."""
        serve(self.settings.host, self.settings.port, self.health)
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
                    self.health.become("fenced", str(fenced))
                    log.error("fenced", reason=str(fenced))
                    return FENCED
                except Exception as failure:
                    if not _alive(spark):
                        log.error("spark-died", reason=_first_line(failure))
                        return DIED
                    attempt += 1
                    self._wait(attempt, failure)
        finally:
            if self.lease is not None:
                self.lease.close()
            if _alive(spark):
                spark.stop()
        return 0

    def _wait_for_lease(self) -> None:
        """Return when this job holds the lease, or is to stop. Raises psycopg.OperationalError."""
        if not self.settings.lease or self._holds_lease():
            return
        self.lease = Lease(self.lake)
        while not self.lease.acquire():
            self.health.become("standby", "another stream job holds the lease")
            if self.stopping.wait(1):
                return

    def _holds_lease(self) -> bool:
        return not self.settings.lease or (self.lease is not None and self.lease.held())

    def _wait(self, attempt: int, failure: BaseException) -> None:
        pause = min(self.settings.backoff_max, 0.5 * 2 ** min(attempt, 10))
        reason = _first_line(failure)
        self.health.become("waiting", reason)
        log.error("waiting", seconds=pause, attempt=attempt, reason=reason, kind=type(failure).__name__)
        self.stopping.wait(pause)

    def _session(self, spark: SparkSession) -> None:
        """Read contracts and tables, catch up, run the query.

        Returns when contracts change, the lease is lost or the job is to stop.
        """
        if self.stopping.is_set():
            return
        fingerprint = contracts_fingerprint(self.lake.contracts)
        contracts = load_contracts(self.lake.contracts)
        aside = unapplied(self.lake, contracts)
        for name in contracts:
            SET_ASIDE.labels(name).set(name in aside)
        if aside:
            log.warning("set-aside", streams=aside)
        streams = {name: stream for name, stream in contracts.items() if name not in aside}
        bounds = asyncio.run(topic_bounds(self.lake, map(names.topic, streams)))
        writers = self._writers(spark, streams)
        starting = {
            names.topic(name): starting_offsets(name, bounds[names.topic(name)], writer.offsets)
            for name, writer in writers.items()
        }
        if not writers:
            self.health.become("running", "no stream is applied yet: run `sluice apply`", ())
            while not self.stopping.wait(self.settings.poll_contracts) and not self._changed(
                fingerprint, contracts, aside
            ):
                pass
            return
        batches = Batches(writers, self.pool, self.settings.max_batch_rows // 2)
        query = start(spark, self.lake, self.settings, batches, starting)
        self.health.become("running", streams=writers)
        log.info("running", streams=sorted(writers))
        try:
            while query.isActive and self._holds_lease() and not self._changed(fingerprint, contracts, aside):
                query.awaitTermination(self.settings.poll_contracts)
                if self.stopping.is_set() or batches.failure is not None:
                    break
        finally:
            # Nobody is inside a batch when the query is stopped; the wait has a limit, for a server may be away.
            batches.settle(self.settings.backoff_max)
            query.stop()
            if batches.failure is not None:
                raise batches.failure

    def _writers(self, spark: SparkSession, streams: Mapping[str, Stream]) -> dict[str, StreamWriter]:
        """A writer for each stream, caught up from bronze."""
        age = timedelta(seconds=self.settings.snapshot_age)
        catalog, files = open_catalog(self.lake), file_system(self.lake)

        def ready(stream: Stream) -> StreamWriter:
            writer = StreamWriter(spark, catalog, stream, files, self.stages, age)
            for outcome in writer.catch_up(self.settings.max_batch_rows):
                report([outcome], -1, 0.0)
            return writer

        futures = {name: self.pool.submit(ready, stream) for name, stream in streams.items()}
        return {name: future.result() for name, future in futures.items()}

    def _changed(self, fingerprint: str, contracts: Mapping[str, Stream], aside: Mapping[str, str]) -> bool:
        """Whether a contract changed, or a stream that was set aside can go on."""
        if contracts_fingerprint(self.lake.contracts) == fingerprint:
            return bool(aside) and unapplied(self.lake, {name: contracts[name] for name in aside}) != aside
        try:
            load_contracts(self.lake.contracts)
        except SluiceError as broken:
            log.error("contract", reason=str(broken))  # the contracts that run stay in force
            return False
        return True


def unapplied(lake: LakeSettings, streams: Mapping[str, Stream]) -> dict[str, str]:
    """Streams that the lake is not ready for, with the reason: `sluice apply` has not been run since their contract changed."""
    if not streams:
        return {}
    topics = asyncio.run(topic_bounds(lake, map(names.topic, streams)))
    catalog = open_catalog(lake)
    found = {}
    for name, stream in streams.items():
        if names.topic(name) not in topics:
            found[name] = "its topic is not there"
            continue
        for layer in names.LAYERS:
            try:
                columns = set(catalog.load_table(names.table(layer, name)).schema().column_names)
            except NoSuchTableError:
                found[name] = f"its table {names.table(layer, name)} is not there"
                break
            lacking = [c.name for c in stream.columns if c.name not in columns] if layer != names.BRONZE else []
            if lacking:
                found[name] = f"{names.table(layer, name)} lacks the column {lacking[0]}"
    return found


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


def _first_line(failure: BaseException) -> str:
    """The reason in a line: Java's own words where the failure came from there."""
    java = getattr(failure, "java_exception", None)
    text = str(java.toString() if java is not None else failure).strip().splitlines()
    return (text[0] if text else type(failure).__name__)[:500]
