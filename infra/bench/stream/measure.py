"""The parts of the benchmark, in the order in which they disturb each other least."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from catalog.contract import Stream
from catalog.errors import SluiceError
from catalog.settings import LakeSettings
from infra.bench.catchup import catchup
from infra.bench.stream.aims import judged
from infra.bench.stream.faults import faults
from infra.bench.stream.growth import growth
from infra.bench.stream.show import Watcher
from infra.bench.stream.steady import steady

PARTS = ("steady", "faults", "catchup", "growth")
STREAMS = ("orders", "users", "earthquakes")


@dataclass(frozen=True)
class Plan:
    """How much is measured: events a second and minutes of the steady load, records of a catch-up and of a table that grew."""

    parts: tuple[str, ...] = PARTS
    rate: int = 1000
    minutes: float = 10.0
    records: int = 2_000_000


def stream(
    lake: LakeSettings,
    contracts: Mapping[str, Stream],
    state: Path,
    address: str,
    folder: Path,
    plan: Plan,
    see: Watcher,
) -> dict[str, Any]:
    """Measure the stack in `state`, whose stream job answers at `address`. Its rows stay in the lake. Raises SluiceError."""
    if unknown := sorted(set(plan.parts) - set(PARTS)):
        raise SluiceError(f"There is no part {unknown[0]}; there are {', '.join(PARTS)}")
    if missing := [name for name in STREAMS if name not in contracts]:
        raise SluiceError(f"The benchmark sends to {', '.join(STREAMS)}, and there is no contract of {missing[0]}")
    three = {name: contracts[name] for name in STREAMS}
    found: dict[str, Any] = {"cores": os.cpu_count()}
    if "steady" in plan.parts:
        found["steady"] = steady(lake, three, state, address, plan.rate, plan.minutes, see)
    if "faults" in plan.parts:
        found["faults"] = faults(lake, three, state, max(1, plan.rate // 5), see)
    if "catchup" in plan.parts:
        found["catchup"] = catchup(lake, plan.records, folder / "catchup", lambda text: see(text, 0.0))
    if "growth" in plan.parts:
        found["growth"] = growth(lake, plan.records, folder / "growth", see)
    return {**found, "aims": judged(found)}
