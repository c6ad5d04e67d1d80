"""`python -m stream_jobs.verify`: check until told to stop."""

import signal
import sys
import threading

from catalog.errors import SluiceError
from catalog.settings import lake_settings, read_settings
from stream_jobs.logs import configure
from stream_jobs.verify.settings import VerifySettings
from stream_jobs.verify.watch import Watcher, keep_checking, serve


def main() -> int:
    """0: told to stop; 1: a setting can't work."""
    configure()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        settings = read_settings(VerifySettings)
        watcher = Watcher(lake_settings())
    except SluiceError as refused:
        print(f"sluice verify: {refused}", file=sys.stderr)  # noqa: T201
        return 1
    serve(settings, watcher)
    loop = threading.Thread(target=keep_checking, args=(watcher, settings, stop), daemon=True)
    loop.start()
    stop.wait()
    loop.join(8)  # a check only reads: it may be cut off
    return 0


if __name__ == "__main__":
    sys.exit(main())
