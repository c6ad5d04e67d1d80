"""`python -m infra.capacity`: what so many bytes a day ask of each part, from what was measured. Arithmetic on paper.

Each figure names the guide that tells how it was measured. Rates are taken to grow with cores and replicas where parts share
nothing (gateways); a stream job is one process, and is not taken to grow. Events that are larger than the measured ones are
taken to cost by their bytes.
"""

import argparse
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

DAY = 86_400
TB, GB, MB = 10**12, 10**9, 10**6


@dataclass(frozen=True)
class Figure:
    """A rate that was measured on `cores` cores, with events of `event_bytes`; `told` is how the guide writes it."""

    rate: int
    event_bytes: int
    guide: str
    told: str
    cores: int = 2

    def times(self, events: float, event_bytes: int, load: float) -> float:
        """How often that what was measured is needed at this share of its load, by events or by bytes, whichever asks for more."""
        return max(events, events * event_bytes / self.event_bytes) / self.rate / load


SINGLE = Figure(13_000, 1_000, "docs/gateway.md", "13,000 single events/s")
BATCH = Figure(157_000, 300, "docs/gateway.md", "157,000 events/s in batches")
STREAM = Figure(51_300, 285, "README.md", "51,300 rows/s")


@dataclass(frozen=True)
class Site:
    """What is known or assumed of a site."""

    tb_a_day: float = 5.0
    event_bytes: int = 1_000
    peak: float = 2.0  # the busiest hour by the mean
    load: float = 0.7  # share of the measured rate that is planned with: the autoscaler's target
    replication: int = 3
    kafka_days: float = 7.0  # SLUICE_TOPIC_RETENTION_HOURS
    stored: float = 2.0  # bytes in the bucket for each that came in: bronze and silver, as if nothing were compressed
    streams: int = 4
    kept_days: float = 365.0

    @property
    def mean(self) -> float:
        """Events a second."""
        return self.tb_a_day * TB / DAY / self.event_bytes

    @property
    def most(self) -> float:
        """Events a second in the busiest hour."""
        return self.mean * self.peak


# A commit writes a data file, a manifest, a manifest list and a metadata file; bronze and silver commit for each batch, which
# begins each half second at the shortest.
PUTS_A_COMMIT, TABLES, BATCHES_A_SECOND = 4, 2, 2


def one_job_carries(site: Site) -> float:
    """TB a day of events of this size that one stream job takes as a mean."""
    return site.tb_a_day / STREAM.times(site.mean, site.event_bytes, site.load)


def rows(site: Site) -> Iterator[tuple[str, str, str]]:
    """(what, how much, how it was reckoned)"""
    mean_mb, most_mb = site.mean * site.event_bytes / MB, site.most * site.event_bytes / MB
    yield (
        "events, mean and busiest hour",
        f"{site.mean:,.0f}/s, {site.most:,.0f}/s",
        f"{site.tb_a_day:g} TB / {DAY:,} s / {site.event_bytes:,} B; × {site.peak:g}",
    )
    yield (
        "bytes, mean and busiest hour",
        f"{mean_mb:,.0f} MB/s, {most_mb:,.0f} MB/s",
        f"events × {site.event_bytes:,} B",
    )
    for name, figure in (("gateway, single events", SINGLE), ("gateway, batches of 100", BATCH)):
        pods = figure.times(site.most, site.event_bytes, site.load)
        yield (
            name,
            f"{math.ceil(pods * figure.cores)} cores, {math.ceil(pods)} replicas of {figure.cores}",
            f"{figure.rate:,}/s of {figure.event_bytes:,} B on {figure.cores} cores, by events or bytes, at {site.load:.0%}",
        )
    jobs = math.ceil(STREAM.times(site.mean, site.event_bytes, site.load))
    yield (
        "stream jobs for the mean",
        f"{jobs}",
        f"{STREAM.rate:,} rows/s of {STREAM.event_bytes} B, by events or bytes, at {site.load:.0%}; "
        f"one carries {one_job_carries(site):.1f} TB a day",
    )
    yield (
        "Kafka, written in the busiest hour",
        f"{most_mb * site.replication:,.0f} MB/s",
        f"{most_mb:,.0f} MB/s × {site.replication} replicas",
    )
    yield (
        "Kafka, disk",
        f"{site.tb_a_day * site.kafka_days * site.replication:,.0f} TB",
        f"{site.tb_a_day:g} TB × {site.kafka_days:g} days × {site.replication}",
    )
    yield (
        "object store, after a year" if site.kept_days == 365 else f"object store, after {site.kept_days:g} days",
        f"{site.tb_a_day * site.stored * site.kept_days:,.0f} TB",
        f"{site.tb_a_day:g} TB × {site.stored:g} × {site.kept_days:g} days",
    )
    puts = PUTS_A_COMMIT * TABLES * BATCHES_A_SECOND * site.streams * DAY
    yield (
        "object store, writes of commits, at most",
        f"{puts / MB:,.1f} million a day",
        f"{site.streams} streams × {TABLES} tables × {BATCHES_A_SECOND} batches/s × {PUTS_A_COMMIT} files × {DAY:,} s",
    )


def table(site: Site) -> str:
    """As Markdown."""
    lines = ["| what | how much | reckoned |", "|---|---|---|"]
    return "\n".join([*lines, *(f"| {what} | {much} | {how} |" for what, much, how in rows(site))])


def parsed(arguments: Sequence[str] | None = None) -> Site:
    """The site that the options describe."""
    parser = argparse.ArgumentParser(
        prog="python -m infra.capacity", description="What so many bytes a day ask of each part."
    )
    for name, default in vars(Site()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default, metavar=f"{default:g}")
    site = Site(**vars(parser.parse_args(arguments)))
    if min(vars(site).values()) <= 0:
        parser.error("every number must be greater than 0")
    return site


if __name__ == "__main__":
    print(table(parsed()))
