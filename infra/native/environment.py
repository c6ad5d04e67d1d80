"""Make the Python environment of a checkout, once for each requirements.lock and Python version.

Runs before any dependency exists, on the standard library alone. Prints the environment's path on standard output; everything
meant for a person goes to standard error.
"""

import fcntl
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HELP = """\
Sluice: events in over HTTP, exactly once into Iceberg tables, out by SQL seconds later.

  ./sluice up --demo                     start everything, load the demo data, print where to look
  ./sluice status                        what runs, where, with how much memory
  ./sluice sql 'select count(*) from silver.orders'
  ./sluice down                          end everything that was started

This checkout's Python environment is not made yet: the first command other than --help makes it (some 500 MB, 2 minutes)."""


class NotMadeError(Exception):
    """The environment cannot be made. The message says why and what to do."""


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@contextmanager
def only_one(path: Path) -> Iterator[None]:
    """Hold an exclusive lock, so that two first starts make one environment."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("sluice: another sluice is making the Python environment; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def environment(folder: Path, lock: Path, key: str) -> Path:
    """Return the finished environment, making it if need be. It is built in place, since scripts in it name their interpreter
    by absolute path; the file `.complete` is written last and says that it may be used."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    target = folder / f"py{version}-{key}"
    folder.mkdir(parents=True, exist_ok=True)
    with only_one(folder / f"{target.name}.lock"):
        if not ((target / ".complete").exists() and (target / "bin" / "python").exists()):
            started = time.monotonic()
            say(f"sluice: making the Python {version} environment in {target}")
            make(target, lock)
            (target / ".complete").write_text(f"{version} {key}\n")
            say(f"sluice: environment ready after {time.monotonic() - started:.0f} s")
    return target


def make(target: Path, lock: Path) -> None:
    if target.exists():
        shutil.rmtree(target)
    made = subprocess.run([sys.executable, "-m", "venv", str(target)], capture_output=True, text=True)
    if made.returncode:
        shutil.rmtree(target, ignore_errors=True)
        package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
        reason = (made.stdout + made.stderr).strip().splitlines()[-1:]
        raise NotMadeError(
            f"{sys.executable} cannot make a virtual environment ({' '.join(reason)}). "
            f"Debian, Ubuntu: apt-get install {package}, or python3-venv"
        )
    install(target, lock)


def install(target: Path, lock: Path) -> None:
    """Install exactly what the lock file names, each file checked against its hash."""
    total = len(re.findall(r"^[A-Za-z0-9].*==", lock.read_text(), re.MULTILINE))
    command = [str(target / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "--no-input", "install"]
    command += ["--no-deps", "--require-hashes", "--progress-bar", "off", "-r", str(lock)]
    lines: list[str] = []
    seen = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as pip:
        assert pip.stdout is not None
        for line in pip.stdout:
            lines = [*lines[-20:], line]
            if found := re.match(r"Collecting ([^=\s]+)", line):
                seen += 1
                show(seen, total, found[1])
            elif line.startswith("Installing collected"):
                show(total, total, "installing")
    if sys.stderr.isatty():
        say("")
    if pip.returncode:
        shutil.rmtree(target, ignore_errors=True)
        raise NotMadeError(
            "the packages of requirements.lock could not be installed:\n"
            + "".join(f"  {line}" for line in lines[-8:])
            + "Run the same command again when the cause is mended; what pip has fetched is in its cache."
        )


def show(seen: int, total: int, name: str) -> None:
    """One line that is redrawn on a terminal; a line for every 20 packages elsewhere."""
    if sys.stderr.isatty():
        filled = 30 * seen // max(total, 1)
        sys.stderr.write(f"\r\033[K  [{'#' * filled}{'.' * (30 - filled)}] {seen}/{total} {name}")
        sys.stderr.flush()
    elif seen % 20 == 0 or name == "installing":
        say(f"sluice: {seen} of {total} packages: {name}")


def main(arguments: list[str]) -> int:
    folder, lock, key, *command = arguments
    if command[:1] in ([], ["--help"], ["-h"]):
        say(HELP)
        return 0
    try:
        print(environment(Path(folder), Path(lock), key))
    except KeyboardInterrupt:
        say("\nsluice: interrupted; the next command begins the environment again (pip keeps what it has fetched)")
        return 130
    except (NotMadeError, OSError) as failure:
        say(f"sluice: {failure}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
