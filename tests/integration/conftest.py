"""Stacks that a test starts by itself, of as few parts as it needs."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stack import Stack, ended_with_us, free_port_base


@pytest.fixture
def folder() -> Iterator[Path]:
    """A scratch folder that other users may enter, so that PostgreSQL can run as one of them."""
    made = Path(tempfile.mkdtemp(prefix="sluice-launcher-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def fresh(folder: Path) -> Iterator[Stack]:
    """A stack that was never started."""
    stack = Stack(folder / "state", free_port_base())
    with ended_with_us(stack):
        yield stack
        stack.run("down", "--purge", "--yes")
