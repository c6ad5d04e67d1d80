"""What `sluice up` fetches, in a bill of materials: `python -m infra.native.materials FILE` adds it to a CycloneDX document."""

import json
import sys
import tomllib
from pathlib import Path
from typing import Any

LOCK = Path(__file__).with_name("artifacts.lock")


def components() -> list[dict[str, Any]]:
    """One for each file of the lock, with its package URL and its SHA-256; a Go module has a hash of its own, which is left out."""
    lock = tomllib.loads(LOCK.read_text())
    return [
        _component(part["source"], artifact["identity"], artifact["file"], artifact["sha256"])
        for part in lock.values()
        for artifact in part["artifacts"]
    ]


def _component(source: str, identity: str, file: str, digest: str) -> dict[str, Any]:
    match source:
        case "ivy":
            group, name, version, *classifier = identity.split(":")
            purl = f"pkg:maven/{group}/{name}@{version}" + (f"?classifier={classifier[0]}" if classifier else "")
        case "go":
            name, _, version = identity.partition("@")
            purl = f"pkg:golang/{identity}"
        case "wheel":
            name, _, version = identity.partition("==")
            purl = f"pkg:pypi/{name}@{version}?file_name={file}"
        case _:
            raise ValueError(f"{LOCK.name}: {identity} is from {source!r}, for which there is no package URL here")
    hashes = {} if source == "go" else {"hashes": [{"alg": "SHA-256", "content": digest}]}
    return {
        "type": "library",
        "bom-ref": f"{identity}/{file}",
        "name": name,
        "version": version,
        "purl": purl,
        **hashes,
    }


def add_to(document: Path) -> None:
    """Add them to what the document lists already."""
    told = json.loads(document.read_text())
    told["components"] = [*told.get("components", ()), *components()]
    document.write_text(json.dumps(told, indent=2) + "\n")


if __name__ == "__main__":
    add_to(Path(sys.argv[1]))
