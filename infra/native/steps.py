"""`python -m infra.native.steps NAME`: the one-time steps between servers, each safe to repeat."""

import sys

from catalog.errors import SluiceError


def catalog() -> None:
    """The bucket and the catalog's own tables, which Trino must find when it starts."""
    from catalog.lake import prepare
    from catalog.settings import lake_settings

    prepare(lake_settings())


def tables() -> None:
    """Topics and tables of every contract."""
    from catalog.apply import apply
    from catalog.settings import lake_settings

    for change in apply(lake_settings()):
        print(change)


if __name__ == "__main__":
    try:
        {"catalog": catalog, "tables": tables}[sys.argv[1]]()
    except SluiceError as failure:
        sys.exit(f"error: {failure}")
