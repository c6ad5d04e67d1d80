"""What the stream job is to reach, beside what was measured. A part that was not run has no aims."""

from infra.bench import aims
from infra.bench.aims import Aim, Figures

# Kafka Connect with Iceberg's own sink, bronze only, 2 M records from its start, measured on two such cores.
CONNECT = 78_000
# What is asked of files and metadata is asked after an hour.
HOUR = 60

AIMS: dict[str, tuple[Aim, ...]] = {
    "steady": (
        Aim("HTTP → Trino, p50 in s", 1.0, False, lambda f: _fresh(f, "p50")),
        Aim("HTTP → Trino, p95 in s", 2.0, False, lambda f: _fresh(f, "p95")),
        Aim("HTTP → Trino, greatest in s", 5.0, False, lambda f: _greatest(f)),
        Aim("events that SQL does not find", 0, False, lambda f: f["steady"]["freshness"]["unseen"]),
        Aim("steady: memory of the job, MB", 1500, False, lambda f: f["steady"]["rss_mb"]),
        Aim("files of a partition, after an hour", 20, False, lambda f: _after_an_hour(f, "settled_files")),
        Aim("metadata of all bytes, after an hour", 0.05, False, lambda f: _after_an_hour(f, "metadata_share")),
    ),
    "catchup": (
        Aim("catching up, of a bare append", 0.5, True, lambda f: f["catchup"]["ratio"]),
        Aim(
            "catching up from its start, rows/s", CONNECT, True,
            lambda f: f["catchup"]["stream_job"]["rows_per_s_from_start"],
        ),
        Aim("catching up: memory of the job, MB", 1500, False, lambda f: f["catchup"]["stream_job"]["rss_mb"]),
    ),
    "growth": (
        Aim("batch at the full size, events", 1.2, False, lambda f: f["growth"]["events"]["ratio"]),
        Aim("batch at the full size, entities", 1.2, False, lambda f: f["growth"]["entities"]["ratio"]),
    ),
    "faults": (
        Aim("fresh again after a fault, s", 30, False, lambda f: max(f["faults"]["seconds"].values())),
    ),
}  # fmt: skip


def judged(found: Figures) -> list[Figures]:
    """Each aim of the parts that were run."""
    return aims.judged([aim for part, of in AIMS.items() if part in found for aim in of], found)


def _fresh(found: Figures, quantile: str) -> float | None:
    value: float | None = found["steady"]["freshness"]["seconds"].get(quantile)
    return value


def _greatest(found: Figures) -> float | None:
    """Trino is asked after some commits: the slowest one may be another."""
    fresh = found["steady"]["freshness"]
    values: list[float] = [fresh[kind]["max"] for kind in ("seconds", "commit_seconds") if "max" in fresh[kind]]
    return max(values, default=None)


def _after_an_hour(found: Figures, figure: str) -> float | None:
    steady = found["steady"]
    value: float = steady["tables"][figure]
    return value if steady["minutes"] >= HOUR else None
