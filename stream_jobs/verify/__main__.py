"""`python -m stream_jobs.verify`: check until told to stop."""

import sys
from functools import partial

import structlog

from catalog import service
from catalog.errors import SluiceError
from catalog.settings import lake_settings, read_settings
from stream_jobs.logs import configure
from stream_jobs.verify.settings import VerifySettings
from stream_jobs.verify.watch import Watcher, keep_checking, serve

GRACE = 8.0  # seconds for a round to end: a check only reads, and may be cut off


def main() -> int:
    """0: told to stop; 1: a setting can't work."""
    configure()
    try:
        settings = read_settings(VerifySettings)
        watcher = Watcher(lake_settings())
        serve(settings, watcher)
    except SluiceError as refused:
        print(f"sluice verify: {refused}", file=sys.stderr)  # noqa: T201
        return 1
    service.run_until_told(partial(keep_checking, watcher, settings), structlog.get_logger("verify"), GRACE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
