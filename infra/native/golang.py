"""Build a Go program from a pinned module. The module is checked against the lock, and its own go.sum checks the rest."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from threading import Event

from catalog.errors import SluiceError
from infra.native.components import Artifact
from infra.native.tools import run_tool

MINIMUM = (1, 24)  # what MinIO's go.mod asks for


def installed_go() -> Path | None:
    """A Go on the PATH that is new enough."""
    found = shutil.which("go")
    if not found:
        return None
    shown = subprocess.run([found, "version"], capture_output=True, text=True, check=False).stdout
    version = re.search(r"go(\d+)\.(\d+)", shown)
    return Path(found) if version and (int(version[1]), int(version[2])) >= MINIMUM else None


def build(artifact: Artifact, go: Path, own_go: bool, work: Path, stop: Event, say: Callable[[str], None]) -> Path:
    """Build `artifact` and return the program. A fetched Go keeps its caches below `work`; an installed one uses the user's."""
    environment = {"GOTOOLCHAIN": "local", "GOFLAGS": "-modcacherw", "CGO_ENABLED": "0", "GOWORK": "off"}
    if own_go:
        environment |= {"GOPATH": str(work / "path"), "GOCACHE": str(work / "objects")}
    folder = _module(artifact, go, environment, work, stop, say)
    say("reading what it needs")
    run_tool([str(go), "list", "-deps", "."], work / "packages.log", stop, environment, folder)
    total = len((work / "packages.log").read_text().splitlines())
    program = work / artifact.file
    log = work / "build.log"

    def progress() -> None:
        built = log.read_bytes().count(b"\n")
        say(f"compiled {built} of {total} packages" if built else "compiling")

    # -mod=readonly: the module's go.sum must match what is compiled.
    command = [
        str(go),
        "build",
        "-v",
        "-mod=readonly",
        "-trimpath",
        "-buildvcs=false",
        "-ldflags=-s -w",
        "-o",
        str(program),
        ".",
    ]
    run_tool(command, log, stop, environment, folder, progress)
    return program


def _module(
    artifact: Artifact, go: Path, environment: dict[str, str], work: Path, stop: Event, say: Callable[[str], None]
) -> Path:
    """Fetch the module's source and return its folder. Raises SluiceError if it is not what was locked."""
    say("fetching the source")
    log = work / "module.json"
    # From an empty folder: a go.mod around would be consulted.
    run_tool([str(go), "mod", "download", "-json", artifact.identity], log, stop, environment, work)
    text = log.read_text()
    facts = json.loads(text[text.index("{") : text.rindex("}") + 1])
    if facts["Sum"] != artifact.sha256:
        raise SluiceError(
            f"{artifact.identity} has hash {facts['Sum']}, the lock says {artifact.sha256}: it was changed on its way"
        )
    return Path(facts["Dir"])
