"""Fixtures that need servers. They are the real ones, started once for a test run."""

from collections.abc import Iterator

import pytest

from tests.stack import Stack, running_stack


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """The whole stack on free ports; tests share it, so each uses records and ids of its own."""
    with running_stack() as running:
        yield running
