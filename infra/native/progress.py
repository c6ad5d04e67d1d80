"""Progress of a fetch: bars on a terminal, a line now and then elsewhere."""

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TaskID, TextColumn, TransferSpeedColumn

PLAIN_EVERY = 15.0  # seconds between two lines about one component


class Track:
    """One component's progress; used by the one thread that fetches it."""

    def __init__(self, name: str, size: int, console: Console, progress: Progress | None) -> None:
        self.failed = False
        self._name, self._size, self._console, self._progress = name, size, console, progress
        self._said = time.monotonic()
        self._task = TaskID(0)
        if progress:
            self._task = progress.add_task("", total=size or None, name=name, note="")
        else:
            console.print(f"fetching {name}" + (f" ({size / 1e6:.0f} MB)" if size else ""))

    def at(self, size: int) -> None:
        """`size` bytes have arrived."""
        shown = min(size, self._size)
        if self._progress:
            self._progress.update(self._task, completed=shown)
        else:
            self._plain(f"{shown / 1e6:.0f} of {self._size / 1e6:.0f} MB")

    def note(self, text: str) -> None:
        """What is being done, where bytes don't tell."""
        if self._progress:
            self._progress.update(self._task, note=text)
        else:
            self._plain(text)

    def done(self, seconds: float) -> None:
        if self._progress:
            self._progress.update(
                self._task, total=self._size or 1, completed=self._size or 1, note=f"done in {seconds:.0f} s"
            )
        else:
            self._console.print(f"{self._name}: done in {seconds:.0f} s")

    def _plain(self, text: str) -> None:
        if time.monotonic() - self._said > PLAIN_EVERY:
            self._said = time.monotonic()
            self._console.print(f"{self._name}: {text}")


class FetchProgress:
    """The progress of all components of one fetch, on standard error."""

    def __init__(self, quiet: bool) -> None:
        self._console = Console(stderr=True, quiet=quiet, highlight=False)
        self._progress = None
        if self._console.is_terminal and not quiet:
            self._progress = Progress(
                SpinnerColumn(),
                TextColumn("{task.fields[name]:<11}"),
                BarColumn(),
                DownloadColumn(),
                TransferSpeedColumn(),
                TextColumn("{task.fields[note]}"),
                console=self._console,
            )

    def track(self, name: str, size: int) -> Track:
        return Track(name, size, self._console, self._progress)

    def __enter__(self) -> "FetchProgress":
        if self._progress:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress:
            self._progress.stop()
