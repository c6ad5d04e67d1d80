"""What the supervisor knows of its parts, as a file that outlives it and as the answer to commands."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from infra.native.processes import Identity
from infra.native.runner import Status


@dataclass(frozen=True)
class Record:
    """The supervisor's process and the state of every part."""

    supervisor: Identity | None
    parts: Mapping[str, Status] = field(default_factory=dict)

    def as_json(self) -> dict[str, object]:
        return {
            "supervisor": asdict(self.supervisor) if self.supervisor else None,
            "parts": {name: asdict(status) for name, status in self.parts.items()},
        }

    @staticmethod
    def from_json(document: dict[str, object]) -> "Record":
        statuses = {}
        for name, fields in document["parts"].items():  # type: ignore[attr-defined]
            process = fields.pop("process")
            statuses[name] = Status(**fields, process=Identity(**process) if process else None)
        supervisor = document["supervisor"]
        return Record(Identity(**supervisor) if supervisor else None, statuses)  # type: ignore[arg-type]


def record_file(state: Path) -> Path:
    return state / "run" / "parts.json"


def read_record(state: Path) -> Record | None:
    """What the last supervisor wrote, or None."""
    try:
        return Record.from_json(json.loads(record_file(state).read_text()))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_record(state: Path, record: Record) -> None:
    file = record_file(state)
    fresh = file.with_suffix(f".{os.getpid()}")
    fresh.write_text(json.dumps(record.as_json(), indent=1))
    fresh.replace(file)
