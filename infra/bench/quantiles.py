"""p50, p95, p99 and max of a list of figures."""

from collections.abc import Sequence


def quantiles(values: Sequence[float]) -> dict[str, float]:
    """Empty for no values. The quantile is the smallest value that so many are at most."""
    if not values:
        return {}
    ordered = sorted(values)

    def at(share: float) -> float:
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    return {"p50": at(0.5), "p95": at(0.95), "p99": at(0.99), "max": ordered[-1]}
