"""`python -m stream_jobs`: run until told to stop; wait where a server is away; stop where another writer is at work."""

import sys

from catalog.errors import SluiceError
from catalog.settings import lake_settings
from stream_jobs.logs import configure
from stream_jobs.run import run
from stream_jobs.settings import stream_settings


def main() -> int:
    """0: told to stop; 1: something has to be mended first; 3: fenced off by another stream job; 4: Spark died."""
    configure()
    try:
        return run(lake_settings(), stream_settings())
    except SluiceError as refused:
        print(f"sluice stream: {refused}", file=sys.stderr)  # noqa: T201
        return 1


if __name__ == "__main__":
    sys.exit(main())
