"""What a part is: how it is started, when it is ready, how it ends."""

import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from infra.native.probes import Probe

# What reads and keeps the tables waits for what comes in, but not for long: tables that nobody keeps make each commit slower.
# Nobody waits for checks.
YIELDS, YIELDS_MOST = 5, 15


def nothing() -> None:
    """For a part that needs no preparation."""


@dataclass(frozen=True)
class Part:
    """A supervised process. `once` parts are steps: they are ready when they have ended well.

    `prepare` runs before every start (writes configuration, makes data folders) and may raise SluiceError. `ready` decides
    readiness at the start, `healthy` is asked while it runs. Limits are in seconds.
    `yields` is how far it steps back where the processors are short, as a nice value: what takes events in goes first. One that
    `starts_in_front` does so when it is ready: somebody waits for its start.
    """

    name: str
    command: tuple[str, ...]
    ready: Probe
    healthy: Probe
    environment: Mapping[str, str] = field(default_factory=dict)
    port: int | None = None
    url: str | None = None
    memory: str | None = None
    needs: tuple[str, ...] = ()
    prepare: Callable[[], None] = nothing
    stop_signal: signal.Signals = signal.SIGTERM
    stop_limit: float = 20.0
    start_limit: float = 600.0  # of one that neither answers nor ends; Trino needs minutes where many others compute
    once: bool = False
    yields: int = 0
    starts_in_front: bool = False
    directory: Path = Path("/")
