"""The figures of a run, for people."""

from collections.abc import Sequence
from dataclasses import dataclass

from infra.bench.quantiles import quantiles
from tests.faults.load import Ledger


@dataclass(frozen=True)
class Struck:
    """A strike, and the seconds from its end until an event went from HTTP to silver again in every stream."""

    name: str
    seconds: float


def table(struck: Sequence[Struck], ledgers: Sequence[Ledger], seed: int) -> str:
    """A page in Markdown."""
    told = {
        "acknowledged": sum(len(ledger.acknowledged) for ledger in ledgers),
        "refused": sum(len(ledger.refused) for ledger in ledgers),
        "of unknown fate": sum(len(ledger.unknown) for ledger in ledgers),
    }
    at = quantiles([strike.seconds for strike in struck])
    lines = [
        "# Under faults", "",
        "Written by `SLUICE_FAULTS=N SLUICE_FAULTS_REPORT=docs/faults.md ./sluice test -- tests/faults -s`.", "",
        f"{len(struck)} faults (seed {seed}) while events came in to {len(ledgers)} streams: "
        + ", ".join(f"{number:,} {what}" for what, number in told.items()) + ".", "",
        "Afterwards every acknowledged event was in bronze, and in silver or quarantine once; none that was refused was in the "
        "lake; entities were what a plain fold of bronze gives; `sluice verify` found nothing.", "",
        f"Fresh again after p50 {at['p50']:.1f} s, p95 {at['p95']:.1f} s, at most {at['max']:.1f} s.", "",
        "| fault | times | fresh again after, at most |", "|---|---|---|",
    ]  # fmt: skip
    for name in sorted({strike.name for strike in struck}):
        seconds = [strike.seconds for strike in struck if strike.name == name]
        lines.append(f"| {name} | {len(seconds)} | {max(seconds):.1f} s |")
    return "\n".join(lines) + "\n"
