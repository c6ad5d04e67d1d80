"""What the gateway is to reach, beside what was measured."""

from infra.bench import aims
from infra.bench.aims import Aim, Figures

AIMS = (
    Aim("singles, of the echo's rate", 0.6, True, lambda f: f["ratios"]["singles"]["echo"]),
    Aim("singles, of the plain gateway's", 1.0, True, lambda f: f["ratios"]["singles"]["plain"]),
    Aim("batches, events/s a worker", 130_000, True, lambda f: f["batches"]["sluice"]["events_per_s"] / f["workers"]),
    Aim("batches, of the bare producer's", 0.5, True, lambda f: f["ratios"]["batches"]["producer"]),
    Aim("batches, of the plain gateway's", 6.0, True, lambda f: f["ratios"]["batches"]["plain"]),
    Aim("half rate, p99 in ms", 25.0, False, lambda f: f["half_rate"]["sluice"]["p99_ms"]),
    Aim("overload, MB of a worker", 150.0, False, lambda f: f["overload"]["rss_mb"]["during"]),
    Aim("overload, of the memory before", 1.25, False, lambda f: _growth(f["overload"]["rss_mb"])),
    Aim("overload, p99 of 503s in ms", 50.0, False, lambda f: _refusals(f["overload"])),
    Aim(
        "overload, accepted of the rate", 0.9, True,
        lambda f: f["overload"]["accepted_events_per_s"] / f["singles"]["sluice"]["events_per_s"],
    ),
    Aim(
        "spool, single events/s, synced", 20_000, True,
        lambda f: f["spool"]["singles"]["spooled_events_per_s"],
    ),
)  # fmt: skip


def judged(found: Figures) -> list[Figures]:
    """Each aim with its figure, and whether it was reached (None: nothing can be said)."""
    return aims.judged(AIMS, found)


def _growth(memory: dict[str, float]) -> float:
    return max(memory["during"], memory["after"]) / memory["before"]


def _refusals(overload: Figures) -> float | None:
    times = overload["from_sending_ms"].get("503")
    return times["p99"] if times else None
