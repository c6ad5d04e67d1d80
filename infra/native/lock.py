"""`python -m infra.native.lock [COMPONENT...]`: write artifacts.lock for what `components.WANTED` names, or anew for some of it.

Needs Java, Go and the network.
"""

import hashlib
import json
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from threading import Event

from infra.native.components import LOCK, PLATFORMS, WANTED, Artifact, Wanted
from infra.native.fetch import sha256_of
from infra.native.ivy import RETRIEVED, retrieve
from infra.native.java import installed_javas
from infra.native.tools import InterruptedFetchError
from infra.native.wheels import download

HEADER = """\
# What `sluice up` fetches: every file with its size in bytes and its SHA-256 (a Go module: its h1 hash).
# Written by `python -m infra.native.lock` from what infra/native/components.py asks for; not edited by hand.
"""
SEPARATOR = RETRIEVED.split("[organisation]")[1].split("[")[0]
ARCHIVES = ("tar.gz", "zip", "jar")


def locked(wanted: Wanted, work: Path) -> Iterator[Artifact]:
    """Fetch everything of a component, for every platform, and describe it."""
    if wanted.source == "ivy":
        java = installed_javas()[0]
        files = retrieve(wanted.roots, java.path, False, work, Event(), transitive=True)
        yield from (_maven(file) for file in files)
    elif wanted.source == "go":
        (root,) = wanted.roots
        shown = subprocess.run(
            ["go", "mod", "download", "-json", root], capture_output=True, text=True, check=True, cwd=work
        )
        yield Artifact(root, root.split("/")[-1].split("@")[0], 0, json.loads(shown.stdout)["Sum"])
    else:
        (root,) = wanted.roots
        for platform in PLATFORMS:
            try:
                file = download(root, platform, work, Event())
            except Exception as failure:
                if isinstance(failure, InterruptedFetchError):
                    raise
                print(f"{root}: none for {platform}", file=sys.stderr)
                continue
            yield Artifact(root, file.name, file.stat().st_size, sha256_of(file), platform)


def _maven(file: Path) -> Artifact:
    group, rest = file.name.split(SEPARATOR, 1)
    kind = next(kind for kind in ARCHIVES if rest.endswith(f".{kind}"))
    # The version begins at the last hyphen that a digit follows and that leaves a known name: Ivy's cache knows it.
    name, version = _name_and_version(rest.removesuffix(f".{kind}"), file.parents[1] / "cache" / group)
    identity = f"{group}:{name}:{version}" + ("" if kind == "jar" else f":{kind}")
    return Artifact(identity, rest, file.stat().st_size, sha256_of(file))


def _name_and_version(stem: str, cached: Path) -> tuple[str, str]:
    names = [folder.name for folder in cached.iterdir() if stem.startswith(folder.name + "-")]
    name = max(names, key=len)
    return name, stem.removeprefix(name + "-")


def document(entries: list[tuple[Wanted, list[Artifact]]]) -> str:
    """The lock file's text (TOML)."""
    lines = [HEADER]
    for wanted, artifacts in entries:
        content = json.dumps([asdict(artifact) for artifact in artifacts], sort_keys=True)
        key = hashlib.sha256(content.encode()).hexdigest()[:8]
        lines += [f"[{wanted.name}]", f'version = "{wanted.version}"', f'source = "{wanted.source}"', f'key = "{key}"']
        lines.append("artifacts = [")
        for artifact in artifacts:
            fields = {name: value for name, value in asdict(artifact).items() if value != ""}
            lines.append("  { " + ", ".join(f"{name} = {json.dumps(value)}" for name, value in fields.items()) + " },")
        lines += ["]", ""]
    return "\n".join(lines)


def main(names: list[str]) -> None:
    before = tomllib.loads(LOCK.read_text()) if names else {}
    entries = []
    for wanted in WANTED:
        if names and wanted.name not in names:
            entries.append((wanted, [Artifact(**fields) for fields in before[wanted.name]["artifacts"]]))
            continue
        print(f"{wanted.name} {wanted.version}", file=sys.stderr)
        with tempfile.TemporaryDirectory() as work:
            entries.append((wanted, list(locked(wanted, Path(work)))))
    LOCK.write_text(document(entries))


if __name__ == "__main__":
    main(sys.argv[1:])
